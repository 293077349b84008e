import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KeptMessages } from "@topicast/controller/forwarder/kept-messages.js";
import type { RetainedStorage } from "@topicast/controller/retained/storage.js";
import { decodePublish, type Message } from "@topicast/protocol";

/** Everything that is put is there at once. */
class Disk implements RetainedStorage {
  readonly written = new Map<string, Buffer>();

  async *entries() {
    yield* this.written;
  }

  put(key: string, value: Buffer): void {
    this.written.set(key, value);
  }

  delete(key: string): void {
    this.written.delete(key);
  }

  async durable(): Promise<void> {}
  async close(): Promise<void> {}
}

function message(text: string): Message {
  return { topic: "t", payload: Buffer.from(text), qos: 1, retain: false };
}

function texts(kept: KeptMessages, edge: number): string[] {
  return [...kept.of(edge)].map(({ packet }) => `${decodePublish(packet)!.payload}`);
}

describe("messages that wait for edges", () => {
  it("are kept once, in their order, until the last edge has them", () => {
    const disk = new Disk();
    const kept = new KeptMessages(disk, 10_000);
    kept.add(message("1"), [7, 8], 1_000);
    kept.add(message("2"), [8], 2_000);
    assert.equal(kept.size, 2);
    assert.deepEqual([texts(kept, 7), texts(kept, 8), texts(kept, 9)], [["1"], ["1", "2"], []]);
    kept.done([...kept.of(8)][0]!, 8);
    assert.deepEqual([texts(kept, 7), texts(kept, 8)], [["1"], ["2"]]);
    kept.forget(7);
    kept.forget(8);
    assert.deepEqual([kept.size, kept.bytes, disk.written.size], [0, 0, 0]);
  });

  it("are there again after a restart, and what is added then comes behind them", () => {
    const disk = new Disk();
    const before = new KeptMessages(disk, 10_000);
    for (const text of ["1", "2", "3"]) before.add(message(text), [7, 8], 1_234);
    before.done([...before.of(7)][0]!, 7);
    const kept = new KeptMessages(disk, 10_000);
    assert.equal(kept.restore([...disk.written].reverse()), 0);
    assert.equal(kept.bytes, before.bytes);
    kept.add(message("4"), [7], 2_000);
    assert.deepEqual(texts(kept, 7), ["2", "3", "4"]);
    assert.deepEqual(texts(kept, 8), ["1", "2", "3"]);
    assert.equal([...kept.of(8)][0]!.at, 1_234);
  });

  it("that are damaged, or wait for nobody, are counted and removed at the start", () => {
    const disk = new Disk();
    new KeptMessages(disk, 10_000).add(message("1"), [7], 1_000);
    const [[key]] = [...disk.written] as [[string, Buffer]];
    disk.put(key, Buffer.from("no message at all"));
    disk.put("message/00000000000009", Buffer.alloc(20));
    disk.put("for/00000000000008/7", Buffer.alloc(0));
    const kept = new KeptMessages(disk, 10_000);
    assert.equal(kept.restore([...disk.written]), 1);
    assert.deepEqual([kept.size, disk.written.size], [0, 0]);
  });

  it("take no more than is allowed: the oldest goes, for all that wait for it", () => {
    const disk = new Disk();
    const kept = new KeptMessages(disk, 1_000);
    for (let i = 0; i < 10; i++) kept.add(message(`${i}`), [7, 8], i);
    assert.ok(kept.bytes <= 1_000);
    assert.equal(kept.stats.kept_messages_dropped, 10 - kept.size);
    assert.deepEqual(texts(kept, 7), ["7", "8", "9"]);
    assert.equal(disk.written.size, 3 * kept.size);
    kept.add(message("-".repeat(2_000)), [7], 11);
    assert.deepEqual([kept.size, kept.bytes, disk.written.size], [0, 0, 0]);
  });
});
