import assert from "node:assert/strict";
import { it } from "node:test";
import { pass, SimEdge } from "./edges.js";
import { SimForwarder, SimNetwork } from "./sim.js";

/** A store that has written nothing before the test says so. */
class Disk {
  private waiting: (() => void)[] = [];
  isStuck = false;

  readonly entries = {
    put: () => {},
    delete: () => {},
    async *entries() {},
    durable: () => (this.isStuck ? new Promise<void>((go) => this.waiting.push(go)) : Promise.resolve()),
  };

  release(): void {
    this.isStuck = false;
    for (const go of this.waiting.splice(0)) go();
  }
}

it("a publisher elsewhere is acknowledged when what waits for a session is durable, relayed or straight", async () => {
  const network = new SimNetwork(1);
  new SimForwarder(network);
  const disk = new Disk();
  const e1 = new SimEdge(network, "e1", "10.0.0.101").start();
  const store = { entries: disk.entries, unixTime: () => network.unixTime() };
  const e2 = new SimEdge(network, "e2", "10.0.0.102", store).start();
  await pass(network, 6_000, 10);
  const subscriber = e2.client("s");
  const publisher = e1.client("p");
  await pass(network, 50);
  subscriber.subscribe("t", 1);
  await pass(network, 200);
  // The first message is relayed by the forwarder, the others go straight.
  for (let n = 1; n <= 3; n++) {
    disk.isStuck = true;
    publisher.publish("t", `${n}`, n === 2 ? 2 : 1);
    await pass(network, 1_500);
    assert.equal(publisher.acknowledged.length, n - 1, `message ${n} is not durable`);
    disk.release();
    await pass(network, 1_500);
    assert.equal(publisher.acknowledged.length, n);
  }
  assert.deepEqual(subscriber.got, ["1", "2", "3"]);
});
