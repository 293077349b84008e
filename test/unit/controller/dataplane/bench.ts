import assert from "node:assert/strict";
import { follow } from "./model-network.js";
import { Bench } from "./model-ryu.js";
import { build, type Network } from "./networks.js";

/** The demo's tree: s1 above s2, s3; s4, s5 below s2, s6, s7 below s3; e1 to e4 on s4 to s7. */
export const tree = () =>
  build({ parents: [0, 0, 1, 1, 2, 2], extra: [], agents: [3, 4, 5, 6], descending: false });
export const group = "239.192.0.1";

export async function started(network: Network = tree()): Promise<Bench> {
  const bench = new Bench(network);
  bench.plane.start();
  bench.plane.setAgents(bench.agents());
  bench.plane.settled();
  await bench.pass(20);
  bench.events.length = 0;
  return bench;
}

/** Sends one datagram from each agent, or each of those named, and checks who gets it. */
export function checkDelivery(
  bench: Pick<Bench, "ryu" | "network">,
  address: string,
  members: readonly string[],
  publishers?: readonly string[],
): void {
  const { links, places } = bench.network;
  for (const sender of places) {
    if (publishers?.includes(sender.agent) === false) continue;
    const journey = follow(bench.ryu.switches, links, places, sender, address);
    assert.equal(journey.astray, 0);
    const expected = members.filter((m) => m !== sender.agent);
    assert.deepEqual([...journey.received.keys()].sort(), expected.toSorted(), `from ${sender.agent}`);
    for (const count of [...journey.received.values(), ...journey.onLinks.values()]) assert.equal(count, 1);
  }
}
