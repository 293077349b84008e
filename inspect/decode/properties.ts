import { type FieldReader, malformed, PropertyId } from "@topicast/protocol";
import type { Properties } from "./mqtt-types.js";

/**
 * MQTT 5 properties of either side's packets. (The agent's own reader knows those alone that a client may send, and
 * refuses the others.)
 */

type Kind = "byte" | "uint16" | "uint32" | "variable" | "text" | "binary" | "pair";

const P = PropertyId;
const KINDS = new Map<number, Kind>([
  ...[
    P.PAYLOAD_FORMAT_INDICATOR,
    P.REQUEST_PROBLEM_INFORMATION,
    P.REQUEST_RESPONSE_INFORMATION,
    P.MAXIMUM_QOS,
    P.RETAIN_AVAILABLE,
    P.WILDCARD_SUBSCRIPTION_AVAILABLE,
    P.SUBSCRIPTION_IDENTIFIER_AVAILABLE,
    P.SHARED_SUBSCRIPTION_AVAILABLE,
  ].map((id) => [id, "byte"] as const),
  ...[P.SERVER_KEEP_ALIVE, P.RECEIVE_MAXIMUM, P.TOPIC_ALIAS_MAXIMUM, P.TOPIC_ALIAS].map(
    (id) => [id, "uint16"] as const,
  ),
  ...[P.MESSAGE_EXPIRY_INTERVAL, P.SESSION_EXPIRY_INTERVAL, P.WILL_DELAY_INTERVAL, P.MAXIMUM_PACKET_SIZE].map(
    (id) => [id, "uint32"] as const,
  ),
  [P.SUBSCRIPTION_IDENTIFIER, "variable"],
  [P.CORRELATION_DATA, "binary"],
  [P.AUTHENTICATION_DATA, "binary"],
  [P.USER_PROPERTY, "pair"],
  ...[
    P.CONTENT_TYPE,
    P.RESPONSE_TOPIC,
    P.ASSIGNED_CLIENT_IDENTIFIER,
    P.AUTHENTICATION_METHOD,
    P.RESPONSE_INFORMATION,
    P.SERVER_REFERENCE,
    P.REASON_STRING,
  ].map((id) => [id, "text"] as const),
]);

const NAMES = new Map<number, string>(Object.entries(PropertyId).map(([key, id]) => [id, key.toLowerCase()]));

/**
 * Reads a section of properties, its length included.
 * @throws PacketError where it cannot be read
 */
export function readProperties(fields: FieldReader): Properties | undefined {
  const length = fields.variable("property length");
  if (length === 0) return undefined;
  const end = fields.at + length;
  if (end > fields.end) throw malformed("properties run past the end");
  const properties: Properties = {};
  while (fields.at < end) {
    const id = fields.variable("property identifier");
    const kind = KINDS.get(id);
    if (kind === undefined) throw malformed(`unknown property ${id}`);
    const name = NAMES.get(id)!;
    const value = readValue(fields, kind, name);
    if (fields.at > end) throw malformed(`${name} runs past the properties`);
    add(properties, id, name, value);
  }
  return properties;
}

function add(
  properties: Properties,
  id: number,
  name: string,
  value: number | string | [string, string],
): void {
  if (id === P.USER_PROPERTY || id === P.SUBSCRIPTION_IDENTIFIER) {
    properties[name] ??= [];
    (properties[name] as unknown[]).push(value);
    return;
  }
  if (Object.hasOwn(properties, name)) throw malformed(`${name} stands twice`);
  properties[name] = value as number | string;
}

function readValue(fields: FieldReader, kind: Kind, name: string): number | string | [string, string] {
  switch (kind) {
    case "byte":
      return fields.byte(name);
    case "uint16":
      return fields.uint16(name);
    case "uint32":
      return fields.uint32(name);
    case "variable":
      return fields.variable(name);
    case "text":
      return fields.text(name);
    case "binary":
      return fields.binary(name).toString("hex");
    case "pair":
      return [fields.text(name), fields.text(name)];
  }
}
