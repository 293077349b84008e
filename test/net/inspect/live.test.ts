import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ROOT } from "topicast/testbed/run";

/** Live capture on a namespace's loopback interface: CoAP requests that nobody answers. */

const NAMESPACE = "tcins-live";
const topicast = join(ROOT, "scripts/bin/topicast.js");
const inside = ["netns", "exec", NAMESPACE];
/** GET /x with message id 0x0102, three times. */
const ASKING = `const socket = require("dgram").createSocket("udp4");
socket.on("error", () => {});
for (const id of [1, 2, 3]) socket.send(Buffer.from([0x50, 1, 1, id, 0xb1, 0x78]), 5683, "127.0.0.1");
setTimeout(() => socket.close(), 200);`;

let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "inspect-"));
  execFileSync("ip", ["netns", "add", NAMESPACE]);
  execFileSync("ip", ["-n", NAMESPACE, "link", "set", "lo", "up"]);
});
after(() => {
  execFileSync("ip", ["netns", "del", NAMESPACE]);
  rmSync(folder, { recursive: true });
});

/** Captures while the requests are sent, and ends by `signal` or by itself. */
async function live(flags: string[], signal?: NodeJS.Signals) {
  const child = spawn("ip", [...inside, process.execPath, topicast, "inspect", ...flags]);
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (text) => {
    stdout += text;
  });
  const ended = once(child, "close");
  for await (const text of child.stderr) {
    stderr += text;
    if (!stderr.endsWith("Ctrl-C ends it\n")) continue;
    execFileSync("ip", [...inside, process.execPath, "-e", ASKING]);
    if (signal !== undefined) setTimeout(() => child.kill(signal), 500);
  }
  const [code] = await ended;
  return { code, stdout, stderr };
}

const question = ["--csv", "--sql", "SELECT uri_path, message_id FROM coap ORDER BY no"];
const asked = "uri_path,message_id\r\n/x,257\r\n/x,258\r\n/x,259\r\n";

for (const link of ["lo", "any"]) {
  test(`until Ctrl-C on ${link}; what is written is read as it was`, async () => {
    const copy = join(folder, `${link}.pcapng`);
    const { code, stdout } = await live(
      ["-i", link, "-f", "udp port 5683", "-w", copy, ...question],
      "SIGINT",
    );
    assert.equal(code, 0);
    assert.equal(stdout, asked);
    const again = execFileSync(process.execPath, [topicast, "inspect", copy, ...question], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    assert.equal(again, asked);
  });
}

test("until so many frames are there", async () => {
  const { code, stdout } = await live([
    "-i",
    "lo",
    "-f",
    "udp",
    "-c",
    "2",
    "--csv",
    "--sql",
    "SELECT count(*) AS n FROM coap",
  ]);
  assert.equal(code, 0);
  assert.equal(stdout, "n\r\n2\r\n");
});

test("what cannot be written ends the capture with one line", async () => {
  const { code, stderr } = await live(["-i", "lo", "-w", "/dev/full", "-c", "1"]);
  assert.equal(code, 1);
  assert.match(stderr, /topicast: \/dev\/full cannot be written: ENOSPC[^\n]*\n$/);
});
