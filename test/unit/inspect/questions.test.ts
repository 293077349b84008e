import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Inspection, inspectFiles } from "@topicast/inspect";
import { answer } from "@topicast/inspect/output.js";
import { summarize } from "@topicast/inspect/summary.js";
import { captures } from "./support.js";

/** Every question of docs/inspect.md, with its answer, on the captures named there. */

const page = readFileSync(join(captures, "../../docs/inspect.md"), "utf8");
const questions = [...page.matchAll(/\n(\S[^\n]*)\n\n```sql\n(.*?)\n```\n\n```text\n(.*?)```/gs)];
let inspection: Inspection;

before(async () => {
  const files = ["datagrams.pcap", "sessions.pcap"].map((name) => join(captures, name));
  inspection = await inspectFiles(files, { decodeAs: ["tcp.port==17501,mqtt"] });
});
after(() => inspection.database.close());

test("the page has its questions", () => assert.ok(questions.length >= 15));

for (const [, question, sql, expected] of questions) {
  test(question!, async () => {
    assert.equal(await answer(inspection.database, sql!, "text"), expected);
  });
}

test("JSON, CSV, and what is wrong with a question", async () => {
  const sql =
    "SELECT 'a,\"b' AS x, 9007199254740993 AS big, NULL AS none, '\\xC3\\xBC'::BLOB AS bytes, '\\xFF'::BLOB AS raw";
  assert.deepEqual(JSON.parse(await answer(inspection.database, sql, "json")), {
    x: 'a,"b',
    big: "9007199254740993",
    none: null,
    bytes: "ü",
    raw: "0xff",
  });
  const csv = 'x,big,none,bytes,raw\r\n"a,""b",9007199254740993,,ü,0xff\r\n';
  assert.equal(await answer(inspection.database, sql, "csv"), csv);
  await assert.rejects(answer(inspection.database, "SELECT nothing FROM mqtt", "text"), /SQL: .*nothing/);
});

test("mqtt_match is the standard's matching, with shared subscriptions", async () => {
  const [row] = await inspection.database.values(`SELECT mqtt_match('a/#', 'a'), mqtt_match('#', '$SYS/x'),
    mqtt_match('$share/g/+/b', 'a/b'), mqtt_match('a/+', 'a/b/c'), mqtt_match(NULL, 'a')`);
  assert.deepEqual(row, [true, false, true, false, null]);
});

test("the summary names servers, clients, topics and problems", async () => {
  const text = await summarize(inspection.database);
  for (const part of [
    "broker.example",
    "publisher-2",
    "plant/7/temp",
    "Wills that were due",
    "token length 9",
  ]) {
    assert.ok(text.includes(part), part);
  }
});
