import assert from "node:assert/strict";
import test from "node:test";
import { Guessing } from "@topicast/agent/firewall/guessing.js";
import { Buckets } from "@topicast/protocol";

const LIMIT = { perSecond: 1, burst: 1 };
const LONG = "n".repeat(60_000);

test("tables keep no long names that clients choose, and still tell them apart", () => {
  const buckets = new Buckets(LIMIT, () => {});
  assert.equal(buckets.of(`${LONG}a`, 0), buckets.of(`${LONG}a`, 0));
  assert.notEqual(buckets.of(`${LONG}a`, 0), buckets.of(`${LONG}b`, 0));
  const { young: kept } = buckets as unknown as { young: Map<string, unknown> };
  assert.equal(kept.size, 2);
  for (const name of kept.keys()) assert.ok(name.length < 130);
  buckets.forget(`${LONG}a`);
  assert.equal(buckets.size, 1);
});

test("a full table forgets those that nobody has asked for longest, and never the newest half", () => {
  let forgotten = 0;
  const buckets = new Buckets(
    LIMIT,
    () => {
      forgotten += 1;
    },
    8,
  );
  const spend = (name: string) => buckets.of(name, 0).take(1, 0);
  for (let n = 0; n < 8; n++) assert.ok(spend(`${n}`));
  assert.equal(spend("0"), false, "it is remembered, and asked for again");
  for (let n = 8; n < 11; n++) assert.ok(spend(`${n}`));
  for (const name of ["0", "8", "9", "10", "5"]) assert.equal(spend(name), false, name);
  assert.ok(buckets.size <= 8);
  assert.ok(spend("1"), "forgotten: it may begin anew");
  assert.ok(forgotten > 0);
});

test("users with long names are locked, and known, like any", () => {
  const rule = { id: "user", answer: "drop", ...LIMIT, lockMs: 1_000 } as const;
  const guessing = new Guessing({ address: undefined, user: rule }, () => {});
  guessing.succeeded("10.0.0.1", LONG);
  assert.deepEqual(guessing.failed("10.0.0.9", LONG, 0), []);
  assert.deepEqual(guessing.failed("10.0.0.9", LONG, 0), [rule]);
  assert.equal(guessing.locked("10.0.0.9", LONG, 1), rule);
  assert.equal(guessing.locked("10.0.0.1", LONG, 1), undefined);
  assert.equal(guessing.locked("10.0.0.9", `${LONG}x`, 1), undefined);
});
