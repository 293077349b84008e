/** The firewall's verdicts reach the switch: who guesses passwords or floods is shut out, and nobody else notices. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import type { Child } from "topicast/testbed/child";
import { CREDENTIALS, eventually, Testbed } from "topicast/testbed/testbed";
import { ROOT, sleep } from "./support.js";

/** Hosts of one switch: the agent, the attacker and somebody who must not notice. */
const [AGENT, ATTACKER, NEIGHBOUR] = ["h1", "h2", "h3"];
const [AGENT_ADDRESS, ATTACKER_ADDRESS] = ["192.168.1.101", "192.168.1.102"];
const SECONDS = 8;

const RULES = `
content: off
guessing: { address: { limit: 10/m, lock: 1s }, user: off }
quarantine: { for: ${SECONDS}s }
rates:
  - { id: flood.messages, of: messages, per: client, limit: 2000/s, burst: 5000, answer: quarantine }
  - { id: flood.connections, of: connections, per: address, limit: 50/s, burst: 100, answer: quarantine }
`;

interface Entry {
  readonly source: string;
  readonly rule: string;
  readonly by: string;
  readonly until: string;
  readonly at: { readonly dpid: string; readonly port: number } | null;
  readonly wanted: number;
  readonly seen: number;
  readonly packets: number;
}

describe("quarantine", () => {
  const directory = mkdtempSync(join(tmpdir(), "topicast-quarantine-"));
  let testbed: Testbed;
  let neighbour: Child;

  before(async () => {
    const rules = join(directory, "rules.yaml");
    writeFileSync(rules, RULES);
    testbed = await Testbed.start({ fanouts: [2, 3] });
    await testbed.startForwarder();
    const flags = [
      "--firewall",
      "block",
      "--firewall-rules",
      rules,
      "--firewall-log",
      join(directory, "events"),
    ];
    await testbed.startAgent(AGENT!, "e1", ...flags);
    await testbed.startAgent("h4", "e4", ...flags);
    neighbour = client(NEIGHBOUR!, { act: "latency", id: "neighbour", everyMs: 5 });
  });
  after(async () => {
    await testbed?.stop();
    rmSync(directory, { recursive: true });
  });

  function client(host: string, wish: object): Child {
    const argument = JSON.stringify({ host: AGENT_ADDRESS, ...CREDENTIALS, ...wish });
    const command = [process.execPath, `${ROOT}/test/e2e/firewall_client.mjs`, argument];
    return testbed.run.start({ name: `client in ${host}`, command: testbed.network.inHost(host, command) });
  }

  async function quarantined(): Promise<Entry | undefined> {
    const { quarantine } = (await testbed.get("/quarantine")) as { quarantine: Entry[] };
    return quarantine.find(({ source }) => source === ATTACKER_ADDRESS);
  }

  /** What a client has printed. */
  function said<T>({ lines }: Child): (T & { at: number })[] {
    return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  }

  /** Round-trip times of the neighbour's messages between two moments, in milliseconds, sorted. */
  function times(from: number, to: number): number[] {
    const all = said<{ times?: number[] }>(neighbour).filter(({ at }) => at > from && at <= to + 1_000);
    return all.flatMap(({ times = [] }) => times).sort((a, b) => a - b);
  }

  const percentile = (sorted: readonly number[], p: number) =>
    sorted[Math.ceil((p / 100) * sorted.length) - 1]!;

  /** Runs something and tells what it did to the neighbour. */
  async function besideNeighbour(t: TestContext, what: string, run: () => Promise<void>): Promise<void> {
    await sleep(1_500);
    const start = Date.now();
    await sleep(4_000);
    const begin = Date.now();
    await run();
    const end = Date.now();
    await sleep(1_500);
    const [quiet, beside] = [times(start, begin), times(begin, end)];
    const [before, during] = [percentile(quiet, 99), percentile(beside, 99)];
    t.diagnostic(
      `${what}: the neighbour's p50 ${percentile(quiet, 50)} to ${percentile(beside, 50)} ms, p99 ${before} to ${during} ms (${(during / before).toFixed(1)} times), ${quiet.length} and ${beside.length} messages`,
    );
    assert.ok(!neighbour.lines.some((line) => line.includes('"closed"')), "the neighbour is still connected");
    // Two cores do everything here: what is asserted is far above what is seen.
    assert.ok(during < Math.max(10 * before, 100), `p99 ${before} ms, ${during} ms`);
  }

  async function waitForEnd(): Promise<void> {
    await eventually("the quarantine ends", 2_000 * SECONDS, async () => (await quarantined()) === undefined);
  }

  it("shuts out a client that guesses, within a second, at its own port, until it ends", async (t) => {
    await besideNeighbour(t, "guessing", async () => {
      const guesser = client(ATTACKER!, { act: "guess" });
      let entry: Entry | undefined;
      await eventually("the attacker is in quarantine", 20_000, async () => {
        entry = await quarantined();
        return entry?.seen === 1;
      });
      const shutOutAt = Date.now();
      const guesses = said<{ guess: number; answer: number | string }>(guesser);
      const last = guesses.filter(({ answer }) => answer === 5).at(-1)!;
      t.diagnostic(
        `wrong passwords: ${last.guess}; dropped by the switch ${shutOutAt - last.at} ms after the last one`,
      );
      assert.ok(last.guess <= 12, `${last.guess} guesses`);
      assert.ok(shutOutAt - last.at < 1_000, `${shutOutAt - last.at} ms`);
      assert.deepEqual([entry?.rule, entry?.by, entry?.wanted], ["guessing.address", "e1", 1]);

      // The switch's own word for it.
      const drops = async () => {
        const flows = await testbed.switches.flows("s2");
        return flows.filter(({ match, actions }) => actions === "drop" && match.includes(ATTACKER_ADDRESS));
      };
      const [first] = await drops();
      assert.ok(first !== undefined);
      await sleep(2_000);
      const [later] = await drops();
      assert.ok(later!.packets > first!.packets, `${first!.packets}, then ${later!.packets} packets`);
      assert.ok(
        said<{ answer: unknown }>(guesser)
          .slice(-3)
          .every(({ answer }) => answer === "silence"),
      );
      await guesser.stop();

      const until = Date.parse((await quarantined())!.until);
      await waitForEnd();
      const late = Date.now() - until;
      assert.ok(late > -200 && late < 1_000, `ended ${late} ms after its time`);
      await eventually("the switch drops nothing", 3_000, async () => (await drops()).length === 0);
    });
    const back = client(ATTACKER!, { act: "login", id: "back" });
    await back.exited;
    assert.deepEqual(
      said<{ answer: unknown }>(back).map(({ answer }) => answer),
      [0],
    );
  });

  it("is ended by hand, and begun by hand", async () => {
    const at = `${testbed.forwarderUrl}/quarantine`;
    const body = JSON.stringify({ source: ATTACKER_ADDRESS, seconds: 60, reason: "by hand" });
    const made = await fetch(at, { method: "POST", body, headers: { "content-type": "application/json" } });
    assert.equal(made.status, 201);
    await eventually("the switch drops it", 3_000, async () => (await quarantined())?.seen === 1);
    for (const host of [AGENT_ADDRESS, "192.168.1.104"]) {
      const refused = client(ATTACKER!, { act: "login", id: "refused", host });
      await refused.exited;
      assert.deepEqual(
        said<{ answer: unknown }>(refused).map(({ answer }) => answer),
        ["silence"],
        host,
      );
    }
    assert.equal((await fetch(`${at}/${ATTACKER_ADDRESS}`, { method: "DELETE" })).status, 204);
    await eventually("it may connect again", 5_000, async () => {
      const again = client(ATTACKER!, { act: "login", id: "again" });
      await again.exited;
      return said<{ answer: unknown }>(again)[0]?.answer === 0;
    });
    for (const source of [AGENT_ADDRESS, "192.168.1.100"]) {
      const other = JSON.stringify({ source });
      const answer = await fetch(at, {
        method: "POST",
        body: other,
        headers: { "content-type": "application/json" },
      });
      assert.equal(answer.status, 409, source);
    }
  });

  for (const [act, rule] of [
    ["connect", "flood.connections"],
    ["publish", "flood.messages"],
  ] as const) {
    it(`keeps a flood of ${act.toUpperCase()}s from everybody else`, async (t) => {
      await besideNeighbour(t, `a flood of ${act.toUpperCase()}s`, async () => {
        const flood = client(ATTACKER!, { act, id: "flood" });
        await eventually(
          "the attacker is in quarantine",
          20_000,
          async () => (await quarantined())?.seen === 1,
        );
        assert.equal((await quarantined())?.rule, rule);
        await sleep(4_000);
        await flood.stop();
      });
      await waitForEnd();
    });
  }
});
