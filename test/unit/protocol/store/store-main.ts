/**
 * Writes to the store in argv[2] until it is killed, argv[3] entries of argv[4] bytes a batch under 100,000 keys, and
 * tells its parent the number of each batch that is durable. The first entry of batch n is n/<n>.
 */
import { randomBytes, randomInt } from "node:crypto";
import { systemClock } from "@topicast/protocol";
import { Store } from "@topicast/protocol/store";

const [directory, entries, size] = [process.argv[2]!, Number(process.argv[3]), Number(process.argv[4])];
const store = await Store.open({ directory, clock: systemClock, log: console });
for (let n = 0; ; n++) {
  store.put(`n/${n}`, Buffer.from(String(n)));
  for (let i = 1; i < entries; i++) store.put(`k/${randomInt(100_000)}`, randomBytes(size));
  await store.durable();
  process.send!(n);
}
