/** Sequence numbers behind the highest that may still come, as a network that reorders brings them. */
export const REPLAY_WINDOW = 4_096;
/** Sources that a window is kept for; beyond it the one heard least lately is forgotten. */
const SOURCES_MAX = 8_192;
const HALF = 2 ** 32;

interface Seen {
  /** The highest sequence number so far, in two halves. */
  high: number;
  low: number;
  readonly bits: Uint32Array;
}

/** Which sequence numbers of each source have been here: each is let in once. The idea is that of RFC 4303, A2. */
export class ReplayWindow {
  private readonly sources = new Map<number, Seen>();

  /** Whether the number (its two u32 halves) is new; from now on it is not. */
  admit(source: number, high: number, low: number): boolean {
    const seen = this.sources.get(source);
    if (seen === undefined) {
      this.add(source, high, low);
      return true;
    }
    const ahead = (high - seen.high) * HALF + (low - seen.low);
    if (ahead > 0) {
      clear(seen.bits, seen.low, Math.min(ahead, REPLAY_WINDOW));
      seen.high = high;
      seen.low = low;
    } else if (ahead <= -REPLAY_WINDOW) return false;
    const at = low % REPLAY_WINDOW;
    const bit = 1 << (at & 31);
    const word = seen.bits[at >>> 5]!;
    if ((word & bit) !== 0) return false;
    seen.bits[at >>> 5] = word | bit;
    return true;
  }

  private add(source: number, high: number, low: number): void {
    if (this.sources.size >= SOURCES_MAX) this.sources.delete(this.sources.keys().next().value!);
    const bits = new Uint32Array(REPLAY_WINDOW / 32);
    const at = low % REPLAY_WINDOW;
    bits[at >>> 5] = 1 << (at & 31);
    this.sources.set(source, { high, low, bits });
  }
}

/** Forgets the `count` numbers after `low`. */
function clear(bits: Uint32Array, low: number, count: number): void {
  if (count === REPLAY_WINDOW) {
    bits.fill(0);
    return;
  }
  for (let i = 1; i <= count; i++) {
    const at = (low + i) % REPLAY_WINDOW;
    bits[at >>> 5]! &= ~(1 << (at & 31));
  }
}
