import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { connectAsync } from "mqtt";
import { freePort } from "../ports.js";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const bin = join(root, "scripts/bin/topicast.js");
const dir = mkdtempSync(join(tmpdir(), "topicast-cli-"));
const children: ChildProcess[] = [];

after(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(dir, { recursive: true });
});

interface Ended {
  code: number | null;
  out: string;
  err: string;
}

class Process {
  out = "";
  err = "";
  readonly ended: Promise<Ended>;
  private readonly child: ChildProcess;

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    const clean = { ...process.env, TOPICAST_USERNAME: "", TOPICAST_PASSWORD: "" };
    const child = spawn(process.execPath, args, {
      env: { ...clean, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.push(child);
    this.child = child;
    child.stdout.on("data", (chunk) => {
      this.out += chunk;
    });
    child.stderr.on("data", (chunk) => {
      this.err += chunk;
    });
    // One that does not end fails its test by its exit code, null, instead of holding up all others.
    const late = setTimeout(() => child.kill("SIGKILL"), 30_000);
    this.ended = new Promise((resolve) => {
      child.on("close", (code) => {
        clearTimeout(late);
        resolve({ code, out: this.out, err: this.err });
      });
    });
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** Resolves when standard error holds `text`; rejects when the process ends first. */
  async until(text: string): Promise<void> {
    const gone = this.ended.then(({ code, err }) => assert.fail(`ended with ${code}: ${err}`));
    gone.catch(() => {});
    while (!this.err.includes(text))
      await Promise.race([gone, new Promise((resolve) => setTimeout(resolve, 10))]);
  }
}

function topicast(...args: string[]): Process {
  return new Process([bin, ...args]);
}

describe("topicast", () => {
  it("prints its version", async () => {
    const { version } = JSON.parse(readFileSync(join(root, "scripts/package.json"), "utf8")) as {
      version: string;
    };
    assert.deepEqual(await topicast("--version").ended, { code: 0, out: `${version}\n`, err: "" });
  });

  it("explains every flag", async () => {
    const agent = await topicast("agent", "--help").ended;
    assert.equal(agent.code, 0);
    for (const flag of [
      ...["-i, --interface", "-t, --tcpport", "-u, --username", "-p, --password", "-F, --forwarder"],
      ...["-U, --udpport", "--id", "--transport", "--address", "--rest", "--log-level", "--config"],
      ...["--tlsport", "--wsport", "--wssport", "--wspath", "--cert", "--key", "--ca", "--proxy-protocol "],
      ...["--require-client-cert ", "--identity-as-username ", "--intercept", "SIGHUP"],
      ...["TOPICAST_USERNAME", "TOPICAST_PASSWORD", "Examples:"],
    ]) {
      assert.ok(agent.out.includes(flag), flag);
    }
    const controller = await topicast("controller", "-h").ended;
    assert.equal(controller.code, 0);
    for (const flag of [
      "--listen",
      "--ryu",
      "--rest",
      "--group-range",
      "--log-level",
      "--config",
      "Examples:",
    ]) {
      assert.ok(controller.out.includes(flag), flag);
    }
  });

  it("without a command explains itself and fails", async () => {
    const { code, err } = await topicast().ended;
    assert.equal(code, 2);
    assert.match(err, /Usage: topicast/);
  });

  const wrong: [args: string[], line: string][] = [
    [["agnet"], "unknown command 'agnet' (Did you mean agent?)"],
    [["agent", "--tcport", "1"], "unknown option '--tcport' (Did you mean --tcpport?)"],
    [["agent", "-i"], "option '-i, --interface <IFACE>' argument missing"],
    [["agent", "h1-eth0"], "too many arguments for 'agent'. Expected 0 arguments but got 1."],
    [["agent"], "--transport raw needs an interface: give -i IFACE, or --transport socket"],
    [["agent", "-t", "x"], '--tcpport: "x" is not accepted: must be a port number, 1 to 65535, or none'],
    [
      ["agent", "--transport", "socket", "--intercept", "10.0.0.1", "--intercept", "10.0.0.2:1"],
      "--intercept needs --transport raw: the kernel's sockets cannot answer for other machines' addresses",
    ],
    [
      ["agent", "-i", "x", "--intercept", "10.0.0.1", "--intercept", "broker"],
      '--intercept: ["10.0.0.1","broker"] is not accepted: must be the address of a host, such as 192.168.1.250 or fd00::250, with :PORT where it is not 1883 ([fd00::250]:PORT), or a list of up to 16 of these',
    ],
    [["agent", "--config", "none.yaml"], "none.yaml: no such file"],
    [["controller"], "the address for the agents is missing: give --listen ADDRESS[:PORT]"],
    [["controller", "--ryu", "x"], '--ryu: "x" is not accepted: must be a URL such as http://127.0.0.1:8080'],
  ];
  for (const [args, line] of wrong) {
    it(`says in one line what is wrong with: ${args.join(" ")}`, async () => {
      assert.deepEqual(await topicast(...args).ended, { code: 2, out: "", err: `topicast: ${line}\n` });
    });
  }

  it("names the line of the file that is wrong", async () => {
    const file = join(dir, "edge.yaml");
    writeFileSync(file, "transport: socket\ntcpport: 99999\n");
    const { code, err } = await topicast("agent", "--config", file).ended;
    assert.equal(code, 2);
    assert.equal(
      err,
      `topicast: ${file}:2: tcpport: 99999 is not accepted: must be a port number, 1 to 65535, or none\n`,
    );
  });
});

describe("topicast agent", () => {
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    it(`is a broker by itself, and ends in order on ${signal}`, async () => {
      const port = await freePort();
      const file = join(dir, `${signal}.yaml`);
      writeFileSync(file, `transport: socket\ntcpport: ${port}\nlog-level: silent\n`);
      const env = { TOPICAST_USERNAME: "u", TOPICAST_PASSWORD: "p" };
      const agent = new Process([bin, "agent", "--config", file, "--id", "e1"], env);
      await agent.until("ready");
      assert.equal(
        agent.err,
        `topicast: agent e1 is ready: MQTT port ${port} on the kernel's sockets, by itself\n`,
      );
      const url = `mqtt://127.0.0.1:${port}`;
      const client = await connectAsync(url, { username: "u", password: "p", reconnectPeriod: 0 });
      const closed = new Promise<void>((resolve) => client.on("close", resolve));
      const got = new Promise<string>((resolve) =>
        client.on("message", (_topic, payload) => resolve(`${payload}`)),
      );
      await client.subscribeAsync("t");
      await client.publishAsync("t", "hello");
      assert.equal(await got, "hello");
      agent.signal(signal);
      await closed;
      const { code, out } = await agent.ended;
      assert.equal(code, 0);
      assert.equal(out, "");
      client.end(true);
    });
  }

  it("says in one line that its port is in use", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const { code, err } = await topicast(
      "agent",
      "--transport",
      "socket",
      "-t",
      String(port),
      "--address",
      "127.0.0.1",
    ).ended;
    server.close();
    assert.notEqual(code, 0);
    assert.match(err, new RegExp(`^topicast: .*${port}.*\n$`));
  });
});

describe("topicast controller", () => {
  it("serves without switches, and ends in order", async () => {
    const listen = `127.0.0.1:${await freePort()}`;
    const rest = `127.0.0.1:${await freePort()}`;
    const controller = topicast("controller", "--listen", listen, "--rest", rest, "--log-level", "silent");
    await controller.until("ready");
    assert.equal(
      controller.err,
      `topicast: controller is ready: agents at ${listen}, REST http://${rest}, no switches, unicast\n`,
    );
    const health = (await (await fetch(`http://${rest}/healthz`)).json()) as { dataplane: string };
    assert.equal(health.dataplane, "unicast");
    controller.signal("SIGTERM");
    assert.equal((await controller.ended).code, 0);
  });
});

describe("serve", () => {
  const serve = JSON.stringify(new URL("../../../../scripts/dist/serve.js", import.meta.url).href);

  /** A service of its own in a process: `start` is the body of the function that starts it. */
  function service(start: string): Process {
    const script = `
      import { serve } from ${serve};
      const say = (text) => process.stderr.write(text + "\\n");
      const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      await serve("it is ready", async () => { setInterval(() => {}, 1000); say("starting"); ${start} });`;
    return new Process(["--input-type=module", "-e", script]);
  }

  it("closes once, and exits 0", async () => {
    const it = service('return { close: async () => { await later(50); say("closed"); } };');
    await it.until("ready");
    it.signal("SIGTERM");
    assert.deepEqual(await it.ended, { code: 0, out: "", err: "starting\ntopicast: it is ready\nclosed\n" });
  });

  it("told to stop while starting, closes what has started and is never ready", async () => {
    const it = service(
      'await new Promise((told) => process.once("SIGINT", told)); return { close: async () => say("closed") };',
    );
    await it.until("starting");
    it.signal("SIGINT");
    assert.deepEqual(await it.ended, { code: 0, out: "", err: "starting\nclosed\n" });
  });

  it("exits at once on the second signal", async () => {
    const it = service('return { close: async () => { say("closing"); await later(60_000); } };');
    await it.until("ready");
    it.signal("SIGTERM");
    await it.until("closing");
    it.signal("SIGTERM");
    assert.equal((await it.ended).code, 1);
  });

  it("closes and exits 1 on an error that nobody caught", async () => {
    const it = service(
      'setTimeout(() => { throw new Error("a bug"); }, 100); return { close: async () => say("closed") };',
    );
    const { code, err } = await it.ended;
    assert.equal(code, 1);
    assert.match(err, /topicast: unexpected error: Error: a bug\n {4}at [\s\S]*\nclosed\n$/);
  });

  it("exits 1 on an error while starting, after an uncaught one too", async () => {
    const rejected = await service('throw new Error("cannot start");').ended;
    assert.equal(rejected.code, 1);
    assert.match(rejected.err, /Error: cannot start/);
    const it = service(
      'setTimeout(() => { throw new Error("a bug"); }, 10); await later(200); return { close: async () => say("closed") };',
    );
    const { code, err } = await it.ended;
    assert.equal(code, 1);
    assert.match(err, /^starting\ntopicast: unexpected error: Error: a bug\n[\s\S]*\nclosed\n$/);
  });

  it("exits 1 when closing fails", async () => {
    const it = service('return { close: async () => { throw new Error("stuck"); } };');
    await it.until("ready");
    it.signal("SIGTERM");
    const { code, err } = await it.ended;
    assert.equal(code, 1);
    assert.match(err, /unexpected error: Error: stuck/);
  });
});
