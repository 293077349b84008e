import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { type SocketBroker, socketBroker } from "../unit/agents/mqtt/socket-broker.js";

interface Ended {
  code: number | null;
  out: string;
  err: string;
}

/** Starts a mosquitto client; `ended` resolves with what it printed. */
function start(command: string, args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    err += chunk;
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, out, err }));
  });
  return { child, ended };
}

describe("mosquitto clients over kernel sockets", () => {
  let server: SocketBroker;
  const children: ChildProcess[] = [];

  before(async () => {
    server = await socketBroker({ credentials: { username: "u", password: "p" } });
  });

  after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await server.close();
  });

  function run(command: string, ...args: string[]): Promise<Ended> {
    const { child, ended } = start(command, ["-p", String(server.port), "-u", "u", "-P", "p", ...args]);
    children.push(child);
    return ended;
  }

  /** Starts mosquitto_sub and waits until the broker has its subscriptions. */
  async function sub(...args: string[]): Promise<{ ended: Promise<Ended> }> {
    const before = server.broker.stats().subscriptions!;
    const ended = run("mosquitto_sub", ...args);
    for (let i = 0; server.broker.stats().subscriptions! <= before; i++) {
      assert.ok(i < 500, "mosquitto_sub has not subscribed");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return { ended };
  }

  for (const version of ["mqttv31", "mqttv311"]) {
    for (const qos of ["0", "1", "2"]) {
      it(`${version}, QoS ${qos}: published lines arrive in order`, async () => {
        const topic = `${version}/${qos}`;
        const { ended } = await sub(
          "-V",
          version,
          "-t",
          `${version}/#`,
          "-q",
          qos,
          "-C",
          "3",
          "-W",
          "10",
          "-v",
        );
        for (const line of ["one", "two", "three"]) {
          const done = await run("mosquitto_pub", "-V", version, "-t", topic, "-q", qos, "-m", line);
          assert.equal(done.code, 0, done.err);
        }
        const { code, out, err } = await ended;
        assert.equal(code, 0, err);
        assert.equal(out, ["one", "two", "three"].map((line) => `${topic} ${line}\n`).join(""));
      });
    }
  }

  it("several filters, unsubscribing, and an end by -W", async () => {
    const { ended } = await sub("-t", "a/+", "-t", "b/#", "-U", "c", "-W", "1", "-v");
    await run("mosquitto_pub", "-t", "a/1", "-m", "x");
    await run("mosquitto_pub", "-t", "b", "-n");
    await run("mosquitto_pub", "-t", "c", "-m", "unheard");
    const { code, out } = await ended;
    assert.equal(code, 27, "mosquitto_sub's exit code for its own time-out");
    assert.equal(out, "a/1 x\nb (null)\n");
  });

  it("a wrong password is refused in words", async () => {
    const { code, err } = await run("mosquitto_pub", "-P", "q", "-t", "t", "-m", "x");
    assert.notEqual(code, 0);
    assert.match(err, /bad user name or password|not authorised/i);
  });

  it("MQTT 5 is refused in words", async () => {
    const { code, err } = await run("mosquitto_pub", "-V", "mqttv5", "-t", "t", "-m", "x");
    assert.notEqual(code, 0);
    assert.match(err, /unsupported protocol version/i);
  });

  it("a killed client's will is published", async () => {
    const { ended } = await sub("-t", "will/#", "-C", "1", "-W", "10");
    const before = server.broker.stats().subscriptions!;
    const dying = start("mosquitto_sub", [
      ...["-p", String(server.port), "-u", "u", "-P", "p", "-t", "nothing"],
      ...["--will-topic", "will/k", "--will-payload", "killed", "--will-qos", "1"],
    ]);
    children.push(dying.child);
    for (let i = 0; server.broker.stats().subscriptions! <= before && i < 500; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    dying.child.kill("SIGKILL");
    const { code, out } = await ended;
    assert.equal(code, 0);
    assert.equal(out, "killed\n");
  });

  it("a thousand lines of one publisher at QoS 2 arrive once and in order", async () => {
    const { ended } = await sub("-t", "many", "-C", "1000", "-W", "20");
    const { child, ended: published } = start("sh", [
      "-c",
      `seq 1 1000 | mosquitto_pub -p ${server.port} -u u -P p -t many -q 2 -l`,
    ]);
    children.push(child);
    assert.equal((await published).code, 0);
    const { code, out } = await ended;
    assert.equal(code, 0);
    assert.deepEqual(
      out.trim().split("\n").map(Number),
      Array.from({ length: 1_000 }, (_, i) => i + 1),
    );
  });
});
