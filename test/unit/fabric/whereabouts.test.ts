import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { UnicastDataplane } from "@topicast/controller/dataplane/unicast.js";
import type { SwitchPlace } from "@topicast/protocol";
import { PERFECT, SimAgent, SimForwarder, SimNetwork } from "./sim.js";

/** Has seen each address of 10.1.0.0/16 at a port of its own. */
class Ports extends UnicastDataplane {
  asked = 0;

  override seenAt(address: string): SwitchPlace | null {
    this.asked += 1;
    const [, third, last] = /^10\.1\.(\d+)\.(\d+)$/.exec(address) ?? [];
    return last === undefined ? null : place(Number(third), Number(last));
  }
}

const place = (third: number, last: number): SwitchPlace => ({
  dpid: third.toString(16).padStart(16, "0"),
  port: last + 1,
});

async function setUp(faults = PERFECT) {
  const network = new SimNetwork(5, faults);
  const dataplane = new Ports();
  const forwarder = new SimForwarder(network, { dataplane });
  const agent = new SimAgent(network, "e1", "10.0.1.1");
  await network.run(8_000, 10);
  const heard: string[] = [];
  const locate = (address: string) =>
    agent.fabric.whereabouts.locate(address, (at) =>
      heard.push(`${address} ${at === undefined ? "nowhere" : `${at.dpid.slice(-2)}/${at.port}`}`),
    );
  return { network, dataplane, forwarder, heard, locate };
}

describe("where an address is", () => {
  it("is asked of the forwarder once, and remembered for a time", async () => {
    const { network, dataplane, heard, locate } = await setUp();
    for (const address of ["10.1.3.1", "10.1.3.1", "10.9.0.1"]) locate(address);
    assert.deepEqual(heard, [], "nobody waits for it");
    await network.run(100, 5);
    assert.deepEqual(heard.splice(0), ["10.1.3.1 03/2", "10.1.3.1 03/2", "10.9.0.1 nowhere"]);
    assert.equal(dataplane.asked, 2);
    locate("10.1.3.1");
    assert.deepEqual(heard.splice(0), ["10.1.3.1 03/2"], "at once");
    await network.run(5_000, 50);
    // Who was nowhere may have been seen since.
    locate("10.9.0.1");
    locate("10.1.3.1");
    await network.run(100, 5);
    assert.equal(dataplane.asked, 3);
    await network.run(31_000, 100);
    locate("10.1.3.1");
    await network.run(100, 5);
    assert.equal(dataplane.asked, 4);
  });

  it("is found beside what is no address, or written otherwise", async () => {
    const { network, dataplane, heard, locate } = await setUp();
    for (const address of ["unix", "2001:DB8:0::1", "2001:db8::1", "10.1.3.1"]) locate(address);
    assert.deepEqual(heard.splice(0), ["unix nowhere"], "at once");
    await network.run(100, 5);
    assert.deepEqual(heard, ["2001:DB8:0::1 nowhere", "2001:db8::1 nowhere", "10.1.3.1 03/2"]);
    assert.equal(dataplane.asked, 2);
  });

  it("is found also where datagrams are lost, and for many at a time", async () => {
    const { network, heard, locate } = await setUp({ ...PERFECT, loss: 0.2, repeat: 0.1 });
    for (let n = 0; n < 200; n++) locate(`10.1.7.${n}`);
    await network.run(1_000, 5);
    assert.equal(heard.length, 200);
    assert.ok(heard.filter((one) => one.includes("07/")).length >= 64, "most are found in time");
  });

  it("is told to be unknown within half a second where nobody answers, and at once where nobody is asked", async () => {
    const { network, forwarder, heard, locate } = await setUp();
    forwarder.kill();
    locate("10.1.3.1");
    await network.run(400, 5);
    assert.deepEqual(heard, []);
    await network.run(200, 5);
    assert.deepEqual(heard.splice(0), ["10.1.3.1 nowhere"]);
    // More than may wait.
    for (let n = 0; n < 1_100; n++) locate(`10.2.${n >> 8}.${n & 255}`);
    assert.equal(heard.length, 1_100 - 1_024);
    await network.run(20_000, 50);
    assert.equal(heard.length, 1_100);
    locate("10.1.3.1");
    assert.equal(heard.length, 1_101, "the agent is not registered any more");
  });
});
