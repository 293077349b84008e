import assert from "node:assert/strict";
import { test } from "node:test";
import { Budget } from "@topicast/inspect/tcp/budget.js";
import { Direction } from "@topicast/inspect/tcp/direction.js";
import fc from "../../property.js";

const at = { frame: 1, timeUs: 0 };

function direction(budget = new Budget(1 << 20)) {
  let text = "";
  const subject = new Direction(budget, {
    onBytes: (bytes) => {
      text += bytes.toString("latin1");
    },
    onGap: (missing) => {
      text += `<${missing}>`;
    },
  });
  return { subject, budget, text: () => text };
}

const take = (subject: Direction, seq: number, text: string, cut = 0) =>
  subject.take(seq | 0, Buffer.from(text, "latin1"), cut, at);

test("segments in order, again, overlapping, and early", () => {
  const { subject, text } = direction();
  subject.onSyn(999);
  take(subject, 1000, "abc");
  take(subject, 1000, "abc");
  take(subject, 1002, "cde");
  take(subject, 1007, "hi");
  assert.equal(text(), "abcde");
  take(subject, 1005, "fg");
  assert.equal(text(), "abcdefghi");
  assert.deepEqual(subject.counts, { bytes: 9, retransmitted: 1, overlapping: 1, outOfOrder: 1, missing: 0 });
});

test("sequence numbers wrap", () => {
  const { subject, text } = direction();
  take(subject, 0xffff_fffe, "ab");
  take(subject, 2, "ef");
  take(subject, 0, "cd");
  assert.equal(text(), "abcdef");
});

test("a hole that the receiver has acknowledged is skipped, another one waits until the end", () => {
  const { subject, text } = direction();
  take(subject, 0, "ab");
  take(subject, 5, "fg");
  assert.equal(text(), "ab");
  subject.onAcknowledged(7);
  take(subject, 7, "hi");
  assert.equal(text(), "ab<3>fghi");
  take(subject, 10, "k");
  assert.equal(text(), "ab<3>fghi");
  subject.end();
  assert.equal(text(), "ab<3>fghi<1>k");
  assert.equal(subject.counts.missing, 4);
});

test("what a capture cut off a segment is a hole, unless it was seen already", () => {
  const { subject, text } = direction();
  take(subject, 0, "ab", 3);
  take(subject, 5, "f");
  take(subject, 0, "ab", 3);
  assert.equal(text(), "ab<3>f");
});

test("a keep-alive probe is no retransmission", () => {
  const { subject } = direction();
  take(subject, 0, "ab");
  take(subject, 1, "b");
  assert.equal(subject.counts.retransmitted, 0);
});

test("too much behind a hole: it is skipped; and the budget is given back", () => {
  const { subject, budget, text } = direction(new Budget(10));
  take(subject, 0, "a");
  take(subject, 5, "fghij");
  assert.equal(budget.used, 5);
  take(subject, 12, "mnopqr");
  assert.equal(text(), "a<4>fghij");
  subject.end();
  assert.equal(text(), "a<4>fghij<2>mnopqr");
  assert.equal(budget.used, 0);
});

test("any cutting, order and repetition of segments gives the bytes", () => {
  const whole = "The quick brown fox jumps over the lazy dog.";
  const segment = fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 12 }));
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 40 }), fc.nat(0xffff_ffff), (segments, initial) => {
      const { subject, budget, text } = direction();
      subject.onSyn(initial | 0);
      const every = Array.from({ length: Math.ceil(whole.length / 5) }, (_, i) => [i * 5, 5] as const);
      // Random ones first, then all of them backwards, so that each byte comes at last.
      for (const [from, length] of [...segments, ...every.toReversed()]) {
        take(subject, initial + 1 + from, whole.slice(from, from + length));
      }
      assert.equal(text(), whole);
      assert.equal(budget.used, 0);
    }),
  );
});
