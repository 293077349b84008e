import { encode } from "../codec/encode.js";
import type { Connection } from "../connection.js";

const PINGRESP = Buffer.from(encode({ cmd: "pingresp" }));

/** PINGREQ is answered with PINGRESP (MQTT-3.12.4-1). */
export function handlePingreq(connection: Connection): void {
  connection.outbox.push(PINGRESP);
}
