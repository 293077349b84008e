/**
 * One application message on its way between clients and the fabric. The payload's bytes are shared, never copied
 * or changed, by everyone who handles the message.
 */
export interface Message {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /**
   * MQTT 5 properties to forward unchanged and in their order (MQTT-3.3.2-17, -18), encoded as they stand in a PUBLISH;
   * absent where there are none.
   */
  readonly properties?: Buffer;
  /** MQTT 5 message expiry interval: seconds that the message has left; absent where it does not expire. */
  readonly messageExpiry?: number;
  /**
   * Which of all messages it is, wherever it goes, as `PUBLISHER-COUNT`: the counts of one publisher and topic only grow.
   * Absent where it need not be told from others like it.
   */
  readonly origin?: string;
  /**
   * Which of the messages with RETAIN it is, the same at its live copy and at the retained one, as `SOURCE-COUNT`: the counts
   * of one source and topic only grow. Absent where it is not known.
   */
  readonly tag?: string;
}
