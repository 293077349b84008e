import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { captures } from "./support.js";

const topicast = join(captures, "../../scripts/bin/topicast.js");
const sessions = join(captures, "sessions.pcap");
const datagrams = join(captures, "datagrams.pcap");
let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "inspect-"));
});
after(() => rmSync(folder, { recursive: true }));

function inspect(...flags: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [topicast, "inspect", ...flags], {
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

test("problems make the exit code 3 and stand in the footer, apart from the answer", () => {
  const { status, stdout, stderr } = inspect(datagrams, "--json", "--sql", "SELECT reason FROM problems");
  assert.equal(status, 3);
  assert.equal(stdout, '{"reason":"token length 9"}\n');
  assert.match(stderr, /\d+ frames, 1 problem \(table problems\)\n$/);
});

test("who gets a topic", () => {
  const { status, stdout } = inspect(sessions, "--who-gets", "plant/9/temp", "--csv");
  assert.equal(status, 0);
  const clients = stdout
    .trim()
    .split("\r\n")
    .slice(1)
    .map((line) => line.split(",")[0]);
  assert.deepEqual(clients, ["wild", "wild", "six"]);
});

test("frames written as pcapng are read as they were; the database and Parquet files are there", () => {
  const [copy, kept, parquet] = ["copy.pcapng", "kept.db", "mqtt.parquet"].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  const question = ["--csv", "--sql", "SELECT frame, epoch_ns, length, captured, src, dst, seq FROM frames"];
  const first = inspect(sessions, "-w", copy, "-o", kept, ...question);
  assert.equal(first.status, 0, first.stderr);
  assert.equal(inspect(copy, ...question).stdout, first.stdout);
  assert.ok(existsSync(kept));
  assert.equal(inspect(sessions, "--table", "mqtt", "--parquet", parquet).status, 0);
  assert.equal(readFileSync(parquet).toString("latin1", 0, 4), "PAR1");
  const again = inspect(sessions, "-o", kept);
  assert.equal(again.status, 2);
  assert.match(again.stderr, /exists already: choose another name with -o/);
});

test("times in the zone that is asked for", () => {
  const sql = ["--sql", "SELECT time FROM frames LIMIT 1", "--csv"];
  assert.match(inspect(sessions, ...sql).stdout, /\+00\r\n$/);
  assert.match(inspect(sessions, ...sql, "--tz", "Asia/Kolkata").stdout, /\+05:30\r\n$/);
});

test("standard input", () => {
  const { status, stdout } = spawnSync(
    process.execPath,
    [topicast, "inspect", "-", "--csv", "--sql", "SELECT count(*) AS packets FROM mqtt"],
    { encoding: "utf8", input: readFileSync(sessions) },
  );
  assert.equal(status, 0);
  assert.equal(stdout, "packets\r\n108\r\n");
});

for (const [flags, status, message] of [
  [[], 2, "name a capture FILE, or an interface with -i"],
  [["/nowhere.pcap"], 1, "/nowhere.pcap does not exist: name a pcap or pcapng file"],
  [[topicast], 1, "is no capture"],
  [["/dev/null"], 1, "/dev/null is empty"],
  [[sessions, "-w", "/nowhere/copy.pcapng"], 1, "/nowhere/copy.pcapng cannot be written: ENOENT"],
  [[sessions, "-w", "/dev/full"], 1, "/dev/full cannot be written: ENOSPC"],
  [[sessions, "--sql", "SELECT 1; SELECT 2"], 2, "2 statements in one --sql: give each its own"],
  [[sessions, "--sql", " ;"], 2, "--sql is empty"],
  [[sessions, "--sql", "-- nothing"], 2, "there is no statement in it"],
  [[sessions, "--who-gets", "a/+"], 2, "holds the wildcard +: give a topic, not a filter"],
  [[sessions, "--json"], 2, "need a question"],
  [[sessions, "--sql", "SELECT x FROM mqtt"], 1, 'SQL: Binder Error: Referenced column "x" not found'],
  [[sessions, "-d", "tcp.port==1,coap"], 2, "over tcp this is one of mqtt, websocket, none"],
] as const) {
  test(`${flags.join(" ").replaceAll(/\/\S*\//g, "")}: one line says what is wrong`, () => {
    const result = inspect(...flags);
    assert.equal(result.status, status);
    assert.ok(result.stderr.includes(message), result.stderr);
    assert.equal(result.stderr.trim().split("\n").length, 1);
  });
}
