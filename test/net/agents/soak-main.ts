/**
 * Long runs over the raw transport with Linux' TCP at the other end, as root: soak-main.js [MEGABYTES [ROUNDS]]. So many
 * megabytes (1,000) each way at once on a clean link, then so many rounds (20) of 200 clients that vanish. Ends with 1 when bytes
 * differ or anything is left behind.
 */
import assert from "node:assert/strict";
import { crowdRound } from "./crowd.js";
import { Namespaces } from "./namespaces.js";
import { transfer } from "./transfer.js";

const [megabytes = 1_000, rounds = 20] = process.argv.slice(2).map(Number);
/** Seconds instead of minutes. */
const PATIENCE = {
  keepAliveIdle: 1_000,
  keepAliveInterval: 500,
  keepAliveProbes: 2,
  userTimeout: 2_000,
  timeWait: 500,
};
/** In bytes for each client; a connection that stayed would cost 2,000 at least. */
const ALLOWED_GROWTH = 300;
const CLIENTS = 200;
/** Rounds until all code is compiled. */
const WARM_UP = 4;

const net = new Namespaces();
try {
  const service = await net.serve(JSON.stringify(PATIENCE));
  const { sent, received, bytes, seconds } = await transfer(net, megabytes * 1_000_000);
  assert.equal(bytes, megabytes * 1_000_000);
  assert.equal(received, sent);
  const { retransmitted, capture_shed } = await service.counters();
  const speed = `${(megabytes / seconds).toFixed(0)} MB/s each way`;
  console.log(
    `${megabytes} MB each way, byte-exact: ${speed}, ${retransmitted} sent again, ${capture_shed} frames shed`,
  );
  for (let round = 0; round < WARM_UP; round++) await crowdRound(net, service, CLIENTS);
  const first = (await service.counters()).heap_bytes!;
  for (let round = 0; round < rounds; round++) await crowdRound(net, service, CLIENTS);
  const growth = ((await service.counters()).heap_bytes! - first) / (rounds * CLIENTS);
  console.log(`${rounds * CLIENTS} clients vanished: the heap grew by ${growth.toFixed(0)} bytes for each`);
  assert(growth < ALLOWED_GROWTH, `more than ${ALLOWED_GROWTH} bytes`);
  await service.stop();
} finally {
  await net.close();
}
