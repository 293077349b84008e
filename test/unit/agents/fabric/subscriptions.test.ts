import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RegistrationState } from "@topicast/agent/fabric/registration.js";
import { Subscriptions } from "@topicast/agent/fabric/subscriptions.js";
import { filterContains, PacketReader, SimClock } from "@topicast/protocol";
import fc from "../../../property.js";
import { filters } from "../../protocol/topics/model.js";

/** A forwarder as far as filters go: it takes the packets of one channel in order and answers when it is asked to. */
class Told {
  registered = true;
  state: RegistrationState = "registered";
  readonly filters = new Set<string>();
  readonly log: string[] = [];
  private readonly unanswered: number[] = [];
  /** What clients want now; a filter that is being taken back may contain others. */
  readonly wanted = new Set<string>();
  /** What was told though it is contained, or was lost though its barrier stood. */
  readonly problems: string[] = [];
  private readonly reader = new PacketReader();
  private pending: Array<(taken: boolean) => void> = [];

  send(bytes: Buffer): Promise<boolean> {
    for (const packet of this.reader.read(bytes) ?? []) {
      if (packet.cmd === "subscribe") {
        for (const { topic } of packet.subscriptions) {
          for (const other of this.filters) {
            const contains = other !== topic && this.wanted.has(other) && filterContains(other, topic);
            if (contains) this.problems.push(`${topic} is contained in ${other}`);
          }
          this.filters.add(topic);
          this.log.push(`+ ${topic}`);
        }
        this.unanswered.push(packet.messageId!);
      } else if (packet.cmd === "unsubscribe") {
        for (const topic of packet.unsubscriptions) {
          this.filters.delete(topic);
          this.log.push(`- ${topic}`);
        }
      }
      for (const filter of this.safe) if (!this.holds(filter)) this.problems.push(`${filter} is lost`);
    }
    return new Promise((resolve) => this.pending.push(resolve));
  }

  /** Filters whose barrier stands: from now on the forwarder must always know one that contains them. */
  readonly safe = new Set<string>();

  holds(filter: string): boolean {
    return [...this.filters].some((f) => filterContains(f, filter));
  }

  take(taken = true): void {
    for (const resolve of this.pending.splice(0)) resolve(taken);
  }

  answer(subscriptions: Subscriptions): void {
    for (const id of this.unanswered.splice(0)) subscriptions.onSuback(id);
  }

  lose(subscriptions: Subscriptions): void {
    this.registered = false;
    this.state = "connecting";
    this.filters.clear();
    this.safe.clear();
    this.unanswered.length = 0;
    this.take(false);
    subscriptions.onLost();
  }

  async begin(subscriptions: Subscriptions): Promise<void> {
    this.registered = true;
    this.state = "registered";
    const told = subscriptions.tellAll(false);
    for (let done = false; !done; ) {
      this.take();
      await flush();
      done = await Promise.race([told, Promise.resolve(false)]);
    }
  }
}

async function flush(): Promise<void> {
  for (let i = 0; i < 8; i++) await Promise.resolve();
}

function made() {
  const told = new Told();
  const clock = new SimClock();
  const subscriptions = new Subscriptions(clock, told);
  const subscribe = (filter: string) => {
    told.wanted.add(filter);
    return subscriptions.subscribe(filter);
  };
  const unsubscribe = (filter: string) => {
    told.wanted.delete(filter);
    told.safe.delete(filter);
    subscriptions.unsubscribe(filter);
  };
  return { told, subscriptions, subscribe, unsubscribe };
}

describe("subscriptions", () => {
  it("tell nothing of what a told filter contains, and let its barrier stand with that one's", async () => {
    const { told, subscriptions, subscribe, unsubscribe } = made();
    let stands = 0;
    void subscribe("a/#").then(() => (stands += 1));
    void subscribe("a/b").then(() => (stands += 1));
    await flush();
    assert.deepEqual([told.log, stands, subscriptions.contained], [["+ a/#"], 0, 1]);
    told.answer(subscriptions);
    await flush();
    assert.equal(stands, 2);
    await subscribe("a/c/d");
    unsubscribe("a/b");
    assert.deepEqual([told.log, subscriptions.size], [["+ a/#"], 2]);
  });

  it("tell a filter once, however often it is subscribed to; all wait for its one answer", async () => {
    const { told, subscriptions, subscribe } = made();
    let stands = 0;
    for (const name of ["a/b", "#", "a/b"]) void subscribe(name).then(() => (stands += 1));
    await flush();
    assert.deepEqual([told.log, stands], [["+ a/b", "+ #"], 0]);
    told.answer(subscriptions);
    await subscribe("a/b");
    assert.deepEqual([told.log, stands, told.problems], [["+ a/b", "+ #"], 3, []]);
  });

  it("tell what a filter has contained before it is taken back", async () => {
    const { told, subscriptions, subscribe, unsubscribe } = made();
    for (const name of ["a/#", "a/b/#", "a/b/c"]) void subscribe(name);
    told.take();
    told.answer(subscriptions);
    unsubscribe("a/#");
    let stands = false;
    void subscribe("a/b/d").then(() => {
      stands = true;
    });
    await flush();
    assert.deepEqual(told.log, ["+ a/#", "+ a/b/#", "- a/#"]);
    assert.equal(stands, true, "all publishers have known of a/b/# since a/# was answered");
  });

  it("agree with a naive model, whatever comes, goes, is answered late or lost", async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ op: fc.constant("subscribe" as const), filter: filters }) },
      { weight: 4, arbitrary: fc.record({ op: fc.constant("unsubscribe" as const), at: fc.nat() }) },
      { weight: 3, arbitrary: fc.record({ op: fc.constant("take" as const) }) },
      { weight: 3, arbitrary: fc.record({ op: fc.constant("answer" as const) }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constant("lose" as const) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 50 }), async (steps) => {
        const { told, subscriptions, subscribe, unsubscribe } = made();
        const { wanted } = told;
        let waiting = 0;
        for (const step of steps) {
          if (step.op === "subscribe" && !step.filter.startsWith("$")) {
            const { filter } = step;
            waiting += 1;
            void subscribe(filter).then(() => {
              waiting -= 1;
              if (!wanted.has(filter)) return;
              assert.ok(told.holds(filter), `${filter}: a barrier stands without a filter`);
              told.safe.add(filter);
            });
          } else if (step.op === "unsubscribe") {
            const filter = [...wanted][step.at % (wanted.size || 1)];
            if (filter === undefined) continue;
            unsubscribe(filter);
          } else if (step.op === "take") told.take();
          else if (step.op === "answer") told.answer(subscriptions);
          else if (step.op === "lose") {
            told.lose(subscriptions);
            await flush();
            await told.begin(subscriptions);
          }
          await flush();
        }
        for (let i = 0; i < 4; i++) {
          told.take();
          told.answer(subscriptions);
          await flush();
        }
        assert.deepEqual(told.problems, []);
        assert.equal(waiting, 0, "every barrier stands in the end");
        for (const filter of wanted) assert.ok(told.holds(filter), `${filter} is not told`);
        for (const filter of told.filters) assert.ok(wanted.has(filter), `${filter} is told and not wanted`);
      }),
      { numRuns: 300 },
    );
  });
});

describe("a SUBACK that waits for retained messages", () => {
  function waiting() {
    const clock = new SimClock();
    const told = new Told();
    const subscriptions = new Subscriptions(clock, told);
    let isDone = false;
    void subscriptions.subscribe("#").then(() => {
      isDone = true;
    });
    const pass = async (seconds: number, isTold: boolean) => {
      for (let i = 0; i < seconds; i++) {
        clock.advance(1_000);
        if (isTold) subscriptions.onRetained();
      }
      await Promise.resolve();
      return isDone;
    };
    return { told, subscriptions, pass };
  }

  it("waits for as long as they come, and then for the answer", async () => {
    const { told, subscriptions, pass } = waiting();
    assert.equal(await pass(60, true), false);
    told.answer(subscriptions);
    assert.equal(await pass(0, false), true);
    assert.equal(subscriptions.stats.subscribe_timeouts, 0);
  });

  it("goes on 8 s after the last one, or after two minutes", async () => {
    const silent = waiting();
    await silent.pass(20, true);
    assert.equal(await silent.pass(7, false), false);
    assert.equal(await silent.pass(2, false), true);
    const never = waiting();
    assert.equal(await never.pass(115, true), false);
    assert.equal(await never.pass(15, true), true);
    assert.equal(never.subscriptions.stats.subscribe_timeouts, 1);
  });
});
