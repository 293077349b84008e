import type { Message } from "../message.js";
import { encodeUserProperty, PropertySet, propertiesIn } from "../mqtt/properties.js";

/**
 * What agents and forwarder say to each other of a message, as user properties of its PUBLISH: protocol/README.md, "Relays",
 * "Shared subscriptions" and "Retained messages". No client sees them, and none of a client's own counts.
 */
export const Mark = {
  ORIGIN: "$fabric/origin",
  SHARE: "$fabric/share",
  TAG: "$fabric/tag",
} as const;

const PREFIX = "$fabric/";
const ALL: readonly string[] = Object.values(Mark);

interface Found {
  /** Where it stands among the message's properties. */
  readonly start: number;
  readonly end: number;
  readonly name: string;
  readonly value: string;
}

export function withMark(message: Message, name: string, value: string): Message {
  const mark = encodeUserProperty(name, value);
  const { properties } = message;
  return { ...message, properties: properties === undefined ? mark : Buffer.concat([properties, mark]) };
}

/** The mark's value, and the message without it; undefined where it has none. */
export function takeMark(message: Message, name: string): { value: string; message: Message } | undefined {
  const found = find(message, (n) => n === name);
  return found && { value: found.value, message: without(message, found) };
}

/** The message without any mark: clients have none to give. */
export function withoutMarks(message: Message): Message {
  for (let bare = message; ; ) {
    const found = find(bare, (name) => ALL.includes(name));
    if (found === undefined) return bare;
    bare = without(bare, found);
  }
}

/** The message with its tag among its properties, for the wire. */
export function withTag(message: Message): Message {
  // Most messages have none: no copy is made of these.
  if (message.tag === undefined) return message;
  const { tag, ...bare } = message;
  return withMark(bare, Mark.TAG, tag);
}

/** The message as its publisher sent it, with its tag beside it. */
export function takeTag(message: Message): Message {
  const found = takeMark(message, Mark.TAG);
  return found === undefined ? message : { ...found.message, tag: found.value };
}

/** The difference of the counts of two tags of one source; undefined where their sources are not the same. */
export function tagDistance(from: string, to: string): number | undefined {
  const cut = from.lastIndexOf("-") + 1;
  if (to.lastIndexOf("-") + 1 !== cut || !to.startsWith(from.slice(0, cut))) return undefined;
  return Number(to.slice(cut)) - Number(from.slice(cut));
}

function find({ properties }: Message, isWanted: (name: string) => boolean): Found | undefined {
  // Most messages have none, and need not be read for it.
  if (properties === undefined || !properties.includes(PREFIX)) return undefined;
  for (const { value, start, end } of propertiesIn(properties, PropertySet.PUBLISH)) {
    if (Array.isArray(value) && isWanted(value[0])) return { start, end, name: value[0], value: value[1] };
  }
  return undefined;
}

function without(message: Message, { start, end }: Found): Message {
  const { properties, ...bare } = message;
  const left = Buffer.concat([properties!.subarray(0, start), properties!.subarray(end)]);
  return left.length > 0 ? { ...bare, properties: left } : bare;
}
