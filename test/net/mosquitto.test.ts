import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { oneUser } from "../unit/agents/mqtt/harness.js";
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
    server = await socketBroker({ authority: oneUser("u", "p") });
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

  for (const version of ["mqttv31", "mqttv311", "mqttv5"]) {
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

  for (const version of ["mqttv311", "mqttv5"]) {
    it(`${version}: retained messages come with a subscription, until they are deleted`, async () => {
      const topic = `retained/${version}`;
      const pub = (...args: string[]) => run("mosquitto_pub", "-V", version, "-t", topic, "-r", ...args);
      assert.equal((await pub("-m", "first")).code, 0);
      assert.equal((await pub("-q", "1", "-m", "last")).code, 0);
      const got = await run(
        "mosquitto_sub",
        "-V",
        version,
        "-t",
        `retained/+/#`,
        "-F",
        "%r %t %p",
        "-W",
        "1",
      );
      assert.equal(got.out, `1 ${topic} last\n`);
      assert.equal((await pub("-n")).code, 0);
      const none = await run("mosquitto_sub", "-V", version, "-t", topic, "-W", "1");
      assert.equal(none.out, "");
    });

    it(`${version}: a persistent session keeps what its client misses`, async () => {
      const id = ["-V", version, "-i", `keeper-${version}`, "-c"];
      const expiry = version === "mqttv5" ? ["-x", "60"] : [];
      const sub = ["mosquitto_sub", ...id, ...expiry, "-q", "2", "-t", `kept/${version}/#`] as const;
      assert.equal((await run(...sub, "-W", "1")).code, 27);
      for (const qos of ["0", "1", "2"]) {
        await run("mosquitto_pub", "-V", version, "-t", `kept/${version}/${qos}`, "-q", qos, "-m", `q${qos}`);
      }
      const { out } = await run(...sub, "-W", "2", "-C", "2", "-F", "%q %p");
      assert.equal(out, "1 q1\n2 q2\n");
    });
  }

  it("mqttv5: properties arrive as they were sent", async () => {
    const { ended } = await sub(
      "-V",
      "mqttv5",
      "-t",
      "props",
      "-C",
      "1",
      "-W",
      "5",
      "-F",
      "%A|%C|%D|%R|%P|%p",
    );
    const done = await run(
      "mosquitto_pub",
      ...["-V", "mqttv5", "-t", "props", "-m", "x", "-D", "publish", "content-type", "text/plain"],
      ...["-D", "publish", "response-topic", "answer", "-D", "publish", "correlation-data", "c-1"],
      ...["-D", "publish", "user-property", "b", "1", "-D", "publish", "user-property", "a", "2"],
    );
    assert.equal(done.code, 0, done.err);
    assert.equal((await ended).out, "|text/plain|c-1|answer|b:1 a:2|x\n");
  });

  it("mqttv5: a shared subscription's messages go to one of its members each", async () => {
    const args = ["-V", "mqttv5", "-t", "$share/g/work/#", "-W", "2"];
    const one = await sub(...args);
    const two = await sub(...args);
    for (let i = 0; i < 6; i++) await run("mosquitto_pub", "-V", "mqttv5", "-t", "work/x", "-m", String(i));
    const outs = [(await one.ended).out, (await two.ended).out].map((out) => out.trim().split("\n"));
    assert.deepEqual(
      outs.map((lines) => lines.length),
      [3, 3],
    );
    assert.deepEqual(outs.flat().sort(), ["0", "1", "2", "3", "4", "5"]);
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
