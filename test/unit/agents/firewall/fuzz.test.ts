import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzFirewall } from "../../../fuzz/firewall.js";
import { replayable } from "../../../fuzz/run.js";

const SEEDS = 40;

test("rule files and messages as nobody means them: mistakes are told with their place, nothing throws, all is counted once", async () => {
  let packets = 0;
  for (let seed = 1; seed <= SEEDS; seed++)
    packets += await replayable(seed, "firewall", () => fuzzFirewall(seed));
  assert.ok(packets > 30 * SEEDS, `${packets} packets`);
});
