import { encodeUserProperty, type Message, PropertySet, propertiesIn } from "@topicast/protocol";

/** The user property that tells copies of one message apart from two equal messages: protocol/README.md, "Relays". */
const ORIGIN = "$fabric/origin";
/** Origins that an agent remembers; far more than may be unfinished at a time. */
const ORIGINS_MAX = 65_536;

/** The message with its origin: the one that it has, otherwise a new one. */
export function withOrigin(message: Message, newOrigin: () => string): Message {
  if (originOf(message) !== undefined) return message;
  const origin = encodeUserProperty(ORIGIN, newOrigin());
  const { properties } = message;
  return { ...message, properties: properties === undefined ? origin : Buffer.concat([properties, origin]) };
}

/** Where it stands among the message's properties, and what it says. */
function originOf({ properties }: Message): { start: number; end: number; value: string } | undefined {
  // Most messages have none, and need not be read for it.
  if (properties === undefined || !properties.includes(ORIGIN)) return undefined;
  for (const { value, start, end } of propertiesIn(properties, PropertySet.PUBLISH)) {
    if (Array.isArray(value) && value[0] === ORIGIN) return { start, end, value: value[1] };
  }
  return undefined;
}

/** Tells a message that came before, by another path or in another registration, from a new one. */
export class Origins {
  private readonly seen = new Set<string>();

  readonly stats = { delivered_before: 0 };

  /** The message as its publisher sent it; undefined where it has been here before. */
  admit(message: Message): Message | undefined {
    const origin = originOf(message);
    if (origin === undefined) return message;
    if (this.seen.has(origin.value)) {
      this.stats.delivered_before += 1;
      return undefined;
    }
    this.seen.add(origin.value);
    if (this.seen.size > ORIGINS_MAX) this.seen.delete(this.seen.values().next().value!);
    return without(message, origin);
  }
}

function without(message: Message, { start, end }: { start: number; end: number }): Message {
  const { properties, ...bare } = message;
  const left = Buffer.concat([properties!.subarray(0, start), properties!.subarray(end)]);
  return left.length > 0 ? { ...bare, properties: left } : bare;
}
