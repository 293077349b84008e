import type { Message } from "@topicast/protocol";
import mqtt, { type Packet } from "mqtt-packet";

// Otherwise mqtt-packet makes 65,536 two-byte buffers at its first packet (6 MB); measured, they make nothing faster.
mqtt.writeToStream.cacheNumbers = false;

const SLAB_BYTES = 65_536;
/** Packets from this size on have a buffer to themselves: `Outbox` holds on to them without copying. */
export const SOLO_BYTES = 16_384;

/**
 * Encodes packets one behind the other into shared slabs. Consecutive packets are neighbours in memory, so that a
 * queue that takes several of them in order can hand them on as one piece without copying.
 */
class Encoder {
  private slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  private start = 0;
  private at = 0;

  encode(packet: Packet, atLeast: number, options: object | undefined): Buffer {
    if (atLeast >= SOLO_BYTES) return mqtt.generate(packet, options);
    this.start = this.at;
    this.reserve(atLeast);
    try {
      mqtt.writeToStream(packet, this as unknown as NodeJS.WritableStream, options);
    } catch (error) {
      this.at = this.start;
      throw error;
    }
    return this.slab.subarray(this.start, this.at);
  }

  /** For mqtt-packet, which takes this object for a stream. */
  write(part: Buffer | string): boolean {
    if (typeof part === "string") {
      // At most three bytes for a UTF-16 unit: no need to count before there is room for the most.
      this.reserve(part.length * 3);
      this.at += this.slab.write(part, this.at);
    } else if (part.length < 16) {
      // Header bytes come in ones and twos, for which a call of copy() costs more than the loop.
      this.reserve(part.length);
      for (let i = 0; i < part.length; i++) this.slab[this.at++] = part[i]!;
    } else {
      this.reserve(part.length);
      this.at += part.copy(this.slab, this.at);
    }
    return true;
  }

  /** For mqtt-packet, which reports a packet that it cannot encode this way. */
  destroy(error: Error): void {
    throw error;
  }

  private reserve(bytes: number): void {
    if (this.at + bytes <= this.slab.length) return;
    const begun = this.slab.subarray(this.start, this.at);
    this.slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, begun.length + bytes));
    begun.copy(this.slab);
    this.start = 0;
    this.at = begun.length;
  }
}

/** Messages and control packets have slabs of their own: an acknowledgement does not part two neighbours. */
const messages = new Encoder();
const control = new Encoder();

/** A control packet other than PUBLISH, in the form that 3.1 and 3.1.1 share. */
export function encode(packet: Packet): Buffer {
  return control.encode(packet, 0, undefined);
}

/** A PUBLISH at QoS 0 with RETAIN 0, as live subscribers get it, in the form that 3.1 and 3.1.1 share. */
export function encodeLive(message: Message): Buffer {
  const { topic, payload } = message;
  const size = 7 + Buffer.byteLength(topic) + payload.length;
  return messages.encode(
    { cmd: "publish", topic, payload, qos: 0, dup: false, retain: false },
    size,
    undefined,
  );
}

/** CONNACK with a reason code in the form of MQTT 5, for a client whose version is not served (MQTT5-3.1.2-2). */
export function encodeConnack5(reasonCode: number): Buffer {
  return mqtt.generate({ cmd: "connack", reasonCode, sessionPresent: false }, { protocolVersion: 5 });
}
