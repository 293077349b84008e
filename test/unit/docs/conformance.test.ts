import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";

const root = new URL("../../../../", import.meta.url);
const page = readFileSync(new URL("docs/conformance.md", root), "utf8");

describe("docs/conformance.md", () => {
  it("names tests that are there, and says of every other statement why it needs none", () => {
    const files = new Map<string, string>();
    for (const [, name, path] of page.matchAll(/^\| `(\w+)` +\| \[(test[^\]]+)\]/gm)) {
      files.set(name!, readFileSync(new URL(path!, root), "utf8"));
    }
    assert.ok(files.size > 5);
    const rows = [...page.matchAll(/^\| (\d[\d.]*-\d\S*.*?) +\| (.+?) +\| (.+?) +\|$/gm)];
    assert.ok(rows.length > 250, `${rows.length} statements`);
    for (const [, statement, , shown] of rows) {
      const tests = [...shown!.matchAll(/`(\w+)` "([^"]+)"/g)];
      if (tests.length === 0)
        assert.match(shown!, /^(never sent|all are served|they are served|one copy is sent)$/);
      for (const [, file, part] of tests) {
        assert.ok(files.get(file!)?.includes(part!), `${statement}: ${file} has no test "${part}"`);
      }
    }
  });

  it("lists each statement once", () => {
    for (const section of page.split("\n## ").slice(2)) {
      const numbers = [...section.matchAll(/^\| (\d[\d.]*-\d\S*.*?) +\|/gm)].map(([, number]) => number);
      assert.equal(new Set(numbers).size, numbers.length);
    }
  });
});
