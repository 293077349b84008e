/** MQTT control packets as an onlooker wants them: what could be read stays, however wrong the rest is. */

export type Version = 3 | 4 | 5;

export const VERSION_NAMES: Readonly<Record<Version, string>> = { 3: "3.1", 4: "3.1.1", 5: "5" };

/** Control packet types (MQTT 5, table 2-1). */
export const TYPE_NAMES = [
  "reserved",
  "CONNECT",
  "CONNACK",
  "PUBLISH",
  "PUBACK",
  "PUBREC",
  "PUBREL",
  "PUBCOMP",
  "SUBSCRIBE",
  "SUBACK",
  "UNSUBSCRIBE",
  "UNSUBACK",
  "PINGREQ",
  "PINGRESP",
  "DISCONNECT",
  "AUTH",
] as const;

export const Type = {
  CONNECT: 1,
  CONNACK: 2,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  SUBACK: 9,
  UNSUBSCRIBE: 10,
  UNSUBACK: 11,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const;

export interface Will {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: number;
  readonly retain: boolean;
}

export interface ConnectFields {
  protocol: string;
  level: number;
  clean: boolean;
  keepAlive: number;
  clientId: string;
  will: Will | undefined;
  username: string | undefined;
  hasPassword: boolean;
}

export interface FilterOptions {
  readonly filter: string;
  readonly qos: number;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: number;
}

/** MQTT 5 properties by name (see properties.ts); those that may stand twice hold a list. */
export type Properties = Record<string, number | string | (number | string)[] | [string, string][]>;

export interface MqttPacket {
  type: number;
  /** Bytes on the wire, fixed header included. */
  length: number;
  dup: boolean;
  qos: number;
  retain: boolean;
  id: number | undefined;
  topic: string | undefined;
  /** A view of the bytes that were decoded, perhaps not whole: see payloadLength. */
  payload: Buffer | undefined;
  payloadLength: number | undefined;
  properties: Properties | undefined;
  filters: FilterOptions[] | undefined;
  /** Reason or return codes. */
  codes: number[] | undefined;
  sessionPresent: boolean | undefined;
  connect: ConnectFields | undefined;
  /** What breaks the standard. */
  problems: string[];
  /** The bytes do not follow the packet's structure at all (and not only the rules for its values). */
  isUnreadable: boolean;
}
