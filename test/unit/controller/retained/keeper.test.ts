import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type KeeperLimits, RetainedKeeper } from "@topicast/controller/retained/keeper.js";
import { nowhere, openStorage, type RetainedStorage } from "@topicast/controller/retained/storage.js";
import { filterMatches, type Message, SimClock, systemClock } from "@topicast/protocol";
import fc from "../../../property.js";

const UNIX = 1_700_000_000_000;

function message(topic: string, text: string, more: Partial<Message> = {}): Message {
  return { topic, payload: Buffer.from(text), qos: 1, retain: true, ...more };
}

function begun(
  clock = new SimClock(),
  limits: Partial<KeeperLimits> = {},
  storage = nowhere,
): RetainedKeeper {
  return new RetainedKeeper({ clock, unixTime: () => UNIX + clock.now(), storage, limits }).begin();
}

function texts(keeper: RetainedKeeper, filter = "#"): string[] {
  const found: string[] = [];
  keeper.matching(filter, ({ topic, message: m }) => found.push(`${topic}=${m?.payload}`));
  return found.sort();
}

/** What remembers entries as a disk does. */
class Kept implements RetainedStorage {
  readonly map = new Map<string, Buffer>();
  durable = nowhere.durable;
  close = nowhere.close;
  async *entries() {
    yield* this.map;
  }
  put(key: string, value: Buffer): void {
    this.map.set(key, value);
  }
  delete(key: string): void {
    this.map.delete(key);
  }
}

function reopened(storage: Kept, clock = new SimClock(), limits: Partial<KeeperLimits> = {}): RetainedKeeper {
  const keeper = new RetainedKeeper({ clock, unixTime: () => UNIX + clock.now(), storage, limits });
  for (const [key, value] of storage.map) keeper.restore(key, value);
  return keeper.begin();
}

describe("RetainedKeeper", () => {
  it("is what a map of topics would be, and tells changes since any version, over restarts too", () => {
    const topics = fc.constantFrom("a", "a/b", "a/c", "b", "b/b/c");
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.tuple(topics, fc.constantFrom("", "1", "2", "3")) },
      { weight: 1, arbitrary: fc.constant("restart" as const) },
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.nat(60),
        fc.constantFrom("#", "a/#", "+"),
        (steps, at, filter) => {
          const storage = new Kept();
          let keeper = reopened(storage);
          const model = new Map<string, string>();
          let seen: { version: number; model: Map<string, string> } | undefined;
          for (const [i, one] of steps.entries()) {
            if (one === "restart") keeper = reopened(storage);
            else {
              const before = keeper.version;
              const entry = keeper.set(message(...one));
              assert.ok(entry === undefined || entry.version > before);
              if (one[1] === "") model.delete(one[0]);
              else model.set(...one);
            }
            if (i === at) seen = { version: keeper.version, model: new Map(model) };
          }
          const expected = [...model].filter(([topic]) => filterMatches(filter, topic));
          assert.deepEqual(texts(keeper, filter), expected.map(([t, v]) => `${t}=${v}`).sort());
          if (seen === undefined) return;
          // Whoever was up to date then is up to date by the changes.
          for (const { topic, message: m } of keeper.changesSince(seen.version)!) {
            if (m === undefined) seen.model.delete(topic);
            else seen.model.set(topic, m.payload.toString());
          }
          assert.deepEqual([...seen.model].sort(), [...model].sort());
        },
      ),
    );
  });

  it("keeps properties, QoS and the time that is left", () => {
    const storage = new Kept();
    const clock = new SimClock();
    const keeper = reopened(storage, clock);
    const properties = Buffer.from([0x26, 0, 1, 0x61, 0, 1, 0x62]);
    keeper.set(message("t", "x", { qos: 2, properties, messageExpiry: 100 }));
    clock.advance(40_000);
    let found: Message | undefined;
    reopened(storage, clock).matching("t", (entry) => {
      found = keeper.messageOf(entry);
    });
    assert.deepEqual(found, message("t", "x", { qos: 2, properties, messageExpiry: 60 }));
  });

  it("lets messages expire, and gives no version twice for that", () => {
    const storage = new Kept();
    const clock = new SimClock();
    const keeper = reopened(storage, clock);
    keeper.set(message("a", "1"));
    const last = keeper.set(message("b", "2", { messageExpiry: 30 }))!;
    clock.advance(31_000);
    assert.deepEqual(texts(keeper), ["a=1"]);
    clock.advance(60_000);
    assert.equal(keeper.size, 1);
    assert.equal(keeper.stats.retained_expired, 1);
    assert.ok(reopened(storage, clock).set(message("c", "3"))!.version > last.version);
  });

  it("is bounded: what does not find room is not kept, nor what it would have replaced", () => {
    const keeper = begun(undefined, { messages: 2, bytes: 1_000 });
    keeper.set(message("a", "1"));
    keeper.set(message("b", "2"));
    keeper.set(message("c", "3"));
    assert.deepEqual(texts(keeper), ["a=1", "b=2"]);
    keeper.set(message("a", "x".repeat(800)));
    assert.deepEqual(texts(keeper), ["b=2"]);
    assert.equal(keeper.stats.retained_refused, 2);
    keeper.set(message("b", ""));
    assert.equal(keeper.bytes, 0);
  });

  it("says so when changes are asked for that reach beyond the deletions it remembers", () => {
    const storage = new Kept();
    const keeper = reopened(storage, undefined, { deletions: 2 });
    for (const topic of ["a", "b", "c", "d"]) keeper.set(message(topic, "1"));
    const { version } = keeper;
    for (const topic of ["a", "b"]) keeper.set(message(topic, ""));
    assert.equal(keeper.changesSince(version)?.length, 2);
    keeper.set(message("c", ""));
    assert.equal(keeper.changesSince(version), undefined);
    assert.equal(keeper.changesSince(version + 1)?.length, 2);
    const again = reopened(storage, undefined, { deletions: 2 });
    assert.equal(again.changesSince(version), undefined);
    assert.equal(again.changesSince(version + 1)?.length, 2);
  });

  it("takes back what agents have, the newest of each, and nothing against what happened since", () => {
    const clock = new SimClock();
    const keeper = begun(clock);
    const era = keeper.era - 1_000;
    keeper.recover(message("a", "old"), era, 3);
    keeper.recover(message("a", "new"), era, 5);
    keeper.recover(message("a", "older"), era, 2);
    keeper.recover(message("a", "of an older era"), era - 1, 9);
    keeper.set(message("b", "published"));
    keeper.recover(message("b", "old"), era, 4);
    keeper.set(message("c", ""));
    keeper.recover(message("c", "old"), era, 4);
    assert.deepEqual(texts(keeper), ["a=new", "b=published"]);
    clock.advance(61_000);
    keeper.recover(message("d", "late"), era, 4);
    assert.deepEqual(texts(keeper), ["a=new", "b=published"]);
    assert.equal(keeper.stats.retained_recovered, 2);
  });

  it("counts a message once, by agent, life and number, over restarts", () => {
    const storage = new Kept();
    const keeper = reopened(storage);
    assert.equal(keeper.isRepeated(7, 100, 1), false);
    assert.equal(keeper.isRepeated(7, 100, 2), false);
    assert.equal(keeper.isRepeated(7, 100, 2), true);
    const again = reopened(storage);
    assert.equal(again.isRepeated(7, 100, 2), true);
    assert.equal(again.isRepeated(7, 100, 3), false);
    assert.equal(again.isRepeated(7, 101, 1), false, "another life");
    assert.equal(again.isRepeated(8, 100, 1), false, "another agent");
  });

  it("has everything again from a real directory", async () => {
    const folder = mkdtempSync(join(tmpdir(), "topicast-retained-"));
    const directory = join(folder, "store");
    const open = async () => {
      const { retained: storage } = await openStorage({
        directory,
        clock: systemClock,
        log: { error: assert.fail },
      });
      const keeper = await RetainedKeeper.open({ clock: systemClock, unixTime: Date.now, storage });
      return { storage, keeper };
    };
    try {
      const { storage, keeper } = await open();
      for (let i = 0; i < 100; i++) keeper.set(message(`é/${i}`, `${i}`));
      keeper.set(message("é/7", ""));
      await keeper.durable();
      await storage.close();
      const again = await open();
      assert.equal(again.keeper.size, 99);
      assert.equal(again.keeper.era, keeper.era);
      assert.equal(again.keeper.version, keeper.version);
      assert.deepEqual(texts(again.keeper, "é/8"), ["é/8=8"]);
      assert.equal(again.keeper.isRecovering, false);
      await again.storage.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
