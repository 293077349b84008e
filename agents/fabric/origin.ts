import { Mark, type Message, takeMark, withMark } from "@topicast/protocol";

/** Publishers' topics whose last relay is remembered: so many, and characters of text. */
const LIMITS = { entries: 65_536, characters: 16 * 1024 * 1024 };

/** The message with its origin among its properties. */
export function withOrigin(message: Message, origin: string): Message {
  return withMark(message, Mark.ORIGIN, origin);
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
    const origin = takeMark(message, Mark.ORIGIN);
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
    return message.qos === 2 ? { ...origin.message, origin: origin.value } : origin.message;
  }

  /**
   * A message that was kept while this agent was away, as its publisher sent it: it may be older than others that were here
   * before it.
   */
  take(message: Message): Message {
    const origin = takeMark(message, Mark.ORIGIN);
    if (origin === undefined) return message;
    const cut = origin.value.lastIndexOf("-");
    const key = `${origin.value.slice(0, cut)} ${message.topic}`;
    this.remember(key, Math.max(Number(origin.value.slice(cut + 1)), this.last.get(key) ?? 0));
    return message.qos === 2 ? { ...origin.message, origin: origin.value } : origin.message;
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
