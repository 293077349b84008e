import { bodyStart } from "@topicast/protocol";
import { decodeMqtt } from "../decode/mqtt.js";
import { Type, type Version } from "../decode/mqtt-types.js";

/** What a packet says of the version of a connection whose CONNECT nobody saw. 3.1 and 3.1.1 look alike: that is 4. */
export interface VersionHint {
  readonly version: Version;
  /** Nothing else can be true, if the packet is a good one. */
  readonly isCertain: boolean;
}

const OLD = { version: 4, isCertain: true } as const;
const NEW = { version: 5, isCertain: true } as const;

export function versionHint(bytes: Buffer, length: number): VersionHint | undefined {
  if (bytes.length < length) return undefined;
  const body = length - bodyStart(bytes);
  switch (bytes[0]! >> 4) {
    case Type.CONNACK:
    case Type.UNSUBACK:
      return body === 2 ? OLD : NEW;
    case Type.SUBACK:
      // MQTT 5 has at least one byte of properties in front of at least one code.
      return body === 3 ? OLD : undefined;
    case Type.PUBACK:
    case Type.PUBREC:
    case Type.PUBREL:
    case Type.PUBCOMP:
      return body > 2 ? NEW : undefined;
    case Type.DISCONNECT:
      return body > 0 ? NEW : undefined;
    case Type.AUTH:
      return NEW;
    case Type.SUBSCRIBE:
    case Type.UNSUBSCRIBE:
      return byReading(bytes, length);
    case Type.PUBLISH:
      return byProperties(bytes, length);
    default:
      return undefined;
  }
}

function byReading(bytes: Buffer, length: number): VersionHint | undefined {
  const [old, five] = [4, 5].map((v) => decodeMqtt(bytes, length, v as Version).problems.length === 0);
  if (old === five) return undefined;
  return old ? OLD : NEW;
}

function byProperties(bytes: Buffer, length: number): VersionHint | undefined {
  const five = decodeMqtt(bytes, length, 5);
  if (five.isUnreadable) return OLD;
  if (five.properties !== undefined) return NEW;
  // No properties, or a payload that begins with a zero byte, which is rarer.
  return { version: 5, isCertain: false };
}
