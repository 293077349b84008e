import { encodeUserProperty, type Message, PropertySet, propertiesIn } from "@topicast/protocol";

/** The user property that tells which of an agent's relayed messages one is: protocol/README.md, "Relays". */
const ORIGIN = "$fabric/origin";
/** Publishers' topics whose last relay is remembered: so many, and characters of text. */
const LIMITS = { entries: 65_536, characters: 16 * 1024 * 1024 };

/** The message with the place `count` that it has among the relayed messages of the agent `publisher`. */
export function withOrigin(message: Message, publisher: string, count: number): Message {
  const origin = encodeUserProperty(ORIGIN, `${publisher}-${count}`);
  const { properties } = message;
  return { ...message, properties: properties === undefined ? origin : Buffer.concat([properties, origin]) };
}

/** The message without any origin: clients have none to give. */
export function withoutOrigin(message: Message): Message {
  for (let bare = message; ; ) {
    const origin = originOf(bare);
    if (origin === undefined) return bare;
    bare = without(bare, origin);
  }
}

interface Origin {
  /** Where it stands among the message's properties. */
  readonly start: number;
  readonly end: number;
  readonly value: string;
}

function originOf({ properties }: Message): Origin | undefined {
  // Most messages have none, and need not be read for it.
  if (properties === undefined || !properties.includes(ORIGIN)) return undefined;
  for (const { value, start, end } of propertiesIn(properties, PropertySet.PUBLISH)) {
    if (Array.isArray(value) && value[0] === ORIGIN) return { start, end, value: value[1] };
  }
  return undefined;
}

function without(message: Message, { start, end }: Origin): Message {
  const { properties, ...bare } = message;
  const left = Buffer.concat([properties!.subarray(0, start), properties!.subarray(end)]);
  return left.length > 0 ? { ...bare, properties: left } : bare;
}

/**
 * Tells relayed messages that are sent again from new ones. Those of one publisher and topic come in their order, so
 * what is not behind the last one was here before, or was not for this agent when it was in its turn.
 */
export class Origins {
  /** The count of the last one, by publisher and topic; heard last is last. */
  private readonly last = new Map<string, number>();
  private characters = 0;

  readonly stats = { delivered_before: 0 };

  /** The message as its publisher sent it; undefined where its turn is over. */
  admit(message: Message): Message | undefined {
    const origin = originOf(message);
    if (origin === undefined) return message;
    const cut = origin.value.lastIndexOf("-");
    const count = Number(origin.value.slice(cut + 1));
    const key = `${origin.value.slice(0, cut)} ${message.topic}`;
    const last = this.last.get(key);
    if (last !== undefined && !(count > last)) {
      this.stats.delivered_before += 1;
      return undefined;
    }
    this.remember(key, count);
    return without(message, origin);
  }

  private remember(key: string, count: number): void {
    if (this.last.delete(key)) this.characters -= key.length;
    this.last.set(key, count);
    this.characters += key.length;
    while (this.last.size > LIMITS.entries || this.characters > LIMITS.characters) {
      const oldest = this.last.keys().next().value!;
      this.last.delete(oldest);
      this.characters -= oldest.length;
    }
  }
}
