import type { Entries } from "@topicast/agent/mqtt/durable/journal.js";
import type { SimNetwork } from "./sim.js";

/** Each write takes so long. */
const WRITE_MS = 2;

/** What a process has written and its successor finds. */
export class EntriesDisk {
  private readonly written = new Map<string, Buffer>();
  private life = 0;

  constructor(private readonly network: SimNetwork) {}

  /** The process that has it has died: it writes nothing any more. */
  close(): void {
    this.life += 1;
  }

  /** For a process that starts now. */
  open(): Entries {
    this.life += 1;
    const { life, written, network } = this;
    let pending = new Map<string, Buffer | undefined>();
    let last: Promise<void> = Promise.resolve();
    const write = (batch: ReadonlyMap<string, Buffer | undefined>) =>
      new Promise<void>((resolve) => {
        network.clock.setTimer(WRITE_MS, () => {
          if (this.life !== life) return;
          for (const [key, value] of batch) {
            if (value === undefined) written.delete(key);
            else written.set(key, value);
          }
          resolve();
        });
      });
    return {
      put: (key, value) => void pending.set(key, Buffer.from(value)),
      delete: (key) => void pending.set(key, undefined),
      durable: () => {
        if (pending.size > 0) {
          last = write(pending);
          pending = new Map();
        }
        return last;
      },
      async *entries(prefix) {
        yield* [...written].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1));
      },
    };
  }
}
