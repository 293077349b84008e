import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { systemClock, UserError } from "@topicast/protocol";
import { Store } from "@topicast/protocol/store";
import fc from "../../../property.js";

let parent: string;
let directory: string;
let errors: string[];

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), "topicast-store-"));
  directory = join(parent, "s");
  errors = [];
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const open = () =>
  Store.open({ directory, clock: systemClock, log: { error: (message) => errors.push(message) } });

async function contents(store: Store, prefix = ""): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for await (const [key, value] of store.entries(prefix)) all[key] = value.toString();
  return all;
}

/** What a store holds after `change`, when it is opened again. */
async function reopened(change: (store: Store) => void): Promise<Record<string, string>> {
  const store = await open();
  change(store);
  await store.close();
  const again = await open();
  const all = await contents(again);
  await again.close();
  return all;
}

/** The files of the store whose names match, largest first. */
function files(pattern: RegExp): string[] {
  const size = (file: string) => statSync(file).size;
  return readdirSync(directory)
    .filter((name) => pattern.test(name))
    .map((name) => join(directory, name))
    .sort((a, b) => size(b) - size(a));
}

/** Writes 40 batches with one entry each. */
async function fill(): Promise<void> {
  const store = await open();
  for (let i = 0; i < 40; i++) {
    store.put(`k/${i}`, randomBytes(300));
    await store.durable();
  }
  await store.close();
}

async function expectSetAside(): Promise<void> {
  const store = await open();
  assert.deepEqual(Object.keys(await contents(store)), []);
  assert.equal(store.counters.set_aside, 1);
  assert.deepEqual(readdirSync(parent).sort(), ["s", "s.damaged-1"]);
  assert.equal(errors.length, 1);
  assert.match(errors[0]!, /^the store .*\/s is damaged \(.+\): put aside as .*\/s\.damaged-1, begun anew$/);
  store.put("new", Buffer.from("1"));
  await store.close();
}

/** Runs store-main.ts until it has told of `batches` batches; returns the last that it told of. */
async function writeUntilKilled([entries, size]: [number, number], batches: number): Promise<number> {
  const main = join(import.meta.dirname, "store-main.js");
  const child = fork(main, [directory, String(entries), String(size)]);
  let told = -1;
  child.on("message", (n: number) => {
    told = n;
    if (n >= batches) child.kill("SIGKILL");
  });
  await new Promise((resolve) => child.once("exit", resolve));
  return told;
}

describe("store", () => {
  it("keeps what was put and forgets what was deleted", async () => {
    const all = await reopened((store) => {
      store.put("a", Buffer.from("1"));
      store.put("b", Buffer.from("2"));
      store.put("b", Buffer.from("3"));
      store.put("c", Buffer.alloc(0));
      store.delete("a");
      store.delete("never");
    });
    assert.deepEqual(all, { b: "3", c: "" });
  });

  it("is a map that survives being opened again, whatever is done to it", async () => {
    const change = fc.record({
      key: fc.string({ unit: fc.constantFrom("x", "/", "é", "😀"), maxLength: 3 }),
      value: fc.option(fc.string()),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(change)), async (turns) => {
        rmSync(directory, { recursive: true, force: true });
        const model = new Map<string, string>();
        const store = await open();
        for (const turn of turns) {
          for (const { key, value } of turn) {
            if (value === null) {
              model.delete(key);
              store.delete(key);
            } else {
              model.set(key, value);
              store.put(key, Buffer.from(value));
            }
          }
          await store.durable();
        }
        await store.close();
        const again = await open();
        const all = await contents(again);
        await again.close();
        assert.deepEqual(all, Object.fromEntries(model));
      }),
      { numRuns: 30 },
    );
    assert.deepEqual(errors, []);
  });

  it("gives the entries of a prefix alone", async () => {
    const store = await open();
    for (const key of ["a", "a/1", "a/2", "a0", "b/1"]) store.put(key, Buffer.from(key));
    await store.durable();
    assert.deepEqual(Object.keys(await contents(store, "a/")), ["a/1", "a/2"]);
    await store.close();
  });

  it("writes the changes of one turn in one batch, and a key that changed twice once", async () => {
    const store = await open();
    await store.durable();
    const before = { ...store.counters };
    for (let i = 0; i < 100; i++) store.put(`k${i % 10}`, Buffer.from(String(i)));
    assert.ok(store.pendingBytes > 0);
    await store.durable();
    assert.equal(store.counters.batches - before.batches, 1);
    assert.equal(store.counters.changes - before.changes, 10);
    assert.equal(store.pendingBytes, 0);
    await store.close();
  });

  it("has everything on disk that durable told of when the process is killed", async () => {
    const told = await writeUntilKilled([1, 0], 500);
    const store = await open();
    const all = await contents(store, "n/");
    for (let i = 0; i <= told; i++) assert.equal(all[`n/${i}`], String(i));
    assert.deepEqual(errors, []);
    await store.close();
  });

  it("is not taken for damaged when the process is killed while LevelDB writes tables", async () => {
    // 200 entries of 500 bytes a batch: a table every 40 batches, and several generations of them.
    for (const batches of [150, 190, 60, 75, 90]) {
      const told = await writeUntilKilled([200, 500], batches);
      const store = await open();
      assert.deepEqual(errors, []);
      assert.equal((await contents(store, `n/${told}`))[`n/${told}`], String(told));
      await store.close();
    }
  });

  it("refuses a directory that another store has open", async () => {
    const store = await open();
    await assert.rejects(
      open(),
      (error) => error instanceof UserError && /in use by another process/.test(error.message),
    );
    await store.close();
  });

  it("refuses a directory with somebody's files", async () => {
    writeFileSync(join(parent, "notes.txt"), "mine");
    directory = parent;
    await assert.rejects(open(), (error) => error instanceof UserError && /notes\.txt/.test(error.message));
  });

  it("refuses a directory that cannot be made", async () => {
    writeFileSync(join(parent, "file"), "");
    directory = join(parent, "file", "s");
    await assert.rejects(open(), (error) => error instanceof UserError && error.message.includes(directory));
  });

  it("takes a last batch that was not written to its end for one that never was", async () => {
    await fill();
    const log = files(/\.log$/)[0]!;
    const whole = readFileSync(log);
    for (const cut of [1, 8, 200, 300]) {
      writeFileSync(log, whole.subarray(0, whole.length - cut));
      const store = await open();
      assert.equal(Object.keys(await contents(store)).length, 39, `cut by ${cut}`);
      await store.close();
      rmSync(directory, { recursive: true });
      await fill();
      writeFileSync(files(/\.log$/)[0]!, whole);
    }
    assert.deepEqual(errors, []);
  });

  it("keeps entries larger than a block of the log", async () => {
    const all = await reopened((store) => {
      for (let i = 0; i < 20; i++) store.put(`k/${i}`, Buffer.from(String(i).repeat(i * 5_000)));
    });
    for (let i = 0; i < 20; i++) assert.equal(all[`k/${i}`], String(i).repeat(i * 5_000));
    assert.deepEqual(errors, []);
  });

  for (const [what, pattern] of [
    ["log", /\.log$/],
    ["manifest", /^MANIFEST/],
    ["pointer to the manifest", /^CURRENT$/],
  ] as const) {
    for (const at of [0.02, 0.5, 0.9]) {
      it(`sets a store aside whose ${what} is damaged at ${at * 100} %`, async () => {
        await fill();
        const file = files(pattern)[0]!;
        const bytes = readFileSync(file);
        bytes[Math.floor(bytes.length * at)]! ^= 0x55;
        writeFileSync(file, bytes);
        await expectSetAside();
      });
    }
  }

  it("sets a store aside whose tables are damaged, wherever", async () => {
    await fill();
    // Opening moves the log's entries into a table.
    const before = await open();
    const written = await contents(before);
    await before.close();
    let found = 0;
    const table = files(/\.ldb$/)[0]!;
    const sound = readFileSync(table);
    for (let at = 7; at < sound.length - 48; at += Math.floor(sound.length / 12)) {
      const bytes = Buffer.from(sound);
      bytes[at]! ^= 0x55;
      writeFileSync(table, bytes);
      const store = await open();
      const read = await contents(store);
      await store.close();
      if (store.counters.set_aside === 0) {
        // A byte that changes nothing that is read, such as LevelDB's own checksum of a block.
        assert.deepEqual(read, written, `byte ${at} of ${sound.length}`);
        writeFileSync(table, sound);
        continue;
      }
      found += 1;
      rmSync(directory, { recursive: true });
      const aside = join(parent, "s.damaged-1");
      writeFileSync(join(aside, table.split("/").at(-1)!), sound);
      renameSync(aside, directory);
    }
    assert.ok(found >= 8, `${found} found`);
  });

  it("sets a store aside that lost a table", async () => {
    await fill();
    await (await open()).close();
    rmSync(files(/\.ldb$/)[0]!);
    await expectSetAside();
  });
});
