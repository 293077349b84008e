import { protocolError } from "@topicast/protocol";
import type { SessionJournal } from "./durable/journal.js";
import type { DeliveryImage } from "./durable/sessions.js";
import { Fifo } from "./fifo.js";
import { isKnown } from "./handover/seen.js";
import { type Limits, MESSAGE_BYTES } from "./limits.js";
import type { Publication } from "./publication.js";
import type { Stats } from "./stats.js";

/** One message for one client, as its subscription has it. */
export interface Delivered {
  readonly message: Publication;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  /** Its place in the session's journal; 0: none. */
  place: number;
  /** The shared subscription that it came by, where others can have it if this session ends: `$share/NAME/FILTER`. */
  readonly share?: string;
}

/**
 * A QoS 1 or 2 message on its way (MQTT 5, section 4.3). `publish`: PUBLISH sent, PUBACK or PUBREC expected;
 * `release`: PUBREL sent, PUBCOMP expected, the message itself is not needed any more.
 */
export interface Flight {
  readonly id: number;
  readonly qos: 1 | 2;
  state: "publish" | "release";
  delivered: Delivered | undefined;
  readonly place: number;
  /** Of its payload. */
  readonly bytes: number;
  /** Its PUBLISH has been sent on the connection of now: it counts towards the window. */
  isOpen: boolean;
}

/** The connection, as far as messages go out on it. */
export interface DeliveryLink {
  /** QoS 1 and 2 messages that the client takes at a time. */
  readonly window: number;
  /** What is sent now would leave soon. */
  readonly hasRoom: boolean;
  /** Sends a PUBLISH; false where the client takes no packet as large (MQTT-3.1.2-25). */
  sendPublish(delivered: Delivered, id: number, dup: boolean): boolean;
  sendPubrel(id: number): void;
  /** What is sent from now on leaves when the journal is written as far as it is now. */
  commit(): void;
}

/** Bytes that wait for clients, over all sessions. */
export interface QueueBudget {
  bytes: number;
}

/**
 * The messages of QoS 1 and 2 for one session: those that wait, and those on their way until they are acknowledged.
 * They go out in the order they came (MQTT-4.6.0-6), survive the connection, and are sent again on the next one with
 * their packet identifiers (MQTT-4.4.0-1).
 */
export class Delivery {
  /** Where changes are written; undefined: nowhere. */
  journal: SessionJournal | undefined = undefined;
  private readonly queue = new Fifo<Delivered>();
  /** By packet identifier, in the order of first sending. */
  private readonly flights = new Map<number, Flight>();
  private lastId = 0;
  /** What another edge had for this session shortly before; undefined: nothing that could still arrive here. */
  private known: ReadonlyMap<string, number> | undefined = undefined;
  private bytes = 0;
  private link: DeliveryLink | undefined;
  /** Flights of former connections that have not been sent on this one yet. */
  private unsent: Flight[] = [];
  /** PUBLISHes sent on this connection and not acknowledged for good. */
  private open = 0;
  /** And the bytes of their payloads. */
  private openBytes = 0;

  constructor(
    private readonly limits: Limits,
    private readonly stats: Stats,
    private readonly budget: QueueBudget,
    /** The clock's time. */
    private readonly now: () => number,
  ) {}

  /** Messages that wait or are on their way. */
  get size(): number {
    return this.queue.length + this.flights.size;
  }

  /** Nothing waits for the connection to have room. */
  get isIdle(): boolean {
    return this.queue.length === 0 && this.unsent.length === 0;
  }

  /** The window is full: nothing can leave before an acknowledgement arrives. */
  private get isFull(): boolean {
    if (this.link === undefined || this.flights.size >= 0xffff) return true;
    return this.open >= this.link.window || this.openBytes >= this.limits.inflightBytes;
  }

  /** Takes a message whose bytes are its own; false (and counted) where the session has too much waiting. */
  offer(delivered: Delivered): boolean {
    if (this.known !== undefined && wasElsewhere(this.known, delivered)) return true;
    const bytes = delivered.message.bytes + MESSAGE_BYTES;
    const { limits, budget, stats } = this;
    if (
      this.size >= limits.queueMessages ||
      (this.bytes + bytes > limits.queueBytes && this.size > 0) ||
      budget.bytes + bytes > limits.queueBytesTotal
    ) {
      stats.queue_dropped += 1;
      return false;
    }
    this.account(bytes);
    this.journal?.queued(delivered);
    this.queue.push(delivered);
    this.pump();
    return true;
  }

  /** Takes over what a former process had for this session and `journal` knows; before it is connected. */
  restore(deliveries: readonly DeliveryImage[], journal: SessionJournal): void {
    for (const image of deliveries) {
      const { place } = image;
      const delivered = deliveredOf(image, place);
      journal.skip(place);
      if (delivered !== undefined) journal.knows(delivered);
      this.take(image, delivered, place);
    }
  }

  /**
   * Puts what another edge had for this session before what has come here; before it is connected.
   * @param known the last messages that the other edge had, by publisher and topic: they are not taken here as well
   */
  precede(deliveries: readonly DeliveryImage[], known: ReadonlyMap<string, number>): void {
    const since = [...this.queue];
    this.queue.clear();
    for (const image of deliveries) {
      const delivered = deliveredOf(image, 0);
      this.take(image, delivered, this.journal?.inserted(image, delivered) ?? 0);
    }
    for (const delivered of since) {
      if (wasElsewhere(known, delivered)) this.discard(delivered);
      else this.queue.push(delivered);
    }
    this.known = known;
  }

  /** Takes what was there before, behind what has been taken of it already. */
  private take({ progress, qos, id }: DeliveryImage, delivered: Delivered | undefined, place: number): void {
    if (delivered !== undefined) this.account(delivered.message.bytes + MESSAGE_BYTES);
    if (progress !== "queued") {
      const bytes = delivered?.message.payload.length ?? 0;
      this.flights.set(id, { id, qos, state: progress, delivered, place, bytes, isOpen: false });
      this.lastId = id;
    } else if (delivered !== undefined) {
      this.queue.push(delivered);
    }
  }

  /** Nothing of what the other edge had arrives here any more. */
  forgetKnown(known: ReadonlyMap<string, number>): void {
    if (this.known === known) this.known = undefined;
  }

  /** All that waits or is on its way, in its order. */
  *places(): IterableIterator<{ place: number; delivered: Delivered | undefined; flight?: Flight }> {
    for (const flight of this.flights.values()) {
      yield { place: flight.place, delivered: flight.delivered, flight };
    }
    for (const delivered of this.queue) yield { place: delivered.place, delivered };
  }

  /**
   * What other members of shared subscriptions are to get if the session ends now (MQTT 5, section 4.8.2): what has not been
   * sent, and at QoS 1 what is not acknowledged. A QoS 2 message that has been sent is nobody else's (MQTT-4.8.2-5).
   */
  *leftToOthers(): IterableIterator<{ share: string; message: Publication }> {
    for (const { delivered, flight } of this.places()) {
      const isLeft = flight === undefined || flight.qos === 1;
      if (delivered?.share !== undefined && isLeft) {
        yield { share: delivered.share, message: delivered.message };
      }
    }
  }

  /** Whether a QoS 1 or 2 message offered now would leave at once. */
  get isReady(): boolean {
    return this.isIdle && !this.isFull && this.link!.hasRoom;
  }

  /** A new connection: what was on its way is sent again first. */
  connect(link: DeliveryLink): void {
    this.link = link;
    this.open = 0;
    this.openBytes = 0;
    this.unsent = [...this.flights.values()].reverse();
    for (const flight of this.unsent) flight.isOpen = false;
  }

  disconnect(): void {
    this.link = undefined;
    this.unsent = [];
    this.open = 0;
    this.openBytes = 0;
  }

  /** Sends what can leave now. */
  pump(): void {
    const { link } = this;
    if (link === undefined) return;
    while (this.unsent.length > 0 && link.hasRoom) {
      const flight = this.unsent.at(-1)!;
      if (flight.state === "publish" && this.isFull) return;
      this.unsent.pop();
      if (this.flights.get(flight.id) === flight) this.sendAgain(link, flight);
    }
    if (this.unsent.length > 0) return;
    while (this.queue.length > 0 && !this.isFull && link.hasRoom) this.send(link, this.queue.shift()!);
  }

  /** @throws PacketError 0x82 where that identifier's PUBLISH is not to be answered by PUBACK */
  onPuback(id: number): void {
    const flight = this.flights.get(id);
    if (flight === undefined) return;
    if (flight.qos !== 1) throw protocolError(`PUBACK for a message of QoS ${flight.qos}`);
    this.finish(flight);
  }

  /** @throws PacketError 0x82 as above */
  onPubrec(id: number, code: number): void {
    const flight = this.flights.get(id);
    if (flight === undefined) {
      // Perhaps of a session that was lost: what the client holds of it ends here.
      if (code < 0x80) this.link?.sendPubrel(id);
      return;
    }
    if (flight.qos !== 2) throw protocolError("PUBREC for a message of QoS 1");
    if (code >= 0x80) return this.finish(flight);
    const { delivered } = flight;
    if (delivered !== undefined) this.journal?.releasing(flight, delivered);
    this.release(flight);
    this.link?.sendPubrel(id);
  }

  /** @throws PacketError 0x82 as above */
  onPubcomp(id: number): void {
    const flight = this.flights.get(id);
    if (flight === undefined) return;
    if (flight.state !== "release") throw protocolError(`PUBCOMP before PUBREC, QoS ${flight.qos}`);
    this.finish(flight);
  }

  /** The session ends. */
  clear(): void {
    this.disconnect();
    this.journal = undefined;
    this.queue.clear();
    this.flights.clear();
    this.account(-this.bytes);
  }

  private send(link: DeliveryLink, delivered: Delivered): void {
    const { message, qos, place } = delivered;
    // Taken by what is not sent, too, as by servers that give identifiers to what waits.
    const id = this.nextId();
    if (message.hasExpired(this.now())) {
      this.stats.queue_expired += 1;
      return this.discard(delivered);
    }
    if (this.journal !== undefined) {
      this.journal.sent(delivered, id);
      // Were it sent again with another identifier after a crash, its receiver would take it for another message.
      if (qos === 2) link.commit();
    }
    if (!link.sendPublish(delivered, id, false)) return this.discard(delivered);
    const bytes = message.payload.length;
    this.flights.set(id, { id, qos: qos as 1 | 2, state: "publish", delivered, place, bytes, isOpen: true });
    this.open += 1;
    this.openBytes += bytes;
  }

  private discard(delivered: Delivered): void {
    this.journal?.done(delivered.place, delivered);
    this.account(-(delivered.message.bytes + MESSAGE_BYTES));
  }

  private sendAgain(link: DeliveryLink, flight: Flight): void {
    // A repeated PUBREL does not count towards the window (MQTT 5, section 4.9).
    if (flight.state === "release") return link.sendPubrel(flight.id);
    this.stats.publish_resent += 1;
    if (!link.sendPublish(flight.delivered!, flight.id, true)) return this.finish(flight);
    flight.isOpen = true;
    this.open += 1;
    this.openBytes += flight.bytes;
  }

  /** The lowest identifier that is free, going round (MQTT-2.2.1-4). */
  private nextId(): number {
    do this.lastId = (this.lastId % 0xffff) + 1;
    while (this.flights.has(this.lastId));
    return this.lastId;
  }

  /** The receiver has the message: its bytes are not needed any more. */
  private release(flight: Flight): void {
    if (flight.delivered === undefined) return;
    this.account(-(flight.delivered.message.bytes + MESSAGE_BYTES));
    flight.delivered = undefined;
    flight.state = "release";
  }

  private finish(flight: Flight): void {
    this.journal?.done(flight.place, flight.delivered);
    this.release(flight);
    this.flights.delete(flight.id);
    if (flight.isOpen) {
      this.open -= 1;
      this.openBytes -= flight.bytes;
    }
    this.pump();
  }

  private account(bytes: number): void {
    this.bytes += bytes;
    this.budget.bytes += bytes;
  }
}

/** Whether the other edge gave it to the session, too. A shared subscription's message is given at one edge only. */
function wasElsewhere(known: ReadonlyMap<string, number>, { message, share }: Delivered): boolean {
  return share === undefined && isKnown(known, message);
}

/** The message of `image`; undefined where it is not needed any more. */
function deliveredOf(
  { content, qos, retain, subscriptionIds }: DeliveryImage,
  place: number,
): Delivered | undefined {
  return content && { message: content, qos, retain, subscriptionIds, place };
}
