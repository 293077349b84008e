/**
 * Mutated frames against the TCP stack, mutated rule files and messages against the firewall, seed after seed:
 * npm run fuzz -- [--seconds N] [--seed S] [tcp | firewall].
 */
import { parseArgs } from "node:util";
import { fuzzFirewall } from "./firewall.js";
import { fuzzOnce, replayable, soak } from "./run.js";

const SOAK_ROUNDS = 20;
/** One of so many seeds goes through many rounds of one stack, whose heap is looked at. */
const SOAK_EVERY = 500;
const KINDS = ["tcp", "firewall"] as const;

const { values, positionals } = parseArgs({
  options: { seconds: { type: "string", default: "60" }, seed: { type: "string", default: "1" } },
  allowPositionals: true,
});
const seconds = Number(values.seconds);
let seed = Number(values.seed);
const kinds = KINDS.filter((kind) => positionals.length === 0 || positionals.includes(kind));
if (!(seconds >= 0) || !Number.isInteger(seed) || kinds.length < Math.max(positionals.length, 1)) {
  console.error(
    "usage: npm run fuzz -- [--seconds N] [--seed S] [tcp | firewall]   N seconds (60), seeds from S on (1); at least one",
  );
  process.exit(2);
}
const end = performance.now() + seconds * 1_000;
let frames = 0;
let packets = 0;
let seeds = 0;
try {
  do {
    if (kinds.includes("tcp")) frames += seeds % SOAK_EVERY === 0 ? soak(seed, SOAK_ROUNDS) : fuzzOnce(seed);
    if (kinds.includes("firewall")) packets += await replayable(seed, "firewall", () => fuzzFirewall(seed));
    seed += 1;
    seeds += 1;
  } while (performance.now() < end);
} catch (error) {
  console.error(error);
  process.exit(1);
}
const done = {
  tcp: `${frames.toLocaleString("en")} mutated frames`,
  firewall: `${packets.toLocaleString("en")} packets`,
};
console.log(`${seeds} seeds, ${kinds.map((kind) => done[kind]).join(", ")}: all invariants held`);
