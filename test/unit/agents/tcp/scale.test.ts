import { describe, it } from "node:test";
import { openIdle, type Scale } from "../../../scale/idle.js";

describe("TCP stack with very many idle connections", () => {
  const scales: Record<string, Scale> = {
    "holds 100,000 at 3 KiB each, without a timer, and gives all back": { count: 100_000 },
    "holds 20,000 with their streams": { count: 20_000, streams: true },
    "holds 20,000 that SYN cookies opened": {
      count: 20_000,
      config: { maxHalfOpen: 0 },
    },
  };
  for (const [what, scale] of Object.entries(scales)) {
    it(what, (test) => {
      const { bytesEach, handshakesPerSecond } = openIdle(scale);
      test.diagnostic(`${Math.round(bytesEach)} bytes each, ${Math.round(handshakesPerSecond)} handshakes/s`);
    });
  }
});
