import type { IPublishPacket } from "mqtt-packet";

/**
 * One application message on its way between clients and the fabric. The payload's bytes are shared, never copied
 * or changed, by everyone who handles the message.
 */
export interface Message {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** MQTT 5 PUBLISH properties to forward unchanged (MQTT-3.3.2-17 and others); undefined where there are none. */
  readonly properties?: NonNullable<IPublishPacket["properties"]>;
}
