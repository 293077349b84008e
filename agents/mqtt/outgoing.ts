import type { Connect } from "./codec/connect.js";
import { Type } from "./codec/decode.js";
import { encodeAck } from "./codec/encode.js";
import {
  encodePublish,
  OWN_SHARED_BYTES,
  type PublishShape,
  publishSize,
  SHARED_BYTES,
} from "./codec/encode-publish.js";
import type { Delivered, DeliveryLink } from "./delivery.js";
import type { Limits } from "./limits.js";
import type { Outbox } from "./outbox.js";
import type { Publication } from "./publication.js";
import type { RetainedLink } from "./retained-feed.js";
import type { Stats } from "./stats.js";

const NO_IDS: readonly number[] = [];

/** A message at QoS 0 to many clients: its packets, encoded once for each of the forms that are asked for. */
export class LivePackets {
  private readonly packets: (Buffer | undefined)[] = [undefined, undefined, undefined, undefined];
  private readonly expiry: number | undefined;
  /** The end of each packet, where it is not copied into them. */
  readonly payload: Buffer | undefined;

  constructor(
    readonly message: Publication,
    now: number,
  ) {
    this.expiry = message.expiry(now);
    this.payload = message.payload.length >= SHARED_BYTES ? message.payload : undefined;
  }

  packet(mqtt5: boolean, retain: boolean): Buffer {
    const form = (mqtt5 ? 2 : 0) + (retain ? 1 : 0);
    let packet = this.packets[form];
    if (packet === undefined) {
      const shape = atMostOnce(mqtt5, retain, this.expiry);
      packet = encodePublish(this.message, shape, this.payload === undefined);
      this.packets[form] = packet;
    }
    return packet;
  }
}

/** The messages' way out to one client: what its CONNECT said of the packets that it takes. */
export class Outgoing implements DeliveryLink, RetainedLink {
  readonly window: number;
  private readonly mqtt5: boolean;
  private readonly maximumPacketSize: number;
  private readonly aliasMaximum: number;
  /** Aliases in use, by topic (MQTT 5, section 3.3.2.3.4). */
  private readonly aliases = new Map<string, number>();

  constructor(
    connect: Connect,
    limits: Limits,
    private readonly outbox: Outbox,
    private readonly stats: Stats,
    private readonly now: () => number,
  ) {
    this.window = Math.min(connect.receiveMaximum, limits.inflight);
    this.mqtt5 = connect.version === 5;
    this.maximumPacketSize = connect.maximumPacketSize;
    this.aliasMaximum = Math.min(connect.topicAliasMaximum, limits.topicAliasesOut);
  }

  get hasRoom(): boolean {
    return this.outbox.hasRoom;
  }

  /** Whether the client takes packets of this size (MQTT-3.1.2-24). */
  takes(bytes: number): boolean {
    return bytes <= this.maximumPacketSize;
  }

  /** A message of QoS 0 to one of many; false (and counted) where it is dropped. */
  sendLive(packets: LivePackets, retain: boolean, subscriptionIds: readonly number[]): boolean {
    if (subscriptionIds.length > 0 || this.aliasMaximum > 0) {
      return this.sendOwn({ message: packets.message, qos: 0, retain, subscriptionIds, place: 0 }, true);
    }
    const packet = packets.packet(this.mqtt5, retain);
    const { payload } = packets;
    if (packet.length + (payload?.length ?? 0) > this.maximumPacketSize)
      return this.tooLarge(packets.message);
    return this.count(this.outbox.offer(packet, payload), packets.message);
  }

  sendAtMostOnce(delivered: Delivered): void {
    this.sendOwn(delivered, false);
  }

  sendPublish(delivered: Delivered, id: number, dup: boolean): boolean {
    const { message, qos } = delivered;
    const shape = this.shape(delivered, id, dup);
    if (!this.takes(publishSize(message, shape))) return this.tooLarge(message, shape);
    const isShared = message.payload.length >= OWN_SHARED_BYTES;
    const packet = encodePublish(message, shape, !isShared);
    this.outbox.send(packet, isShared ? message.payload : undefined);
    if (qos === 1) this.stats.publish_sent_qos1 += 1;
    else this.stats.publish_sent_qos2 += 1;
    return this.count(true, message);
  }

  commit(): void {
    this.outbox.commit();
  }

  sendPubrel(id: number): void {
    this.outbox.push(encodeAck(Type.PUBREL, id));
  }

  /** A packet of QoS 0 that nobody else gets. */
  private sendOwn(delivered: Delivered, mayBeDropped: boolean): boolean {
    const { message } = delivered;
    const shape = this.shape(delivered, 0, false);
    if (!this.takes(publishSize(message, shape))) return this.tooLarge(message, shape);
    const isShared = message.payload.length >= OWN_SHARED_BYTES;
    const packet = encodePublish(message, shape, !isShared);
    const payload = isShared ? message.payload : undefined;
    const isTaken = mayBeDropped ? this.outbox.offer(packet, payload) : this.outbox.send(packet, payload);
    if (!isTaken) this.forgetAlias(message, shape);
    return this.count(isTaken, message);
  }

  private shape(delivered: Delivered, id: number, dup: boolean): PublishShape {
    const { message, qos, retain, subscriptionIds } = delivered;
    if (!this.mqtt5) {
      return { ...atMostOnce(false, retain, undefined), qos, id, dup };
    }
    const { topic } = message;
    let alias = this.aliases.get(topic) ?? 0;
    const isAliasKnown = alias > 0;
    if (!isAliasKnown && this.aliases.size < this.aliasMaximum) {
      alias = this.aliases.size + 1;
      this.aliases.set(topic, alias);
    }
    const expiry = message.expiry(this.now());
    return { mqtt5: true, qos, dup, retain, id, alias, isAliasKnown, subscriptionIds, expiry };
  }

  private tooLarge(message: Publication, shape?: PublishShape): false {
    this.stats.publish_too_large += 1;
    if (shape !== undefined) this.forgetAlias(message, shape);
    return false;
  }

  /** The alias that a packet would have set stays unknown to the client: it was not sent. */
  private forgetAlias({ topic }: Publication, { alias, isAliasKnown }: PublishShape): void {
    if (alias > 0 && !isAliasKnown) this.aliases.delete(topic);
  }

  private count(isTaken: boolean, { payload }: Publication): boolean {
    if (!isTaken) return false;
    this.stats.publish_sent += 1;
    this.stats.publish_sent_bytes += payload.length;
    return true;
  }
}

function atMostOnce(mqtt5: boolean, retain: boolean, expiry: number | undefined): PublishShape {
  return {
    mqtt5,
    qos: 0,
    dup: false,
    retain,
    id: 0,
    alias: 0,
    isAliasKnown: false,
    subscriptionIds: NO_IDS,
    expiry: mqtt5 ? expiry : undefined,
  };
}
