import { seqAfter, seqBefore } from "./wire/sequence.js";
import { MAX_SACK_BLOCKS, NO_SACKS } from "./wire/tcp.js";

/**
 * What acknowledgements tell of bytes beyond their number (RFC 2018 section 4): the blocks most recently changed first, at
 * most as many as fit into a header, before them a segment that came twice (D-SACK, RFC 2883).
 */
export class SackBlocks {
  /** Left and right edges in turn. */
  private edges: number[] = [];
  private duplicate: readonly number[] = NO_SACKS;

  /** Bytes have come out of order; `left` to `right` is all that is held in one piece around them. */
  add(left: number, right: number): void {
    const edges = [left, right];
    for (let i = 0; i < this.edges.length && edges.length < 2 * MAX_SACK_BLOCKS; i += 2) {
      const [from, to] = [this.edges[i]!, this.edges[i + 1]!];
      if (seqBefore(from, left) || seqAfter(to, right)) edges.push(from, to);
    }
    this.edges = edges;
  }

  /** These bytes had come before; the next acknowledgement says so, once. */
  addDuplicate(left: number, right: number): void {
    this.duplicate = [left, right];
  }

  /** Nothing is held any more. */
  clear(): void {
    this.edges = [];
  }

  /** At most `max` blocks to go with the acknowledgement of everything before `nxt`. */
  take(nxt: number, max: number): readonly number[] {
    const { duplicate } = this;
    if (this.edges.length === 0 && duplicate.length === 0) return NO_SACKS;
    this.edges = this.edges.filter((_, i, edges) => seqAfter(edges[i - (i % 2)]!, nxt));
    this.duplicate = NO_SACKS;
    return [...duplicate, ...this.edges].slice(0, 2 * max);
  }
}
