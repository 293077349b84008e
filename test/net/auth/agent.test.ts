/** A real agent, mosquitto's password tool and clients, and the packets that they do not show. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { connectAsync, type IClientOptions, type MqttClient } from "mqtt";
import type { Child } from "topicast/testbed/child";
import { ROOT, Run } from "topicast/testbed/run";
import { eventually } from "topicast/testbed/testbed";
import { freePort } from "../../unit/ports.js";

const TOPICAST = [process.execPath, `${ROOT}/scripts/bin/topicast.js`];
const NOT_AUTHORIZED = 0x87;
/** PUBACK: success, or nobody has subscribed. */
const ACKNOWLEDGED = /^(0|16)$/;

describe("an agent with users and rules", () => {
  const run = new Run();
  const folder = mkdtempSync(join(tmpdir(), "topicast-auth-"));
  const users = join(folder, "users");
  const rules = join(folder, "rules");
  let port: number;
  let rest: number;
  let agent: Child;

  before(async () => {
    writeFileSync(users, "");
    for (const name of ["alice", "bob", "carol"]) await setPassword(name, `${name}'s`);
    await setPassword("old", "old's", "-H", "sha512");
    writeFileSync(
      rules,
      "user alice\ntopic a/#\ntopic deny a/safe\nuser bob\ntopic write a/#\npattern read to/%u/%c\n",
    );
    port = await freePort();
    rest = await freePort();
    agent = start("agent", ...socketAgent(port), "--rest", `127.0.0.1:${rest}`);
    await agent.waitFor(/\bready\b/, 15_000);
  });

  after(async () => {
    await run.stopAll();
    rmSync(folder, { recursive: true });
  });

  function socketAgent(at: number): string[] {
    return [
      ...["--transport", "socket", "--address", "127.0.0.1", "-t", String(at)],
      ...["--password-file", users, "--acl-file", rules],
    ];
  }

  function start(...args: string[]): Child {
    return run.start({ name: `topicast ${args[0]}`, command: [...TOPICAST, ...args] });
  }

  function setPassword(name: string, password: string, ...flags: string[]): Promise<string> {
    return run.output(["mosquitto_passwd", ...flags, "-b", users, name, password]);
  }

  function publish(version: string, topic: string, ...as: string[]) {
    return run.exec([
      "mosquitto_pub",
      "-p",
      String(port),
      "-V",
      version,
      "-q",
      "1",
      "-t",
      topic,
      "-m",
      "x",
      ...as,
    ]);
  }

  function connect(name: string, options: IClientOptions = {}, at = port): Promise<MqttClient> {
    return connectAsync(`mqtt://127.0.0.1:${at}`, {
      ...{ username: name, password: `${name}'s`, protocolVersion: 5, reconnectPeriod: 0, ...options },
    });
  }

  async function counter(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${rest}/metrics`)).text();
    return Number(new RegExp(`^topicast_auth\\{name="${name}"\\} (\\d+)$`, "m").exec(text)?.[1]);
  }

  /** SIGHUP, until the log says that both files were looked at. */
  async function reload(): Promise<string[]> {
    const seen = agent.lines.length;
    const looked = () => agent.lines.slice(seen).filter((line) => /access file/.test(line));
    agent.signal("SIGHUP");
    await eventually("both files are read again", 5_000, async () => looked().length === 2);
    return looked();
  }

  for (const [version, refusal] of [
    ["mqttv31", /bad user name or password|not authorised/i],
    ["mqttv311", /bad user name or password|not authorised/i],
    ["mqttv5", /bad user ?name or password|not authorized/i],
  ] as const) {
    it(`${version}: lets in who knows a password that mosquitto_passwd has hashed, and nobody else`, async () => {
      for (const [name, password] of [
        ["alice", "alice's"],
        ["old", "old's"],
      ] as const) {
        const { code, stderr } = await publish(version, "a/b", "-u", name, "-P", password);
        assert.equal(code, 0, stderr);
      }
      for (const as of [["-u", "alice", "-P", "bob's"], ["-u", "nobody", "-P", "x"], ["-u", "alice"], []]) {
        const { code, stderr } = await publish(version, "a/b", ...as);
        assert.notEqual(code, 0);
        assert.match(stderr, refusal, as.join(" "));
      }
    });
  }

  it("refuses as mosquitto does: 0x87, and 5 before MQTT 5", async () => {
    const codeOf = (options: IClientOptions) =>
      connect("alice", options).then(
        () => 0,
        (error) => error.code,
      );
    assert.equal(await codeOf({ password: "wrong" }), 0x87);
    assert.equal(await codeOf({ protocolVersion: 4, password: "wrong" }), 5);
    const anonymous = { protocolVersion: 5, reconnectPeriod: 0 } as const;
    const refused = (options: IClientOptions) =>
      connectAsync(`mqtt://127.0.0.1:${port}`, options).then(
        () => 0,
        (error) => error.code,
      );
    assert.equal(await refused(anonymous), NOT_AUTHORIZED);
    assert.equal(await refused({ ...anonymous, protocolVersion: 4 }), 5);
  });

  it("acknowledges a denied PUBLISH with 0x87 in MQTT 5, as if nothing were in 3.1.1, and delivers it to nobody", async () => {
    const alice = await connect("alice");
    const bob = await connect("bob");
    const bob4 = await connect("bob", { protocolVersion: 4 });
    const got: string[] = [];
    alice.on("message", (topic) => got.push(topic));
    await alice.subscribeAsync("#", { qos: 1 });
    for (const qos of [1, 2] as const) {
      const denied = await bob.publishAsync("b/denied", "x", { qos }).then(
        () => 0,
        (error) => error.code,
      );
      assert.equal(denied, NOT_AUTHORIZED);
      await bob4.publishAsync("b/denied", "x", { qos });
    }
    await bob4.publishAsync("a/safe", "x", { qos: 1 });
    await bob.publishAsync("a/open", "x", { qos: 1 });
    await eventually("the message that alice may have", 5_000, async () => got.length > 0);
    assert.deepEqual(got, ["a/open"], "# brings what she may read, and nothing more");
    for (const client of [alice, bob, bob4]) await client.endAsync();
  });

  it("grants a SUBSCRIBE from which nothing could come as mosquitto does, and refuses it filter by filter where told to", async () => {
    const granted = (version: 4 | 5, at: number) =>
      new Promise<unknown>((resolve, reject) => {
        connect("alice", { protocolVersion: version, clientId: "c1" }, at).then((client) => {
          client.on("packetreceive", (packet) => {
            if (packet.cmd !== "suback") return;
            client.end(true);
            resolve(packet.granted);
          });
          client.subscribe(
            ["a/#", "b/#", "a/safe", "+/alice/+", "to/alice/c1", "$SYS/#"],
            { qos: 1 },
            () => {},
          );
        }, reject);
      });
    for (const version of [4, 5] as const) assert.deepEqual(await granted(version, port), [1, 1, 1, 1, 1, 1]);
    const strict = await freePort();
    const other = start("agent", ...socketAgent(strict), "--refuse-unreadable");
    await other.waitFor(/\bready\b/, 15_000);
    for (const version of [4, 5] as const)
      assert.deepEqual(await granted(version, strict), [1, 0x80, 0x80, 1, 1, 0x80]);
    other.signal("SIGTERM");
  });

  it("keeps a will that its client may not publish from being published", async () => {
    const will = { topic: "b/will", payload: Buffer.from("x"), qos: 1 as const, retain: false };
    const code = await connect("bob", { will }).then(
      () => 0,
      (error) => error.code,
    );
    assert.equal(code, NOT_AUTHORIZED);
  });

  it("takes changed files over on SIGHUP, at once and without dropping anybody but whose line has gone or changed", async () => {
    const [alice, bob, carol] = [await connect("alice"), await connect("bob"), await connect("carol")];
    const gone: string[] = [];
    for (const [name, client] of Object.entries({ alice, bob, carol })) {
      client.on("disconnect", (packet) => gone.push(`${name} ${packet.reasonCode}`));
    }
    const got: string[] = [];
    alice.on("message", (topic) => got.push(topic));
    await alice.subscribeAsync("#", { qos: 1 });
    await alice.publishAsync("a/1", "x", { qos: 1 });
    await run.output(["mosquitto_passwd", "-D", users, "carol"]);
    await setPassword("bob", "new");
    writeFileSync(rules, "user alice\ntopic b/#\n");
    await reload();
    await eventually("bob and carol are told", 5_000, async () => gone.length === 2);
    assert.deepEqual(gone.sort(), [`bob ${NOT_AUTHORIZED}`, `carol ${NOT_AUTHORIZED}`]);
    const denied = await alice.publishAsync("a/2", "x", { qos: 1 }).then(
      () => 0,
      (error) => error.code,
    );
    assert.equal(denied, NOT_AUTHORIZED);
    await alice.publishAsync("b/2", "x", { qos: 1 });
    await eventually("what is allowed now", 5_000, async () => got.includes("b/2"));
    assert.deepEqual(got, ["a/1", "b/2"], "the subscription has stayed, the rules are the new ones");
    await (await connect("bob", { password: "new" })).endAsync();
    await alice.endAsync();
  });

  it("keeps what it has where a file cannot be used, says so in one line, and ends nothing", async () => {
    const alice = await connect("alice");
    writeFileSync(users, "alice:secret\n");
    writeFileSync(rules, "topic a#\n");
    const lines = await reload();
    const reasons = lines.map((line) => (JSON.parse(line) as { reason: string }).reason);
    assert.match(reasons[0]!, /users:1: the password is in plain text: mosquitto_passwd -U /);
    assert.match(reasons[1]!, /rules:1: topic "a#": the filter holds # that is not the whole last level$/);
    assert.ok(!agent.lines.some((line) => line.includes("secret")));
    await alice.publishAsync("b/3", "x", { qos: 1 });
    await alice.endAsync();
    await (await connect("alice")).endAsync();
  });

  it("bounds a storm of logins, tells those beyond it to come again, and serves the others meanwhile", async () => {
    const alice = await connect("alice");
    const before = [await counter("logins_wrong"), await counter("logins_busy")] as const;
    const storm = Array.from({ length: 1_500 }, () =>
      connect("alice", { password: "wrong" }).then(
        () => 0,
        (error) => error.code as number,
      ),
    );
    const at = performance.now();
    await alice.publishAsync("b/4", "x", { qos: 1 });
    const served = performance.now() - at;
    const codes = await Promise.all(storm);
    const wrong = codes.filter((code) => code === 0x87).length;
    const busy = codes.filter((code) => code === 0x89).length;
    assert.equal(wrong + busy, 1_500, `${new Set(codes)}`);
    assert.deepEqual(
      [await counter("logins_wrong"), await counter("logins_busy")],
      [before[0] + wrong, before[1] + busy],
    );
    assert.ok(served < 3_000, `${served} ms`);
    await alice.endAsync();
  });

  it("does not start with a file that cannot be used, and says which line", async () => {
    const { code, stderr } = await run.exec([...TOPICAST, "agent", ...socketAgent(await freePort())]);
    assert.notEqual(code, 0);
    assert.match(stderr, /^topicast: .*users:1: the password is in plain text: .*\n$/);
  });
});

describe("users and rules at the forwarder", () => {
  it("reach an agent, again after SIGHUP, and stay when the forwarder is dead", async () => {
    const run = new Run();
    const folder = mkdtempSync(join(tmpdir(), "topicast-auth-"));
    const users = join(folder, "users");
    const rules = join(folder, "rules");
    try {
      writeFileSync(users, "");
      await run.output(["mosquitto_passwd", "-b", users, "alice", "secret"]);
      writeFileSync(rules, "user alice\ntopic a/#\n");
      const [listen, rest, port, udp] = [
        await freePort(),
        await freePort(),
        await freePort(),
        await freePort(),
      ];
      const forwarder = run.start({
        name: "forwarder",
        command: [
          ...[...TOPICAST, "controller", "--listen", `127.0.0.1:${listen}`, "--rest", `127.0.0.1:${rest}`],
          ...["--password-file", users, "--acl-file", rules],
        ],
      });
      await forwarder.waitFor(/\bready\b/, 15_000);
      const agent = run.start({
        name: "agent",
        command: [
          ...[...TOPICAST, "agent", "--transport", "socket", "--address", "127.0.0.1", "--id", "e1"],
          ...["-t", String(port), "-U", String(udp), "-F", `127.0.0.1:${listen}`],
        ],
      });
      const taken = () =>
        agent.lines.filter((line) => line.includes("rules of the forwarder taken over")).length;
      await eventually("the agent has them", 15_000, async () => taken() === 1);
      const publish = async (topic: string, password: string) => {
        const as = ["-u", "alice", "-P", password, "-V", "mqttv5", "-q", "1"];
        const { stdout, stderr } = await run.exec([
          ...["mosquitto_pub", "-d", "-h", "127.0.0.1", "-p", String(port), "-t", topic, "-m", "x", ...as],
        ]);
        return (
          /PUBACK \(Mid: 1, RC:(\d+)\)/.exec(stdout)?.[1] ?? /CONNACK \((\d+)\)/.exec(stdout)?.[1] ?? stderr
        );
      };
      assert.match(await publish("a/1", "secret"), ACKNOWLEDGED);
      assert.equal(await publish("b/1", "secret"), "135");
      assert.equal(await publish("a/1", "wrong"), "135");
      writeFileSync(rules, "user alice\ntopic b/#\n");
      forwarder.signal("SIGHUP");
      await eventually("the agent has the new ones", 5_000, async () => taken() === 2);
      assert.equal(await publish("a/1", "secret"), "135");
      writeFileSync(rules, "nonsense\n");
      forwarder.signal("SIGHUP");
      await forwarder.waitFor(/rules:1: .*begins no rule/, 5_000);
      const client = await connectAsync(`mqtt://127.0.0.1:${port}`, {
        ...{ username: "alice", password: "secret", protocolVersion: 5, reconnectPeriod: 0 },
      });
      const got: string[] = [];
      client.on("message", (topic) => got.push(topic));
      await client.subscribeAsync("#");
      forwarder.signal("SIGKILL");
      await forwarder.exited;
      await agent.waitFor(/no answer from the forwarder|registration has ended/, 20_000);
      client.publish("a/1", "x");
      client.publish("b/1", "x");
      await eventually("what is allowed", 5_000, async () => got.length > 0);
      assert.deepEqual(got, ["b/1"]);
      client.end(true);
      assert.equal(await publish("a/1", "secret"), "135");
      assert.equal(await publish("b/1", "wrong"), "135");
      assert.ok(![...agent.lines, ...forwarder.lines].some((line) => /secret|\$7\$/.test(line)));
    } finally {
      await run.stopAll();
      rmSync(folder, { recursive: true });
    }
  });
});
