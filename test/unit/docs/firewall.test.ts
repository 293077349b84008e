import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { ruleSections } from "@topicast/agent/firewall/rule-schema.js";
import { mistakesIn } from "../agents/firewall/support.js";

const page = readFileSync(new URL("../../../../docs/firewall.md", import.meta.url), "utf8");

describe("docs/firewall.md", () => {
  it("shows rules that are in order, and every section that there is", () => {
    const examples = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text!);
    assert.equal(examples.length, 3);
    const files = { "white_topic.data": "plant/1\n", "black_topic.data": "cmd\n" };
    for (const example of examples) assert.deepEqual(mistakesIn(example, files), []);
    for (const section of ruleSections) assert.match(examples[1]!, new RegExp(`^${section}:`, "m"));
  });
});
