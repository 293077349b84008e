import type { Connection } from "../connection.js";

/** DISCONNECT: an end in order, the will is discarded (MQTT-3.14.4-3). */
export function handleDisconnect(connection: Connection): void {
  connection.will = undefined;
  connection.close("disconnect");
}
