import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fuzzOnce, soak } from "../../../fuzz/run.js";

describe("TCP stack under mutated frames", () => {
  it("throws nothing, counts each frame once, serves its bystanders, and holds nothing afterwards", () => {
    let frames = 0;
    for (let seed = 1; seed <= 60; seed++) frames += fuzzOnce(seed);
    assert(frames > 20_000);
  });

  it("does not grow", () => {
    assert(soak(1_000, 20) > 8_000);
  });
});
