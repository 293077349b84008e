import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { parserFor } from "@topicast/inspect/read/file.js";
import { PcapngEncoder } from "@topicast/inspect/read/pcapng-writer.js";
import type { CapturedFrame } from "@topicast/inspect/read/record.js";
import { captures, inspectBytes } from "./support.js";

/** Long runs: FUZZ_CAPTURES=1000000 FUZZ_SEED=7. A failure names its seed; with that and FUZZ_CAPTURES=1 it comes again. */
const RUNS = Number(process.env.FUZZ_CAPTURES ?? 10_000);
const SEED = Number(process.env.FUZZ_SEED ?? 1);
const MAX_RUN_MS = 2_000;
const MAX_HEAP_GROWTH = 256 << 20;
const HEX_EDGES = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x10, 0x30, 0xf0];

/** mulberry32. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

function framesOf(file: string): CapturedFrame[] {
  const bytes = readFileSync(join(captures, file));
  const frames: CapturedFrame[] = [];
  const parser = parserFor(file.endsWith(".gz") ? gunzipSync(bytes) : bytes, {
    onFrame: (frame) => frames.push({ ...frame, bytes: Buffer.from(frame.bytes) }),
    onDamage: (reason) => assert.fail(reason),
  });
  parser?.push(file.endsWith(".gz") ? gunzipSync(bytes) : bytes);
  return frames;
}

function mutate(bytes: Buffer, next: (below: number) => number): Buffer {
  const mutated = Buffer.from(bytes);
  for (let i = next(8); i >= 0; i--) {
    const at = next(mutated.length);
    const kind = next(4);
    if (kind === 0) mutated[at]! ^= 1 << next(8);
    else if (kind === 1) mutated[at] = HEX_EDGES[next(HEX_EDGES.length)]!;
    else if (kind === 2)
      mutated.copy(mutated, at, next(mutated.length), Math.min(mutated.length, at + next(64)));
    else mutated.fill(next(256), at, Math.min(mutated.length, at + next(16)));
  }
  return next(10) === 0 ? mutated.subarray(0, next(mutated.length)) : mutated;
}

function mutatedCapture(all: readonly CapturedFrame[][], seed: number): Buffer {
  const next = random(seed);
  const source = all[next(all.length)]!;
  const from = next(source.length);
  const chosen = source.slice(from, from + 3 + next(12));
  // Frames twice, missing, and out of order.
  if (next(3) === 0) chosen.splice(next(chosen.length), next(3), ...chosen.slice(0, next(2)));
  if (next(4) === 0) chosen.reverse();
  const encoder = new PcapngEncoder();
  // Half of them damage frames alone, so that the file is read to its end.
  const isInside = next(2) === 0;
  const encode = (frame: CapturedFrame) =>
    encoder.encode(
      isInside && frame.bytes.length > 0 ? { ...frame, bytes: mutate(frame.bytes, next) } : frame,
    );
  const file = Buffer.concat([encoder.header(), ...chosen.map(encode)]);
  return isInside ? file : mutate(file, next);
}

test(`${RUNS} mutated captures: no exception, no hang, bounded memory`, () => {
  const all = readdirSync(captures)
    .filter((name) => /\.pcap(\.gz)?$/.test(name))
    .map(framesOf);
  assert.ok(all.length >= 4);
  const decodeAs = ["tcp.port==17501,mqtt", "tcp.port==9001,websocket", "udp.port==53,dns"];
  const before = process.memoryUsage();
  let [problems, packets] = [0, 0];
  for (let seed = SEED; seed < SEED + RUNS; seed++) {
    const bytes = mutatedCapture(all, seed);
    const started = performance.now();
    try {
      const rows = inspectBytes(bytes, seed % 2 === 0 ? decodeAs : []);
      problems += rows.of("problems").length;
      packets += rows.of("mqtt").length + rows.of("coap").length + rows.of("mqttsn").length;
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
    const took = performance.now() - started;
    assert.ok(took < MAX_RUN_MS, `seed ${seed} took ${took} ms`);
  }
  // The mutations must hit what they are to hit, and leave some packets whole.
  assert.ok(problems > RUNS / 4, `${problems} problems`);
  assert.ok(packets > RUNS, `${packets} packets`);
  const after = process.memoryUsage();
  const growth = after.heapUsed + after.external - before.heapUsed - before.external;
  assert.ok(growth < MAX_HEAP_GROWTH, `${growth} bytes`);
});
