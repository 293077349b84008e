/** Mutated frames against the TCP stack, seed after seed: npm run fuzz -- [--seconds N] [--seed S]. */
import { parseArgs } from "node:util";
import { fuzzOnce, soak } from "./run.js";

const SOAK_ROUNDS = 20;
/** One of so many seeds goes through many rounds of one stack, whose heap is looked at. */
const SOAK_EVERY = 500;

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "60" }, seed: { type: "string", default: "1" } },
});
const seconds = Number(values.seconds);
let seed = Number(values.seed);
if (!(seconds >= 0) || !Number.isInteger(seed)) {
  console.error(
    "usage: npm run fuzz -- [--seconds N] [--seed S]   N seconds (60), seeds from S on (1); at least one",
  );
  process.exit(2);
}
const end = performance.now() + seconds * 1_000;
let frames = 0;
let seeds = 0;
try {
  do {
    frames += seeds % SOAK_EVERY === 0 ? soak(seed, SOAK_ROUNDS) : fuzzOnce(seed);
    seed += 1;
    seeds += 1;
  } while (performance.now() < end);
} catch (error) {
  console.error(error);
  process.exit(1);
}
console.log(`${seeds} seeds, ${frames.toLocaleString("en")} mutated frames: all invariants held`);
