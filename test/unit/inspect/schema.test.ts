import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { schema } from "@topicast/inspect";
import { captures } from "./support.js";

test("the README describes each table column by column, as the schema does", () => {
  const readme = readFileSync(join(captures, "../../inspect/README.md"), "utf8");
  for (const [table, columns] of Object.entries(schema)) {
    const [, section = ""] = readme.split(`### ${table}\n`);
    const rows = section
      .split("\n### ")[0]!
      .split("\n")
      .map((line) => /^\| `(\w+)`\s*\| (\w+)\s*\| (.*?)\s*\|$/.exec(line))
      .filter((match) => match !== null)
      .map(([, name, sql, about]) => [name, sql, about?.replaceAll("`", "").replaceAll("\\|", "|")]);
    const expected = Object.entries(columns).map(([name, { sql, about }]) => [name, sql, about]);
    assert.deepEqual(rows, expected, table);
  }
});
