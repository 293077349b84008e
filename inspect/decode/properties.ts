import { type FieldReader, malformed, PropertyId, readPropertyValue } from "@topicast/protocol";
import type { Properties } from "./mqtt-types.js";

/**
 * MQTT 5 properties of either side's packets. (The agent's own reader knows those alone that a client may send, and
 * refuses the others.)
 */

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
    const name = NAMES.get(id);
    if (name === undefined) throw malformed(`unknown property ${id}`);
    const value = readPropertyValue(fields, id, name);
    if (fields.at > end) throw malformed(`${name} runs past the properties`);
    add(properties, id, name, Buffer.isBuffer(value) ? value.toString("hex") : value);
  }
  return properties;
}

function add(
  properties: Properties,
  id: number,
  name: string,
  value: number | string | readonly [string, string],
): void {
  if (id === PropertyId.USER_PROPERTY || id === PropertyId.SUBSCRIPTION_IDENTIFIER) {
    properties[name] ??= [];
    (properties[name] as unknown[]).push(value);
    return;
  }
  if (Object.hasOwn(properties, name)) throw malformed(`${name} stands twice`);
  properties[name] = value as number | string;
}
