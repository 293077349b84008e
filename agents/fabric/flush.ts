import {
  encodeFabricJson,
  FabricTopic,
  readFlushNumber,
  readFlushOrder,
  type StreamSenders,
} from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import type { Registration } from "./registration.js";

/**
 * Makes sure that whatever any edge has sent to this one so far is here, by the positions of the streams, and answers for
 * this edge's own streams: protocol/README.md, "One session per client".
 */
export class Flush {
  private number = 0;
  private readonly waiting = new Map<number, (isHere: boolean) => void>();

  constructor(
    private readonly registration: Registration,
    private readonly streams: StreamSenders,
  ) {}

  /** Resolves with true when all of it is here; with false when the forwarder is away. */
  request(): Promise<boolean> {
    if (!this.registration.registered) return Promise.resolve(false);
    this.number = (this.number + 1) >>> 0;
    const { number } = this;
    void this.registration.send(encodeFabricJson(FabricTopic.FLUSH, number));
    return new Promise((resolve) => this.waiting.set(number, resolve));
  }

  /** One of the forwarder's packets for this part; false where it is malformed, undefined where it is none. */
  onPacket(packet: IPublishPacket): boolean | undefined {
    if (packet.topic === FabricTopic.FLUSH) return this.onOrder(packet);
    if (packet.topic !== FabricTopic.FLUSHED) return undefined;
    const number = readFlushNumber(packet);
    if (number === undefined) return false;
    this.waiting.get(number)?.(true);
    this.waiting.delete(number);
    return true;
  }

  /** The registration has ended: nobody answers. */
  onLost(): void {
    for (const resolve of this.waiting.values()) resolve(false);
    this.waiting.clear();
  }

  private onOrder(packet: IPublishPacket): boolean {
    const order = readFlushOrder(packet);
    if (order === undefined) return false;
    this.streams.whenAt(order.edge, () => {
      void this.registration.send(encodeFabricJson(FabricTopic.FLUSHED, order.number));
    });
    return true;
  }
}
