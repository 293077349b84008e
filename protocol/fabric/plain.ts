import type { Message } from "../message.js";

/** A packet of the plain form: MQTT 3.1.1, as legacy proxies send it over UDP. */
export type PlainPacket =
  | { readonly type: "subscribe" | "unsubscribe"; readonly filters: readonly string[] }
  | { readonly type: "publish"; readonly message: Message }
  | { readonly type: "other" };

const PUBLISH = 3;
const SUBSCRIBE = 8;
const UNSUBSCRIBE = 10;
/** What the Scapy proxy gives its UNSUBSCRIBE by mistake: the type of UNSUBACK. */
const UNSUBSCRIBE_MISTAKEN = 11;

/**
 * The packets of one datagram, or undefined where it is malformed. A zero byte behind the last one is passed over: the
 * Scapy proxy leaves a requested QoS behind its UNSUBSCRIBE. Never throws.
 */
export function readPlain(bytes: Buffer): PlainPacket[] | undefined {
  const packets: PlainPacket[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (at > 0 && at === bytes.length - 1 && bytes[at] === 0) break;
    const length = readLength(bytes, at + 1);
    if (length === undefined || length.end + length.value > bytes.length) return undefined;
    const body = bytes.subarray(length.end, length.end + length.value);
    const packet = readPacket(bytes[at]!, body);
    if (packet === undefined) return undefined;
    packets.push(packet);
    at = length.end + length.value;
  }
  return packets.length === 0 ? undefined : packets;
}

function readPacket(first: number, body: Buffer): PlainPacket | undefined {
  const type = first >> 4;
  if (type === PUBLISH) return readPublish(first, body);
  if (type === SUBSCRIBE) return list("subscribe", readFilters(body, 1));
  if (type === UNSUBSCRIBE) return list("unsubscribe", readFilters(body, 0));
  // A true UNSUBACK has its packet identifier and nothing else (MQTT 3.1.1, section 3.11).
  if (type === UNSUBSCRIBE_MISTAKEN && body.length > 2) return list("unsubscribe", readFilters(body, 0));
  return type === 0 ? undefined : { type: "other" };
}

function list(
  type: "subscribe" | "unsubscribe",
  filters: readonly string[] | undefined,
): PlainPacket | undefined {
  return filters === undefined || filters.length === 0 ? undefined : { type, filters };
}

/** Filters behind the packet identifier, each followed by `extra` bytes. */
function readFilters(body: Buffer, extra: number): string[] | undefined {
  const filters: string[] = [];
  for (let at = 2; at < body.length; ) {
    const text = readText(body, at);
    if (text === undefined || text.end + extra > body.length) return undefined;
    filters.push(text.value);
    at = text.end + extra;
  }
  return filters;
}

/** At QoS 0, whatever the proxy's client asked for: nobody acknowledges on this path. */
function readPublish(first: number, body: Buffer): PlainPacket | undefined {
  const topic = readText(body, 0);
  const qos = (first >> 1) & 3;
  if (topic === undefined || qos === 3) return undefined;
  const at = topic.end + (qos > 0 ? 2 : 0);
  if (at > body.length) return undefined;
  const message = {
    topic: topic.value,
    payload: body.subarray(at),
    qos: 0,
    retain: (first & 1) !== 0,
  } as const;
  return { type: "publish", message };
}

function readText(body: Buffer, at: number): { value: string; end: number } | undefined {
  if (at + 2 > body.length) return undefined;
  const end = at + 2 + body.readUInt16BE(at);
  return end > body.length ? undefined : { value: body.toString("utf8", at + 2, end), end };
}

/** A remaining length (MQTT 3.1.1, section 2.2.3) and where it ends. */
function readLength(bytes: Buffer, from: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[from + i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 128 ** i;
    if (byte < 0x80) return { value, end: from + i + 1 };
  }
  return undefined;
}

/** A PUBLISH of MQTT 3.1.1 at QoS 0, without properties. */
export function encodePlainPublish({ topic, payload, retain }: Message): Buffer {
  const topicBytes = Buffer.byteLength(topic);
  const length: number[] = [];
  let rest = 2 + topicBytes + payload.length;
  do {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>>= 7;
  } while (rest > 0);
  const head = Buffer.allocUnsafe(1 + length.length + 2 + topicBytes);
  head[0] = (PUBLISH << 4) | (retain ? 1 : 0);
  head.set(length, 1);
  head.writeUInt16BE(topicBytes, 1 + length.length);
  head.write(topic, 3 + length.length);
  return Buffer.concat([head, payload]);
}
