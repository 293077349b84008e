import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DurableFilters } from "@topicast/agent/fabric/durables.js";
import { PacketReader, readDurableUpdate, SimClock } from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";

/** A forwarder that takes what it is told. */
class Told {
  registered = true;
  readonly filters = new Set<string>();
  expiry = 0;
  number = 0;

  async send(bytes: Buffer): Promise<boolean> {
    const [packet] = new PacketReader().read(bytes)!;
    const { number, add, remove, expiry } = readDurableUpdate(packet as IPublishPacket)!;
    for (const filter of add) this.filters.add(filter);
    for (const filter of remove) this.filters.delete(filter);
    this.expiry = expiry;
    this.number = number;
    return true;
  }

  get all(): string[] {
    return [...this.filters].sort();
  }
}

describe("the filters that messages are to be kept of", () => {
  it("are told but for those that another one contains, shared ones each by itself", () => {
    const told = new Told();
    const durable = new DurableFilters(new SimClock(), told);
    for (const filter of ["a/#", "a/b", "$share/g/#", "$share/g/a"]) void durable.keep(filter, 10);
    assert.deepEqual(told.all, ["$share/g/#", "$share/g/a", "a/#"]);
    durable.drop("a/#");
    durable.drop("$share/g/#");
    assert.deepEqual(told.all, ["$share/g/a", "a/b"]);
    durable.drop("never there");
    durable.drop("a/b");
    assert.deepEqual(told.all, ["$share/g/a"]);
  });

  it("are all told to a new registration, and the longest expiry", async () => {
    const told = new Told();
    const durable = new DurableFilters(new SimClock(), told);
    told.registered = false;
    assert.equal(durable.keep("b", 10), undefined, "nobody waits for a forwarder that is away");
    for (const filter of ["b/#", "a", "$share/g/b"]) void durable.keep(filter, 20);
    durable.drop("a");
    assert.deepEqual(told.all, []);
    told.registered = true;
    assert.equal(await durable.tellAll(), true);
    assert.deepEqual(told.all, ["$share/g/b", "b/#"]);
    assert.equal(told.expiry, 20);
    void durable.keep("b/#", 30);
    assert.equal(told.expiry, 30);
  });

  it("let a SUBACK wait for the answer, for the end of the registration, or 8 s", async () => {
    const clock = new SimClock();
    const told = new Told();
    const durable = new DurableFilters(clock, told);
    const done: string[] = [];
    const keep = (filter: string) => void durable.keep(filter, 1)!.then(() => done.push(filter));
    keep("a/#");
    keep("a/b");
    durable.onNoted(told.number);
    await Promise.resolve();
    assert.deepEqual(done, ["a/#", "a/b"]);
    assert.equal(durable.keep("a/c", 1), undefined, "what contains it is noted");
    keep("b");
    durable.onLost();
    await Promise.resolve();
    assert.deepEqual(done, ["a/#", "a/b", "b"]);
    keep("c");
    clock.advance(8_000);
    await Promise.resolve();
    assert.deepEqual(done, ["a/#", "a/b", "b", "c"]);
    assert.equal(durable.stats.durable_timeouts, 1);
  });
});
