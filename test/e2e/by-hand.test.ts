import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Child } from "topicast/testbed/child";
import { Run } from "topicast/testbed/run";
import { eventually, getJson } from "topicast/testbed/testbed";
import { assertNothingLeft, ROOT, TOPOLOGY, type TopicsAnswer } from "./support.js";

/** The README's way by hand, command by command, with every default. */
describe("by hand", () => {
  const run = new Run();
  const started: Child[] = [];
  before(() => run.exec([`${ROOT}/scripts/cleanup`], 60_000));
  after(async () => {
    for (const child of started.reverse()) await child.stop(15_000);
    await run.stopAll();
    await run.exec([`${ROOT}/scripts/cleanup`], 60_000);
  });

  function start(...command: string[]): Child {
    const child = run.start({ name: command.join(" "), command: ["env", "TOPICAST_RUN=", ...command] });
    started.push(child);
    return child;
  }

  function inHost(host: string, ...command: string[]): Child {
    return start(`${ROOT}/scripts/in-host`, host, ...command);
  }

  it("Ryu, the tree, forwarder, agents and clients, each started by its own command", async () => {
    const ryu = start(`${ROOT}/ryu/ryu-manager`);
    await ryu.waitFor(/ready: OpenFlow on \S+:6653, REST on \S+:8080/, 30_000);
    const network = start("python3", TOPOLOGY, "-f", "2", "-f", "2", "-f", "2");
    await network.waitFor(/^\*\*\* ready$/, 30_000);

    const forwarder = inHost("fwd", `${ROOT}/scripts/start-controller`);
    const serving = await forwarder.waitFor(/ready/, 15_000);
    assert.match(serving, /agents at 192\.168\.1\.100:1883, REST http:\/\/0\.0\.0\.0:8081/);
    assert.match(serving, /Ryu http:\/\/169\.254\.240\.1:8080/);
    for (const [host, id] of [
      ["h1", "e1"],
      ["h3", "e3"],
    ] as const) {
      const agent = inHost(host, `${ROOT}/scripts/start-agent`);
      const ready = await agent.waitFor(/ready/, 15_000);
      assert.match(
        ready,
        new RegExp(`agent ${id} is ready: MQTT port 1883 on ${host}-eth0, forwarder 192.168.1.100:1883`),
      );
      await agent.waitFor(/registered with the forwarder/, 15_000);
    }

    const at = (host: string) => ["-h", `192.168.1.10${host.slice(1)}`];
    const tell = ["stdbuf", "-oL", "mosquitto_sub", "-d"];
    const subscriber = inHost("h2", ...tell, ...at("h1"), "-t", "plant/+/temp", "-F", "%t %p");
    await subscriber.waitFor(/received SUBACK/, 15_000);
    for (let sent = 1; sent <= 3; sent++) {
      await run.output([
        ...[`${ROOT}/scripts/in-host`, "h4", "mosquitto_pub", ...at("h3")],
        ...["-t", "plant/7/temp", "-m", `21.${sent}`],
      ]);
      await subscriber.waitFor(new RegExp(`^plant/7/temp 21\\.${sent}$`), 5000);
    }

    const rest = "http://169.254.240.2:8081";
    const topics = (await getJson(`${rest}/topics`)) as TopicsAnswer;
    assert.deepEqual(
      topics.filters.map((f) => [f.filter, f.edges]),
      [["plant/+/temp", ["e1"]]],
    );
    assert.deepEqual(
      topics.topics.map((t) => [t.topic, t.edges, t.group]),
      [["plant/7/temp", ["e1"], "239.192.0.1"]],
    );
    // The same from the Mininet command line, as it is typed there.
    network.write(`fwd curl -s ${rest}/topics; echo\n`);
    await network.waitFor(/"filter":"plant\/\+\/temp"/, 10_000);

    // Typing exit ends the network, and everything in its hosts with it.
    network.write("exit\n");
    assert.equal(await network.exited, 0);
    await eventually("forwarder and agents have ended", 5000, () =>
      started.every((child) => child === ryu || child.exit !== undefined),
    );
    assert.equal(await ryu.stop(), 0);
    await assertNothingLeft(run);
  });

  it("tells how a starter is used, and what is missing", async () => {
    const help = await run.output([`${ROOT}/scripts/start-agent`, "--help"]);
    assert.match(help, /192\.168\.1\.100/);
    assert.match(help, /--transport/);
    assert.match(await run.output([`${ROOT}/scripts/start-controller`, "--help"]), /--ryu/);
    const nowhere = await run.exec([`${ROOT}/scripts/in-host`, "h1"]);
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /^in-host: no host h1 is running; start the network first\n$/);
  });
});
