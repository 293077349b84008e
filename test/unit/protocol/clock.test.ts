import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SimClock } from "@topicast/protocol";

describe("SimClock", () => {
  it("runs timers in order of time, ties in the order they were set, at their own time", () => {
    const clock = new SimClock();
    const seen: string[] = [];
    const note = (name: string) => () => seen.push(`${name}@${clock.now()}`);
    clock.setTimer(20, note("late"));
    clock.setTimer(10, note("first"));
    clock.setTimer(10, note("second"));
    clock.advance(15);
    assert.deepEqual(seen, ["first@10", "second@10"]);
    assert.equal(clock.now(), 15);
    clock.advance(5);
    assert.deepEqual(seen.at(-1), "late@20");
  });

  it("does not run a cancelled timer, and runs one set by another timer in the same advance", () => {
    const clock = new SimClock();
    const seen: number[] = [];
    const cancelled = clock.setTimer(5, () => seen.push(-1));
    cancelled.cancel();
    clock.setTimer(1, () => clock.setTimer(1, () => seen.push(clock.now())));
    clock.advance(10);
    assert.deepEqual(seen, [2]);
    assert.equal(clock.pending, 0);
  });
});
