import type { Endpoint } from "../addresses.js";
import type { Datagram } from "./header.js";
import { SendHistory } from "./send-history.js";
import { decodeStatus } from "./status.js";
import { newSenderStats, type StreamContext, StreamSender } from "./stream-sender.js";

/** Bytes of datagrams that acknowledgements wait for, over all streams; beyond it the next ones wait to be sent. */
const PINNED_BYTES_MAX = 64 * 1024 * 1024;

export type SendersOptions = Pick<
  StreamContext,
  "clock" | "source" | "epoch" | "payloadBytes" | "transmit" | "defer"
>;

/** All streams that one agent sends. */
export class StreamSenders {
  /** By group. Never forgotten: a stream that began again at 0 would be taken for old. Bounded by the group range. */
  private readonly streams = new Map<number, StreamSender>();
  private readonly history: SendHistory;
  private readonly context: StreamContext;

  readonly stats = newSenderStats();

  constructor(private readonly options: SendersOptions) {
    this.history = new SendHistory(options.clock);
    const mayPin = () => this.history.pinnedBytes < PINNED_BYTES_MAX;
    this.context = { ...options, history: this.history, stats: this.stats, mayPin };
  }

  get size(): number {
    return this.streams.size;
  }

  /** Bytes kept to be sent again, and datagrams that had to go before their time. */
  get kept(): { readonly bytes: number; readonly pinnedBytes: number; readonly evicted: number } {
    const { bytes, pinnedBytes, evicted } = this.history;
    return { bytes, pinnedBytes, evicted };
  }

  get(group: number): StreamSender | undefined {
    return this.streams.get(group);
  }

  getOrAdd(group: number): StreamSender {
    let stream = this.streams.get(group);
    if (stream === undefined) {
      stream = new StreamSender(group, this.context);
      this.streams.set(group, stream);
    }
    return stream;
  }

  /** The addresses of all edges that the streams go to. */
  edges(): string[] {
    const addresses = new Set<string>();
    for (const stream of this.streams.values())
      for (const address of stream.addresses()) addresses.add(address);
    return [...addresses];
  }

  /** A STATUS that names this agent's streams. */
  onStatus(datagram: Datagram, from: Endpoint): void {
    const status = decodeStatus(datagram.payload);
    const stream = this.streams.get(datagram.stream);
    if (status === undefined || status.epoch !== this.options.epoch || stream === undefined) {
      this.stats.bad_statuses += 1;
      return;
    }
    stream.onStatus(datagram, status.missing, from);
  }

  /** That life of an edge has ended: nobody waits for it any more. `isAbsent`: see `SendOptions.onAbsent`. */
  removeEdge(number: number, epoch: number, isAbsent: boolean): void {
    for (const stream of this.streams.values()) stream.removeEdge(number, epoch, isAbsent);
  }

  /** Calls `done` when that edge has all that was sent to it so far, or is given up, or gone. */
  whenAt(edge: number, done: () => void): void {
    let left = 1;
    const one = () => {
      left -= 1;
      if (left === 0) done();
    };
    for (const stream of this.streams.values()) {
      left += 1;
      stream.whenAt(edge, one);
    }
    one();
  }

  /** Lets everyone go who waits. */
  close(): void {
    for (const stream of this.streams.values()) stream.close();
    this.history.close();
  }
}
