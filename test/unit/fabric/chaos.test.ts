import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Chaos, seedsToRun, troubleOf } from "./chaos.js";

describe("the fabric in trouble", () => {
  const seeds = seedsToRun(400);

  it(`keeps every guarantee over ${seeds.length} seeds of loss, partition, crash and change`, async () => {
    let published = 0;
    let delivered = 0;
    for (const seed of seeds) {
      const result = await Chaos.run(seed, troubleOf(seed));
      published += result.published;
      delivered += result.delivered;
    }
    assert.ok(
      delivered > published,
      `${published} published, ${delivered} delivered: the simulation does little`,
    );
  });
});
