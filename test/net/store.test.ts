import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { systemClock } from "@topicast/protocol";
import { Store } from "@topicast/protocol/store";

/** A disk of 2 MB. */
let disk: string;
/** The system clock's timers do not keep the process running. */
let running: NodeJS.Timeout;

before(() => {
  running = setInterval(() => {}, 1_000);
  disk = mkdtempSync(join(tmpdir(), "topicast-disk-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "topicast-test", disk]);
});
after(() => {
  clearInterval(running);
  execFileSync("umount", [disk]);
  rmSync(disk, { recursive: true });
});

it("a full disk holds up whoever waits for the store, and nothing is lost when there is room again", async () => {
  const errors: string[] = [];
  const open = () =>
    Store.open({
      directory: join(disk, "s"),
      clock: systemClock,
      log: { error: (message) => errors.push(message) },
    });
  const store = await open();
  const ballast = join(disk, "ballast");
  writeFileSync(ballast, randomBytes(1_500_000));
  const put = new Map<string, Buffer>();
  let durable = false;
  for (let i = 0; i < 8; i++) {
    const value = randomBytes(100_000);
    put.set(`k/${i}`, value);
    store.put(`k/${i}`, value);
    durable = await Promise.race([store.durable().then(() => true), later(500).then(() => false)]);
    if (!durable) break;
  }
  assert.equal(durable, false, "800 kB went into 500 kB");
  assert.ok(store.counters.write_errors > 0);
  assert.match(
    errors[0]!,
    /^cannot write to the store .*\/s \(.*No space left.*\): trying again each second$/,
  );
  rmSync(ballast);
  await store.durable();
  await store.close();

  const again = await open();
  assert.equal(again.counters.set_aside, 0);
  const read = new Map<string, Buffer>();
  for await (const [key, value] of again.entries("k/")) read.set(key, value);
  assert.deepEqual(read, put);
  await again.close();
});

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
