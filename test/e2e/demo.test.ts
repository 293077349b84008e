import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { inspectFiles } from "@topicast/inspect";
import type { Child } from "topicast/testbed/child";
import { Run } from "topicast/testbed/run";
import { eventually } from "topicast/testbed/testbed";
import { assertNothingLeft, isInUse, ROOT, sleep, testbedProcesses } from "./support.js";

interface Result {
  readonly ok: boolean;
  readonly published: number;
  readonly delivered: Record<string, number>;
  readonly links: { from: string; to: string; datagrams: number; least: number }[];
}

describe("scripts/demo", () => {
  const run = new Run();
  const folder = mkdtempSync(join(tmpdir(), "topicast-demo-"));
  const json = join(folder, "result.json");
  before(async () => {
    // The set-up that all of them share.
    await run.output([`${ROOT}/scripts/setup`], 600_000);
  });
  afterEach(() => run.exec([`${ROOT}/scripts/cleanup`], 60_000));
  after(async () => {
    await run.stopAll();
    rmSync(folder, { recursive: true });
  });

  /** In a session of its own, as a terminal would have it. */
  function demo(...args: string[]): Child {
    return run.start({ name: "demo", command: ["env", "TOPICAST_RUN=", `${ROOT}/scripts/demo`, ...args] });
  }

  /** What a terminal does at Ctrl-C: the signal goes to everything in the foreground. */
  function interrupt(child: Child, signal: NodeJS.Signals): void {
    process.kill(-child.pid!, signal);
  }

  function assertGood(child: Child, exit: unknown): void {
    assert.equal(exit, 0, child.lines.join("\n"));
    const result = JSON.parse(readFileSync(json, "utf8")) as Result;
    assert.equal(result.ok, true);
    assert.ok(result.published >= 100);
    assert.deepEqual(result.delivered, { e1: result.published, e5: result.published });
    assert.equal(result.links.length, 15);
    const used = result.links.filter((l) => l.least > 0).map((l) => `${l.from}-${l.to}`);
    assert.deepEqual(used.sort(), ["s1-s2", "s1-s3", "s2-s4", "s2-s5", "s3-s6", "s4-h1", "s5-h3", "s6-h5"]);
    for (const link of result.links) assert.equal(link.datagrams, link.least, `${link.from}-${link.to}`);
    assert.match(child.lines.join("\n"), /"filter": "plant\/\+\/temp"/);
  }

  it("runs the main job, twice in a row, each in seconds", async () => {
    for (let time = 0; time < 2; time++) {
      rmSync(json, { force: true });
      const started = performance.now();
      const child = demo("--json", json);
      assertGood(child, await child.exited);
      assert.ok(performance.now() - started < 60_000, "in seconds");
      await assertNothingLeft(run);
    }
  });

  it("is explained by a capture of its links", async () => {
    const file = join(folder, "demo.pcapng");
    const child = demo("--json", json, "--capture", file);
    assertGood(child, await child.exited);
    assert.match(child.lines.join("\n"), /plant\/7\/temp +20\d +40\d /);
    const { published } = JSON.parse(readFileSync(json, "utf8")) as Result;
    const { database, problems } = await inspectFiles([file]);
    assert.equal(problems, 0);
    const numbered =
      "transport = 'fabric' AND topic = 'plant/7/temp' AND decode(payload, 'replace') NOT LIKE 'first %'";
    // The sources' ports on their way up, the switches' on the way down: each link is named by its upper end.
    assert.deepEqual(
      await database.values(
        `SELECT interface, count(*), count(DISTINCT payload) FROM mqtt JOIN fabric USING (frame)
        WHERE kind = 'DATA' AND ${numbered} GROUP BY 1 ORDER BY 1`,
      ),
      ["s1-eth1", "s1-eth2", "s2-eth2", "s2-eth3", "s3-eth2", "s4-eth2", "s5-eth2", "s6-eth2"].map((name) => [
        name,
        published,
        published,
      ]),
    );
    // Who got what, by which subscription.
    assert.deepEqual(
      await database.values(
        `SELECT server, filter, count(*), bool_and(certain) FROM mqtt_deliveries
        WHERE topic = 'plant/7/temp' AND no IN (SELECT no FROM mqtt WHERE decode(payload, 'replace') NOT LIKE 'first %')
        GROUP BY ALL ORDER BY 1`,
      ),
      ["192.168.1.101", "192.168.1.105"].map((server) => [server, "plant/+/temp", published, true]),
    );
    database.close();
  });

  it("works after a kill -9 of all its processes", async () => {
    const first = demo();
    await first.waitFor(/^\d+\. MQTT clients/, 60_000);
    process.kill(-first.pid!, "SIGKILL");
    for (const { pid, run: owner } of testbedProcesses()) {
      if (owner === run.id || isInUse(owner)) continue;
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // gone with its parent
      }
    }
    await first.exited;
    const second = demo("--json", json);
    assertGood(second, await second.exited);
    await assertNothingLeft(run);
  });

  it("leaves nothing when only its own process is killed", async () => {
    const child = demo();
    await child.waitFor(/^\d+\. The first message/, 60_000);
    process.kill(-child.pid!, "SIGKILL");
    await child.exited;
    await eventually("its children have ended, and the network with them", 15_000, async () => {
      await assertNothingLeft(run);
      return true;
    });
  });

  it("leaves nothing behind Ctrl-C, SIGTERM and a closed terminal, whenever they come", async () => {
    for (const [signal, code, when] of [
      ["SIGINT", 130, 50],
      ["SIGINT", 130, 1500],
      ["SIGINT", 130, /starting Ryu/],
      ["SIGTERM", 143, /building the tree/],
      ["SIGINT", 130, /switches are connected/],
      ["SIGHUP", 129, /^\d+\. MQTT clients/],
      ["SIGINT", 130, /^\d+\. \d+ messages/],
    ] as const) {
      const child = demo();
      if (typeof when === "number") await sleep(when);
      else await child.waitFor(when, 60_000);
      interrupt(child, signal);
      const exit = await child.exited;
      const text = `${signal} at ${when}: exit ${exit}\n${child.lines.join("\n")}`;
      assert.ok(exit === code || exit === signal, text);
      assert.doesNotMatch(text, /at .*\.js:\d+/, "no stack trace");
      await assertNothingLeft(run);
    }
  });

  it("--hold serves Mininet's command line and the REST address until exit", async () => {
    const child = demo("--hold");
    await child.waitFor(/^\d+\. Holding/, 60_000);
    const told = await child.waitFor(/http:\/\/[\d.]+:8081\/topics/, 5000);
    const url = /http:\S+\/topics/.exec(told)![0];
    const topics = (await (await fetch(url)).json()) as { filters: { filter: string }[] };
    assert.ok(topics.filters.some((f) => f.filter === "plant/+/temp"));
    child.write("h1 ping -c 1 -W 2 h8\n");
    await child.waitFor(/1 received/, 15_000);
    const inHost = await run.output([`${ROOT}/scripts/in-host`, "h3", "ip", "-4", "-brief", "address"]);
    assert.match(inHost, /192\.168\.1\.103\/24/);
    child.write("exit\n");
    assert.equal(await child.exited, 0, child.lines.join("\n"));
    await assertNothingLeft(run);
  });

  it("refuses wrong options and tells the right ones", async () => {
    const wrong = await run.exec([`${ROOT}/scripts/demo`, "--nonsense"]);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /--nonsense is not an option/);
    const help = await run.exec([`${ROOT}/scripts/demo`, "--help"]);
    assert.equal(help.code, 0);
    assert.match(help.stdout, /--hold/);
    assert.match(help.stdout, /--json FILE/);
    const nowhere = await run.exec(
      [`${ROOT}/scripts/demo`, "--json", `${folder}/no/such/result.json`],
      60_000,
    );
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /^demo: --json .* cannot be written: .*\n$/);
  });
});
