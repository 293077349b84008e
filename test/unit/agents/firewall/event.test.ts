import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { eventLine, excerpt, type FirewallEvent } from "@topicast/agent/firewall/event.js";
import { EventLog } from "@topicast/agent/firewall/event-log.js";
import fc from "../../../property.js";

const EVENT: FirewallEvent = {
  ...{ rule: "topics", kind: "topic", answer: "drop", mode: "block", packet: "publish", listener: "tcp" },
  ...{ peer: "10.0.0.1:5000", client: "c", user: undefined, topic: "a/b", detail: "topic is denied" },
};

describe("an event", () => {
  it("is one line of JSON", () => {
    assert.equal(
      eventLine(EVENT, "e1", "2026-01-01T00:00:00.000Z", 0),
      '{"time":"2026-01-01T00:00:00.000Z","agent":"e1","listener":"tcp","peer":"10.0.0.1:5000","packet":"publish",' +
        '"answer":"drop","rule":"topics","kind":"topic","client":"c","topic":"a/b","detail":"topic is denied"}',
    );
    const watched = JSON.parse(eventLine({ ...EVENT, mode: "detect", user: "u", matched: "x" }, "e1", "", 7));
    assert.deepEqual(
      [watched.would, watched.answer, watched.user, watched.matched, watched.suppressed],
      ["drop", undefined, "u", "x", 7],
    );
  });

  it("is printable ASCII and short, whatever clients write", () => {
    const text = fc.string({ unit: "binary", maxLength: 300 });
    fc.assert(
      fc.property(text, text, text, text, (client, user, topic, matched) => {
        const line = eventLine({ ...EVENT, client, user, topic, matched }, "e1", "", 0);
        assert.match(line, /^[\x20-\x7e]{1,8000}$/);
        const told = JSON.parse(line);
        if (client.length <= 128) assert.equal(told.client, client);
        else assert.equal(told.client, `${client.slice(0, 128)}... (${client.length} characters)`);
      }),
    );
    assert.ok(
      eventLine({ ...EVENT, client: "\u001b[2J\u202e\n" }, "e1", "", 0).includes("\\u001b[2J\\u202e\\n"),
    );
  });

  it("shows text as text and bytes as bytes", () => {
    assert.equal(excerpt(Buffer.from("größe")), "größe");
    assert.equal(excerpt(Buffer.from([0xff, 0x00])), "0xff00");
    assert.equal(excerpt(Buffer.from("ä".repeat(1_000))), "ä".repeat(256));
    assert.equal(excerpt(Buffer.from(`x${"ä".repeat(1_000)}`)), `x${"ä".repeat(255)}`);
    assert.equal(excerpt(Buffer.alloc(1_000, 0xff)), `0x${"ff".repeat(64)}`);
  });
});

describe("the event log", () => {
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

  it("appends lines to its file, and opens it again where it was moved away", async () => {
    const directory = mkdtempSync(join(tmpdir(), "topicast-events-"));
    const file = join(directory, "events");
    const events = new EventLog({ file, agent: "e1", log });
    const at = { dpid: "0000000000000003", port: 2 };
    events.write({ event: EVENT, suppressed: 0, time: 0, at });
    await until(() => readFileSync(file, "utf8").endsWith("\n"));
    renameSync(file, `${file}.1`);
    events.reopen();
    await until(() => {
      events.write({ event: { ...EVENT, rule: "second" }, suppressed: 3, time: 1, at: undefined });
      return readFileSync(file, "utf8").includes("second");
    });
    await events.close();
    const [first] = readFileSync(`${file}.1`, "utf8").split("\n");
    const { time, switch: dpid, port } = JSON.parse(first!);
    assert.deepEqual([time, dpid, port], ["1970-01-01T00:00:00.000Z", "0000000000000003", 2]);
    assert.equal(JSON.parse(readFileSync(file, "utf8").split("\n")[0]!).suppressed, 3);
    rmSync(directory, { recursive: true });
  });

  it("is refused with the remedy where it cannot be written", () => {
    assert.throws(() => new EventLog({ file: "/nowhere/events", agent: "e1", log }), {
      message: "--firewall-log /nowhere/events: cannot be written (ENOENT)",
    });
  });
});

async function until(isTrue: () => boolean): Promise<void> {
  for (let n = 0; n < 200; n++) {
    try {
      if (isTrue()) return;
    } catch {}
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail("never");
}
