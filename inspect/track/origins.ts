import { createHash } from "node:crypto";
import { Recent } from "../recent.js";

/** Messages whose origin is remembered; beyond it the one published longest ago is forgotten. */
const MAX_ORIGINS = 65_536;
const LITERAL_PAYLOAD = 128;

/** Which PUBLISH, or whose will, last had this host, topic and payload. */
export class Origins<T> {
  private readonly origins = new Recent<string, T>(MAX_ORIGINS);

  remember(host: string, topic: string, payload: Buffer, origin: T): void {
    this.origins.set(keyOf(host, topic, payload), origin);
  }

  find(host: string, topic: string, payload: Buffer): T | undefined {
    return this.origins.get(keyOf(host, topic, payload));
  }
}

function keyOf(host: string, topic: string, payload: Buffer): string {
  const content =
    payload.length <= LITERAL_PAYLOAD
      ? payload.toString("latin1", 0, payload.length)
      : createHash("sha256").update(payload).digest("base64");
  return `${host}\0${topic}\0${content}`;
}
