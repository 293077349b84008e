import type { Message } from "@topicast/protocol";

/** The user property that tells copies of one message apart from two equal messages: protocol/README.md, "Relays". */
const ORIGIN = "$fabric/origin";
/** Origins that an agent remembers; far more than may be unfinished at a time. */
const ORIGINS_MAX = 65_536;

/** The message with its origin: the one that it has, otherwise a new one. */
export function withOrigin(message: Message, newOrigin: () => string): Message {
  if (originOf(message) !== undefined) return message;
  const userProperties = { ...message.properties?.userProperties, [ORIGIN]: newOrigin() };
  return { ...message, properties: { ...message.properties, userProperties } };
}

function originOf(message: Message): string | undefined {
  const origin = message.properties?.userProperties?.[ORIGIN];
  return typeof origin === "string" ? origin : undefined;
}

/** Tells a message that came before, by another path or in another registration, from a new one. */
export class Origins {
  private readonly seen = new Set<string>();

  readonly stats = { delivered_before: 0 };

  /** The message as its publisher sent it; undefined where it has been here before. */
  admit(message: Message): Message | undefined {
    const origin = originOf(message);
    if (origin === undefined) return message;
    if (this.seen.has(origin)) {
      this.stats.delivered_before += 1;
      return undefined;
    }
    this.seen.add(origin);
    if (this.seen.size > ORIGINS_MAX) this.seen.delete(this.seen.values().next().value!);
    return withoutOrigin(message);
  }
}

function withoutOrigin(message: Message): Message {
  const { properties, ...bare } = message;
  const { userProperties, ...others } = properties!;
  const { [ORIGIN]: _, ...theirs } = userProperties!;
  const left = { ...others, ...(Object.keys(theirs).length > 0 ? { userProperties: theirs } : {}) };
  return Object.keys(left).length > 0 ? { ...bare, properties: left } : bare;
}
