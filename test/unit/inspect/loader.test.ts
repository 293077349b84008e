import assert from "node:assert/strict";
import { test } from "node:test";
import { Recent } from "@topicast/inspect/recent.js";
import { Database } from "@topicast/inspect/tables/database.js";
import type { Row } from "@topicast/inspect/tables/schema.js";
import fc from "../../property.js";

const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 3 });
/** Around the twelve bytes that DuckDB keeps in place. */
const text = maybe(
  fc.oneof(
    fc.string({ maxLength: 14 }),
    fc.string({ unit: "grapheme", maxLength: 14 }),
    fc.constantFrom(
      "",
      "abcdefghijkl",
      "abcdefghijklm",
      "nul\0",
      "a long text with a nul\0 in it",
      "ü",
      "12 bytes äbc",
    ),
  ),
);
const whole = maybe(fc.integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }));

const packet = fc.record({
  no: whole,
  time: maybe(fc.integer({ min: -1e15, max: 4e15 })),
  topic: text,
  client_id: text,
  qos: maybe(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
  dup: maybe(fc.boolean()),
  ack_ms: maybe(fc.double({ noNaN: true })),
  payload: maybe(fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes))),
});

test("every row is read back as it was put, over many chunks", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(packet, { maxLength: 40 }), fc.nat(2_500), async (kinds, extra) => {
      const rows = Array.from(
        { length: kinds.length === 0 ? 0 : kinds.length + extra },
        (_, i) => kinds[i % kinds.length]!,
      );
      const database = await Database.open(undefined, ["mqtt"]);
      for (const row of rows) database.put("mqtt", { ...row } as Row<"mqtt">);
      await database.finish();
      const { rows: found } = await database.ask(
        "SELECT no, epoch_us(time), topic, client_id, qos, dup, ack_ms, hex(payload) FROM mqtt",
      );
      database.close();
      const told = (value: string | undefined) => value?.replaceAll("\0", "\ufffd") ?? null;
      const big = (value: number | undefined) => (value === undefined ? null : BigInt(value));
      assert.deepEqual(
        found,
        rows.map((row) => [
          big(row.no),
          big(row.time),
          told(row.topic),
          told(row.client_id),
          row.qos ?? null,
          row.dup ?? null,
          row.ack_ms ?? null,
          row.payload?.toString("hex").toUpperCase() ?? null,
        ]),
      );
    }),
    { numRuns: 20, seed: 7 },
  );
});

test("nanoseconds since 1970 are exact", async () => {
  const database = await Database.open(undefined, ["frames"]);
  const instants = [
    { timeUs: 1_700_000_000_123_456, nanos: 789 },
    { timeUs: -1, nanos: 999 },
    { timeUs: 2 ** 32, nanos: 0 },
    { timeUs: -(2 ** 40) - 1, nanos: 1 },
  ];
  for (const epoch_ns of instants) database.put("frames", { epoch_ns, seq: 2 ** 32 - 1 } as Row<"frames">);
  await database.finish();
  const { rows } = await database.ask("SELECT epoch_ns, seq FROM frames");
  database.close();
  assert.deepEqual(
    rows,
    instants.map(({ timeUs, nanos }) => [BigInt(timeUs) * 1000n + BigInt(nanos), 4_294_967_295n]),
  );
});

test("a bounded map forgets what was set longest ago, and never the newest half", () => {
  const recent = new Recent<number, string>(8);
  for (let i = 0; i < 100; i++) {
    recent.set(i, `${i}`);
    for (let j = Math.max(0, i - 3); j <= i; j++) assert.equal(recent.get(j), `${j}`);
    assert.equal(recent.get(i - 8), undefined);
  }
  recent.set(99, "anew");
  assert.equal(recent.get(99), "anew");
  recent.delete(99);
  assert.equal(recent.get(99), undefined);
});
