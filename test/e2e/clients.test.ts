/** Programs that people have, at two edges in Mininet: none can tell that it is not one broker. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Child } from "topicast/testbed/child";
import { ROOT } from "topicast/testbed/run";
import { CREDENTIALS, eventually, Testbed } from "topicast/testbed/testbed";

/** Host of each agent; its clients live in the next host. */
const EDGES = { e1: "h1", e2: "h3" } as const;
type EdgeId = keyof typeof EDGES;

interface Outgoing {
  readonly topic: string;
  readonly payload: string;
  readonly qos: 0 | 1 | 2;
  readonly retain?: boolean;
}

/** What a client is to do: publish `messages` and go, or subscribe to `filter` at QoS 2 and stay. */
interface Wish {
  readonly id: string;
  /** 3 for 3.1, 4 for 3.1.1. */
  readonly version: 3 | 4 | 5;
  readonly persistent?: boolean;
  readonly filter?: string;
  readonly messages?: readonly Outgoing[];
  readonly will?: { readonly topic: string; readonly payload: string };
}

/** A client that stays. `got`: `topic qos retain payload` each. */
interface Client {
  readonly child: Child;
  readonly got: () => string[];
}

/** How a family of clients is started; `host` is the edge's address. */
interface Family {
  readonly name: string;
  readonly versions: readonly Wish["version"][];
  command(host: string, wish: Wish): string[];
  readonly subscribed: RegExp;
  /** What it prints when the server sends it away because it is elsewhere; undefined: nothing. */
  readonly takenOver: (version: Wish["version"]) => RegExp | undefined;
  /** Its version 5 says of its will when it is ended by SIGTERM that it is to be published (DISCONNECT 0x04). */
  readonly leavesWithWill: boolean;
}

const FAMILIES: readonly Family[] = [
  {
    name: "mosquitto",
    versions: [3, 4, 5],
    command: mosquitto,
    subscribed: /^Subscribed \(mid/,
    takenOver: (version) => (version === 5 ? /Received DISCONNECT \(142\)/ : undefined),
    leavesWithWill: true,
  },
  {
    name: "MQTT.js",
    versions: [4, 5],
    command: (host, wish) => [process.execPath, `${ROOT}/test/e2e/client_js.mjs`, argument(host, wish)],
    subscribed: /^SUBSCRIBED/,
    takenOver: (version) => (version === 5 ? /^DISCONNECTED 142/ : /^CLOSED/),
    leavesWithWill: false,
  },
  {
    name: "paho",
    versions: [4, 5],
    command: (host, wish) => ["/usr/bin/python3", `${ROOT}/test/e2e/client_paho.py`, argument(host, wish)],
    subscribed: /^SUBSCRIBED/,
    // It reads a reason code only where properties follow it.
    takenOver: () => /^DISCONNECTED/,
    leavesWithWill: false,
  },
];

function argument(host: string, wish: Wish): string {
  return JSON.stringify({ host, ...CREDENTIALS, ...wish });
}

function mosquitto(host: string, wish: Wish): string[] {
  const { id, version, persistent, filter, messages, will } = wish;
  const { username, password } = CREDENTIALS;
  const names = { 3: "mqttv31", 4: "mqttv311", 5: "mqttv5" };
  const flags = ["-h", host, "-u", username, "-P", password, "-i", id, "-V", names[version], "-d"];
  if (persistent) flags.push("-c", ...(version === 5 ? ["-x", "1000"] : []));
  if (will) flags.push("--will-topic", will.topic, "--will-payload", will.payload, "--will-qos", "1");
  if (filter !== undefined) {
    return ["stdbuf", "-oL", "mosquitto_sub", ...flags, "-t", filter, "-q", "2", "-F", "GOT %t %q %r %p"];
  }
  const [message, ...others] = messages!;
  assert.equal(others.length, 0, "mosquitto_pub publishes one");
  const { topic, payload, qos, retain } = message!;
  const content = payload === "" ? ["-n"] : ["-m", payload];
  return ["mosquitto_pub", ...flags, "-t", topic, "-q", String(qos), ...content, ...(retain ? ["-r"] : [])];
}

describe("clients that people have, at two edges", () => {
  let testbed: Testbed;
  before(async () => {
    testbed = await Testbed.start({ fanouts: [2, 2] });
    await testbed.startForwarder();
    await Promise.all(Object.entries(EDGES).map(([id, host]) => testbed.startAgent(host, id)));
  });
  after(() => testbed?.stop());

  function start(at: EdgeId, command: readonly string[]): Child {
    const host = `h${Number(EDGES[at].slice(1)) + 1}`;
    return testbed.run.start({
      name: `${command.find((word) => /mosquitto_|client_/.test(word))} at ${at}`,
      command: testbed.network.inHost(host, [...command]),
    });
  }

  for (const family of FAMILIES) {
    for (const version of family.versions) {
      describe(`${family.name}, ${{ 3: "3.1", 4: "3.1.1", 5: "5" }[version]}`, { concurrency: 2 }, () => {
        const root = `${family.name}${version}`;

        async function stay(at: EdgeId, wish: Omit<Wish, "version">): Promise<Client> {
          const command = family.command(testbed.network.address(EDGES[at]), { version, ...wish });
          const child = start(at, command);
          await child.waitFor(family.subscribed, 10_000);
          const got = () =>
            child.lines.filter((line) => line.startsWith("GOT ")).map((line) => line.slice(4));
          return { child, got };
        }

        async function publish(at: EdgeId, ...messages: Outgoing[]): Promise<void> {
          const host = testbed.network.address(EDGES[at]);
          // mosquitto_pub takes one message, the others as many as there are.
          const batches = family.name === "mosquitto" ? messages.map((message) => [message]) : [messages];
          for (const [i, batch] of batches.entries()) {
            const id = `${root}-pub-${messages[0]!.topic}-${i}`;
            const child = start(at, family.command(host, { id, version, messages: batch }));
            assert.equal(await child.exited, 0, child.lines.join("\n"));
          }
        }

        async function has(client: Client, ...wanted: string[]): Promise<void> {
          await eventually(
            `${client.child.name} has ${wanted}`,
            10_000,
            () => client.got().length >= wanted.length,
          );
          assert.deepEqual(client.got(), wanted);
        }

        it("every QoS from one edge to the other, and both ways", async () => {
          const t = `${root}/qos`;
          const subscribers = await Promise.all([
            stay("e1", { id: `${root}-q1`, filter: `${t}/#` }),
            stay("e2", { id: `${root}-q2`, filter: `${t}/+` }),
          ]);
          for (const at of ["e1", "e2"] as const) {
            await publish(
              at,
              ...([1, 0, 2] as const).map((qos) => ({ topic: `${t}/${qos}`, payload: at, qos })),
            );
          }
          const one = (at: string) => [`${t}/1 1 0 ${at}`, `${t}/0 0 0 ${at}`, `${t}/2 2 0 ${at}`];
          for (const subscriber of subscribers) await has(subscriber, ...one("e1"), ...one("e2"));
          await Promise.all(subscribers.map(({ child }) => child.stop()));
        });

        it("retained at one edge, found at the other, deleted there", async () => {
          const topic = `${root}/kept`;
          await publish("e1", { topic, payload: "still here", qos: 1, retain: true });
          const finder = await stay("e2", { id: `${root}-r2`, filter: topic });
          await has(finder, `${topic} 1 1 still here`);
          await publish("e2", { topic, payload: "", qos: 1, retain: true });
          const late = await stay("e1", { id: `${root}-r1`, filter: `${root}/+` });
          await publish("e2", { topic: `${root}/other`, payload: "live", qos: 1 });
          await has(late, `${root}/other 1 0 live`);
          await Promise.all([finder, late].map(({ child }) => child.stop()));
        });

        it("a will at the other edge when it is killed, none when it goes in order", async () => {
          const topic = `${root}/gone`;
          const watcher = await stay("e2", { id: `${root}-w2`, filter: topic });
          for (const payload of ["in order", "killed"]) {
            const dying = await stay("e1", {
              id: `${root}-w1`,
              filter: `${root}/none`,
              will: { topic, payload },
            });
            dying.child.signal(payload === "killed" ? "SIGKILL" : "SIGTERM");
            await dying.child.exited;
          }
          const wills = family.leavesWithWill && version === 5 ? ["in order", "killed"] : ["killed"];
          await has(watcher, ...wills.map((payload) => `${topic} 1 0 ${payload}`));
          await watcher.child.stop();
        });

        it("a persistent session follows its client over the edges, a clean one does not", async () => {
          const topic = `${root}/follows`;
          const wish = { id: `${root}-p`, filter: topic, persistent: true };
          const first = await stay("e1", wish);
          const second = await stay("e2", wish);
          const takenOver = family.takenOver(version);
          if (takenOver !== undefined) await first.child.waitFor(takenOver, 5_000);
          await first.child.stop();
          await second.child.stop();
          await publish("e1", { topic, payload: "one", qos: 1 }, { topic, payload: "two", qos: 2 });
          const third = await stay("e1", wish);
          await has(third, `${topic} 1 0 one`, `${topic} 2 0 two`);
          await third.child.stop();
          await publish("e2", { topic, payload: "for nobody", qos: 1 });
          const clean = await stay("e2", { id: `${root}-p`, filter: topic });
          await publish("e1", { topic, payload: "three", qos: 1 });
          await has(clean, `${topic} 1 0 three`);
          await clean.child.stop();
        });

        it("members of a shared subscription at both edges: each message to one of them", async () => {
          const topic = `${root}/jobs`;
          const members = await Promise.all(
            (["e1", "e2"] as const).map((at) =>
              stay(at, { id: `${root}-s${at}`, filter: `$share/${root}/${topic}` }),
            ),
          );
          const jobs = ["a", "b", "c", "d"].map((payload) => ({ topic, payload, qos: 1 as const }));
          await publish("e1", ...jobs);
          const all = () => members.flatMap(({ got }) => got());
          await eventually("every job is given", 5_000, () => all().length >= jobs.length);
          assert.deepEqual(
            all().sort(),
            jobs.map(({ payload }) => `${topic} 1 0 ${payload}`),
          );
          await Promise.all(members.map(({ child }) => child.stop()));
        });
      });
    }
  }

  it("mosquitto_sub -W and -C: ends in time without a message, and with what it came for", async () => {
    const { username, password } = CREDENTIALS;
    const wait = async (...flags: string[]) => {
      const host = testbed.network.address(EDGES.e2);
      const child = start("e2", ["mosquitto_sub", "-h", host, "-u", username, "-P", password, ...flags]);
      return { code: await child.exited, lines: child.lines };
    };
    const began = performance.now();
    assert.deepEqual(await wait("-t", "nothing/at/all", "-W", "2"), { code: 27, lines: ["Timed out"] });
    const took = performance.now() - began;
    assert.ok(took > 1_900 && took < 6_000, `${took} ms`);
    // By now every edge has reported its numbers, and been told the sums.
    assert.deepEqual(await wait("-t", "$SYS/network/edges", "-C", "1", "-W", "25"), {
      code: 0,
      lines: ["2"],
    });
    const { lines } = await wait("-t", "$SYS/edges/+/state", "-C", "2", "-W", "25", "-v");
    assert.deepEqual(lines.sort(), ["$SYS/edges/e1/state 1", "$SYS/edges/e2/state 1"]);
  });
});
