import assert from "node:assert/strict";
import { it } from "node:test";
import { crashRounds } from "../crash/rounds.js";
import { random } from "../unit/fabric/sim.js";

it("keeps its promises over 20 kills in the middle of QoS 1 and 2 traffic", async () => {
  const seed = Date.now() % 2 ** 31;
  const { acknowledged, faults } = await crashRounds(20, random(seed));
  assert.deepEqual(faults, [], `npm run crash -- 20 ${seed}`);
  assert.ok(acknowledged > 500, `only ${acknowledged} messages`);
});
