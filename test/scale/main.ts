/** 100,000 idle connections in one stack, or as many as the argument says: what each costs, and how fast they come. */
import { openIdle, type Scale } from "./idle.js";

const count = Number(process.argv[2] ?? 100_000);
if (!Number.isInteger(count) || count < 1 || count > 10_000_000) {
  console.error("usage: npm run scale -- [CONNECTIONS]   1 to 10,000,000, default 100,000");
  process.exit(2);
}
const scales: Record<string, Scale> = {
  connection: { count },
  "connection with its stream": { count, streams: true },
  "connection opened by a SYN cookie": {
    count,
    config: { maxHalfOpen: 0 },
  },
};
for (const [what, scale] of Object.entries(scales)) {
  const { bytesEach, handshakesPerSecond } = openIdle(scale);
  const rate = Math.round(handshakesPerSecond).toLocaleString("en");
  console.log(
    `idle ${what}: ${Math.round(bytesEach)} bytes with ${count.toLocaleString("en")} open, ${rate} handshakes/s`,
  );
}
