/**
 * Bytes that were written and are not yet acknowledged. Chunks are kept as they came (they are shared with whoever
 * wrote them, and must not change), but small ones that follow each other are joined: thousands of tiny answers to a peer that
 * takes none must not cost many times their bytes. Offsets count from the oldest byte still here.
 */
export class SendQueue {
  private chunks: Buffer[] = [];
  /** Where each chunk starts, in bytes since the connection began. */
  private starts: number[] = [];
  private head = 0;
  /** Where the last chunk lies with room behind it, if it was joined. */
  private joined: Buffer | undefined;
  private released = 0;
  private appended = 0;

  get length(): number {
    return this.appended - this.released;
  }

  append(chunk: Buffer): void {
    if (chunk.length === 0) return;
    if (chunk.length > SMALL || !this.joinLast(chunk)) {
      this.chunks.push(chunk);
      this.starts.push(this.appended);
      this.joined = undefined;
    }
    this.appended += chunk.length;
  }

  private joinLast(chunk: Buffer): boolean {
    const last = this.chunks.at(-1);
    if (last === undefined || last.length + chunk.length > JOIN_UP_TO) return false;
    if (this.joined === undefined) {
      if (last.length > SMALL) return false;
      this.joined = Buffer.allocUnsafeSlow(JOIN_UP_TO);
      last.copy(this.joined);
    }
    chunk.copy(this.joined, last.length);
    this.chunks[this.chunks.length - 1] = this.joined.subarray(0, last.length + chunk.length);
    return true;
  }

  /** Forgets the oldest `count` bytes (at most `length`). */
  release(count: number): void {
    this.released += count;
    if (this.released === this.appended) {
      this.clear();
      return;
    }
    while (this.starts[this.head]! + this.chunks[this.head]!.length <= this.released) {
      this.chunks[this.head] = EMPTY;
      this.head += 1;
    }
    if (this.head >= COMPACT_AT && this.head * 2 >= this.chunks.length) {
      this.chunks = this.chunks.slice(this.head);
      this.starts = this.starts.slice(this.head);
      this.head = 0;
    }
  }

  clear(): void {
    this.released = this.appended;
    if (this.chunks.length === 0) return;
    this.chunks = [];
    this.starts = [];
    this.head = 0;
    this.joined = undefined;
  }

  /**
   * The bytes `[offset, offset + count)`. Where they lie in one chunk this is a view of it, else they are gathered in
   * a buffer that the next `slice` of any queue uses again.
   *
   * @param count at most 65,535; `offset + count` at most `length`
   */
  slice(offset: number, count: number): Buffer {
    const from = this.released + offset;
    let i = this.find(from);
    const first = this.chunks[i]!;
    const skip = from - this.starts[i]!;
    if (skip + count <= first.length) return first.subarray(skip, skip + count);
    let copied = first.copy(scratch, 0, skip);
    while (copied < count) {
      i += 1;
      copied += this.chunks[i]!.copy(scratch, copied, 0, count - copied);
    }
    return scratch.subarray(0, count);
  }

  /** Index of the chunk that holds the byte at `position`. */
  private find(position: number): number {
    let low = this.head;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.starts[middle]! <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

const EMPTY = Buffer.alloc(0);
const COMPACT_AT = 64;
/** Chunks up to this size are joined, up to that. */
const SMALL = 512;
const JOIN_UP_TO = 4_096;
const scratch = Buffer.alloc(65_536);
