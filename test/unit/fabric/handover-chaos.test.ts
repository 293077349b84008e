import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seedsToRun } from "./chaos.js";
import { HandoverChaos, type Victim } from "./handover-chaos.js";

describe("a session on its way from one edge to the other", () => {
  const seeds = seedsToRun(15);

  async function check(victim: Victim, mayDouble: boolean): Promise<void> {
    for (const seed of seeds) {
      const { missing, doubled } = await HandoverChaos.run(seed, victim);
      const again = `TOPICAST_SEED=${seed} node test/dist/run.js unit fabric/handover-chaos`;
      assert.deepEqual(missing, [], `seed ${seed} loses: ${again}`);
      if (!mayDouble) assert.deepEqual(doubled, [], `seed ${seed} doubles QoS 2: ${again}`);
    }
  }

  it("loses nothing, and doubles nothing of QoS 2", () => check("nobody", false));
  it("nor when the edge that it leaves is killed in the middle", () => check("old", false));
  it("nor when the edge that it goes to is", () => check("new", false));
  // Without a forwarder there are two sessions of the client for a while, and both have been served.
  it("loses nothing when the forwarder is", () => check("forwarder", true));
});
