/** All segment scripts: they run on our stack (drills.test.ts) and on Linux' (test/net/agents/linux). */
import type { Group } from "./cases.js";
import { closing, reset } from "./close.drills.js";
import { openingBoth, reply, resetAnywhere, strays, timers, urgent, windows } from "./corner.drills.js";
import { delayedAck } from "./delayed-ack.drills.js";
import { handshake } from "./handshake.drills.js";
import { keepAlive } from "./keep-alive.drills.js";
import { retransmission } from "./loss.drills.js";
import { pathMtu } from "./path-mtu.drills.js";
import { patience } from "./patience.drills.js";
import { blackHole, lossByTime, tailProbe, unneededRepairs } from "./rack.drills.js";
import { sacksSent, sacksUsed } from "./sack.drills.js";
import { timestamps, timeWait } from "./timestamps.drills.js";
import { dataIn, dataOut } from "./transfer.drills.js";

export const DRILLS: readonly Group[] = [
  handshake,
  dataOut,
  dataIn,
  closing,
  reset,
  retransmission,
  sacksSent,
  sacksUsed,
  lossByTime,
  tailProbe,
  unneededRepairs,
  blackHole,
  pathMtu,
  timestamps,
  timeWait,
  keepAlive,
  delayedAck,
  patience,
  strays,
  openingBoth,
  resetAnywhere,
  windows,
  urgent,
  timers,
  reply,
];
