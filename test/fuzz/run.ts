import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { World } from "./world.js";

const FRAMES = 400;
/** A stack that has served for long may hold this much more than after its first rounds, in bytes: noise, not growth. */
const HEAP_NOISE = 1_000_000;

/** One world from `seed`. Returns how many frames were thrown. @throws Error that names the seed and how to replay it */
export function fuzzOnce(seed: number): number {
  return replayed(seed, () => {
    const world = new World(seed);
    world.round(FRAMES);
    return world.frames;
  });
}

/** Round after round against one stack, whose heap must not grow. */
export function soak(seed: number, rounds: number): number {
  return replayed(seed, () => {
    const world = new World(seed);
    let settled = 0;
    for (let i = 0; i < rounds; i++) {
      if (i === rounds >> 1) settled = heap();
      world.round(FRAMES);
    }
    const growth = heap() - settled;
    assert(growth < HEAP_NOISE, `the heap grew by ${growth} bytes in ${rounds >> 1} rounds`);
    return world.frames;
  });
}

function replayed(seed: number, run: () => number): number {
  try {
    return run();
  } catch (error) {
    throw failure(seed, "tcp", error);
  }
}

/** What `run` answers. @throws Error that names the seed and how to replay it */
export async function replayable(seed: number, kind: string, run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    throw failure(seed, kind, error);
  }
}

function failure(seed: number, kind: string, error: unknown): Error {
  const message = error instanceof Error ? error.message : String(error);
  return new Error(`${message}\nreplay: npm run fuzz -- --seed ${seed} --seconds 0 ${kind}`, {
    cause: error,
  });
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function heap(): number {
  // What the first finds dead, the second gives back.
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
