import { createHmac, randomBytes } from "node:crypto";

/** Ticks of RFC 9293 section 3.4.1's clock: one every 4 microseconds. */
const TICKS_PER_MS = 250;

/** Chooses the initial sequence number (signed 32-bit) for the connection with this key at `now` milliseconds. */
export type IsnGenerator = (key: string, now: number) => number;

/**
 * RFC 6528: a clock plus a keyed hash of both ends, so that one client's numbers tell nothing of another's, and a
 * new incarnation of a connection begins above the old one.
 */
export function createIsnGenerator(secret: Buffer = randomBytes(32)): IsnGenerator {
  return (key, now) => {
    const hash = createHmac("sha256", secret).update(key, "latin1").digest();
    // The clock wraps every 4.77 hours; the remainder keeps it exact for any uptime.
    return (hash.readInt32BE(0) + (Math.floor(now * TICKS_PER_MS) % 2 ** 32)) | 0;
  };
}
