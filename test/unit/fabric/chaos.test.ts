import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Chaos, seedsToRun, troubleOf } from "./chaos.js";

describe("the fabric in trouble", () => {
  const seeds = seedsToRun(1_500);

  it(`keeps every guarantee over ${seeds.length} seeds of loss, partition, crash and change`, async () => {
    const sum = { published: 0, delivered: 0, due0: 0, missed0: 0 };
    for (const seed of seeds) {
      const result = await Chaos.run(seed, troubleOf(seed));
      for (const key of ["published", "delivered", "due0", "missed0"] as const) sum[key] += result[key];
    }
    const text = JSON.stringify(sum);
    if (seeds.length > 1) assert.ok(sum.delivered > sum.published, `the simulation does little: ${text}`);
    // Up to 30 % loss: a last message of a stream is lost together with all heartbeats after it.
    assert.ok(sum.missed0 <= sum.due0 / 500 + 1, text);
  });
});
