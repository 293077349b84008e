/**
 * How fast a connection is on poor links, kept in goodput.txt: the simulation is deterministic, so any change of the
 * stack's behaviour there shows. An intended one is taken over with
 *
 *     UPDATE_SNAPSHOTS=1 node test/dist/run.js unit tcp/goodput
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { PERFECT } from "./link.js";
import { simulate } from "./simulate.js";

/** Compiled tests lie in dist/, the snapshot beside the source. */
const SNAPSHOT = new URL("../../../../unit/agents/tcp/goodput.txt", import.meta.url);
const BYTES = 200_000;
const SEEDS = [1, 2, 3];
/** 10 Mbit/s with 50 ms of queue. */
const BOTTLENECK = { rate: 1_250, queue: 62_500 };
const PATIENT = { userTimeout: 3_600_000, finWait2: 0, synRetries: 20 };

/** Bytes per second, mean over the seeds. */
function goodput(loss: number, roundTrip: number, reorder: number, options: boolean): number {
  const faults = { ...PERFECT, ...BOTTLENECK, loss, reorder, delay: roundTrip / 2, jitter: roundTrip };
  const config = { ...PATIENT, sack: options, timestamps: options };
  const speeds = SEEDS.map((seed) => {
    const { took } = simulate({ seed, faults, up: BYTES, down: 0, config });
    return BYTES / (took / 1_000);
  });
  return speeds.reduce((sum, speed) => sum + speed) / SEEDS.length;
}

function matrix(): string {
  const lines = [
    `# kB/s of ${BYTES} bytes over 10 Mbit/s; with SACK and timestamps / with neither.`,
    "# round trip, reordered | loss 0 %, 1 %, 5 %, 10 %, 20 %, 30 %, each way",
  ];
  for (const roundTrip of [2, 20, 200])
    for (const reorder of [0, 0.02, 0.2]) {
      const cells = [0, 0.01, 0.05, 0.1, 0.2, 0.3].map((loss) =>
        [true, false]
          .map((options) => (goodput(loss, roundTrip, reorder, options) / 1_000).toFixed(1).padStart(6))
          .join(" /"),
      );
      lines.push(
        `${roundTrip} ms, ${reorder * 100} %`.padEnd(14) + cells.map((cell) => ` | ${cell}`).join(""),
      );
    }
  return `${lines.join("\n")}\n`;
}

describe("goodput over loss, round trip and reordering", () => {
  it("is what goodput.txt says", () => {
    const now = matrix();
    if (process.env.UPDATE_SNAPSHOTS !== undefined) writeFileSync(SNAPSHOT, now);
    assert.equal(now, readFileSync(SNAPSHOT, "utf8"));
  });
});
