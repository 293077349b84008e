import type { Message } from "@topicast/protocol";
import type { ClientIdentity } from "./authority.js";
import type { WillRequest } from "./codec/connect.js";

/** A message on its way through the sessions: like Message, with the time at which it expires. */
export class Publication {
  /** The same with bytes of its own; this one itself where they are. */
  private own: Publication | undefined = undefined;
  /** Whose retained message it is, where it may be asked whether that client may still publish it; undefined: it is not asked. */
  source: ClientIdentity | undefined = undefined;

  constructor(
    readonly topic: string,
    /** A view of what was read. */
    readonly payload: Buffer,
    readonly qos: 0 | 1 | 2,
    readonly retain: boolean,
    /** Properties to forward, encoded, in their order (MQTT-3.3.2-17, -18). */
    readonly forward: Buffer | undefined,
    /** Time of the clock in milliseconds; Infinity where it does not expire. */
    readonly expiresAt: number,
    /** See `Message.origin`. */
    readonly origin: string | undefined = undefined,
    /** See `Message.tag`. */
    readonly tag: string | undefined = undefined,
  ) {}

  static of(message: Message, now: number): Publication {
    const { topic, payload, qos, retain, properties, messageExpiry, origin, tag } = message;
    const end = expiresAt(messageExpiry, now);
    return new Publication(topic, payload, qos, retain, properties, end, origin, tag);
  }

  static ofWill({ topic, payload, qos, retain, forward, expiry }: WillRequest, now: number): Publication {
    return new Publication(topic, payload, qos, retain, forward, expiresAt(expiry, now));
  }

  withTag(tag: string): Publication {
    const { topic, payload, qos, retain, forward, expiresAt, origin } = this;
    return new Publication(topic, payload, qos, retain, forward, expiresAt, origin, tag);
  }

  /** What it takes in memory, about. */
  get bytes(): number {
    return this.topic.length + this.payload.length + (this.forward?.length ?? 0);
  }

  hasExpired(now: number): boolean {
    return this.expiresAt <= now;
  }

  /** Seconds it has left (MQTT-3.3.2-6); undefined where it does not expire. */
  expiry(now: number): number | undefined {
    if (this.expiresAt === Number.POSITIVE_INFINITY) return undefined;
    return Math.max(0, Math.ceil((this.expiresAt - now) / 1_000));
  }

  /** For whoever keeps it: its bytes are copied once for all, so that they do not hold on to what was read. */
  kept(): Publication {
    if (this.own === undefined) {
      const { topic, payload, qos, retain, forward, expiresAt, origin, tag } = this;
      const properties = forward && copy(forward);
      this.own = new Publication(topic, copy(payload), qos, retain, properties, expiresAt, origin, tag);
      this.own.own = this.own;
      this.own.source = this.source;
    }
    return this.own;
  }

  toMessage(now: number): Message {
    const { topic, payload, qos, retain, forward, origin, tag } = this;
    const messageExpiry = this.expiry(now);
    return {
      topic,
      payload,
      qos,
      retain,
      ...(forward === undefined ? {} : { properties: forward }),
      ...(messageExpiry === undefined ? {} : { messageExpiry }),
      ...(origin === undefined ? {} : { origin }),
      ...(tag === undefined ? {} : { tag }),
    };
  }
}

/** Time at which something expires that has `seconds` left at `now`. */
export function expiresAt(seconds: number | undefined, now: number): number {
  return seconds === undefined ? Number.POSITIVE_INFINITY : now + seconds * 1_000;
}

const NOTHING = Buffer.alloc(0);

function copy(bytes: Buffer): Buffer {
  if (bytes.length === 0) return NOTHING;
  // Not from Node's pool: a few bytes that stay would keep the pool's 8 KiB.
  const own = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(own);
  return own;
}
