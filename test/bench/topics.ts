/** FilterTrie and TopicTree from a thousand to a million entries: time per operation and heap per entry. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { FilterTrie, TopicTree } from "@topicast/protocol";

export const name = "topics";

const LOOKUPS = 200_000;

export function run(): void {
  for (const entries of [1_000, 10_000, 100_000, 1_000_000]) {
    const row = [`  ${entries.toLocaleString("en").padStart(9)} entries:`];
    row.push(filters(entries), topics(entries));
    console.log(row.join(" "));
  }
}

/** Subscriptions of two clients to each machine: one exact, one to all its values. */
function filters(entries: number): string {
  const before = heap();
  const trie = new FilterTrie<{ client: number }>({ cacheWeight: 0 });
  const add = nanoseconds(entries, (i) => trie.add(filterOf(i), { client: i }));
  const each = (heap() - before) / entries;
  let found = 0;
  const match = nanoseconds(LOOKUPS, (i) => {
    found += trie.match(`site/${i % 100}/machine/${i % (entries / 2)}/temp`).length;
  });
  if (found === 0) throw new Error("nothing matched");
  return `filters: add ${add}, match ${match}, ${Math.round(each)} bytes each;`;
}

function filterOf(i: number): string {
  const machine = i >> 1;
  return i % 2 === 0 ? `site/${machine % 100}/machine/${machine}/temp` : `site/+/machine/${machine}/#`;
}

/** Retained values of one topic per machine; a filter that leads to ten of them, and one to a single one. */
function topics(entries: number): string {
  const before = heap();
  const tree = new TopicTree<{ value: number }>();
  const set = nanoseconds(entries, (i) =>
    tree.set(`site/${i % 100}/line/${Math.floor(i / 1_000)}/machine/${i}`, { value: i }),
  );
  const each = (heap() - before) / entries;
  let found = 0;
  const matching = nanoseconds(LOOKUPS / 10, (i) => {
    const at = i % entries;
    tree.matching(`site/${at % 100}/line/${Math.floor(at / 1_000)}/machine/+`, () => {
      found += 1;
    });
  });
  if (found === 0) throw new Error("nothing matched");
  return `topics: set ${set}, matching ten ${matching}, ${Math.round(each)} bytes each`;
}

function nanoseconds(times: number, fn: (i: number) => unknown): string {
  const start = performance.now();
  for (let i = 0; i < times; i++) fn(i);
  return `${Math.round(((performance.now() - start) / times) * 1e6)} ns`;
}

/** Heap in use after a full collection. */
function heap(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}
