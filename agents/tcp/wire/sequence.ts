/**
 * TCP's 32-bit sequence space (RFC 9293 section 3.4): all arithmetic is modulo 2^32, and "before" and "after" hold
 * for numbers less than 2^31 apart. A sequence number is kept as a signed 32-bit integer everywhere (`n | 0`),
 * because V8 stores those without a heap object; `>>> 0` is for printing alone.
 */

/** `a + n` on the circle. */
export function seqAdd(a: number, n: number): number {
  return (a + n) | 0;
}

/** How far `a` lies after `b`: positive when after, negative when before. */
export function seqDiff(a: number, b: number): number {
  return (a - b) | 0;
}

export function seqBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

export function seqAfter(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

/** Whichever lies after the other. */
export function later(a: number, b: number): number {
  return seqAfter(a, b) ? a : b;
}
