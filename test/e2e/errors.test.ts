import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { Child } from "topicast/testbed/child";
import { Run } from "topicast/testbed/run";
import { eventually, getJson } from "topicast/testbed/testbed";
import { ROOT } from "./support.js";

const TOPICAST = [process.execPath, `${ROOT}/scripts/bin/topicast.js`];
const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

describe("what goes wrong", () => {
  const run = new Run();
  const folder = mkdtempSync(join(tmpdir(), "topicast-errors-"));
  after(async () => {
    await run.stopAll();
    rmSync(folder, { recursive: true });
  });

  /** Runs the command line, which must end by itself with one line on standard error, and nothing on standard output. */
  async function fails(
    args: readonly string[],
    pattern: RegExp,
    prefix: readonly string[] = [],
  ): Promise<void> {
    const { code, stdout, stderr } = await run.exec([...prefix, ...TOPICAST, ...args], 15_000);
    assert.match(stderr, pattern, args.join(" "));
    assert.equal(stderr.trim().split("\n").length, 1, `one line: ${stderr}`);
    assert.ok(stderr.startsWith("topicast: "), stderr);
    assert.ok(code > 0, `exit code ${code}`);
    assert.equal(stdout, "");
  }

  function start(...args: string[]): Child {
    return run.start({ name: `topicast ${args[0]}`, command: [...TOPICAST, ...args] });
  }

  async function listening(): Promise<{ port: number; server: Server }> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return { port: (server.address() as { port: number }).port, server };
  }

  async function freePort(): Promise<string> {
    const { port, server } = await listening();
    await new Promise((resolve) => server.close(resolve));
    return String(port);
  }

  it("a wrong password: the client is refused, the agent serves on", async () => {
    const port = await freePort();
    const agent = start(
      ...["agent", "--transport", "socket", "--address", "127.0.0.1", "-t", port],
      ...["-u", "plant", "-p", "right"],
    );
    await agent.waitFor(/\bready\b/, 15_000);
    const publish = (...as: string[]) =>
      run.exec(["mosquitto_pub", "-h", "127.0.0.1", "-p", port, "-t", "x", "-m", "1", ...as]);
    for (const wrong of [["-u", "plant", "-P", "wrong"], ["-u", "nobody", "-P", "right"], []]) {
      const { code, stderr } = await publish(...wrong);
      assert.notEqual(code, 0);
      assert.match(
        stderr,
        /Connection Refused: (bad user name or password|not authorised)/i,
        wrong.join(" "),
      );
    }
    assert.equal((await publish("-u", "plant", "-P", "right")).code, 0);
    assert.equal(await agent.stop(), 0);
  });

  it("an unreachable forwarder: the agent serves its own clients, retries, and /healthz says so", async () => {
    const [port, rest, nowhere] = [await freePort(), await freePort(), await freePort()];
    const agent = start(
      ...["agent", "--transport", "socket", "--address", "127.0.0.1", "-t", port, "-U", await freePort()],
      ...["--allow-anonymous", "-F", `127.0.0.1:${nowhere}`, "--id", "alone", "--rest", `127.0.0.1:${rest}`],
    );
    await agent.waitFor(/\bready\b/, 15_000);
    const health = async () =>
      (await getJson(`http://127.0.0.1:${rest}/healthz`)) as { status: string; forwarder: { state: string } };
    await eventually(
      "/healthz says unreachable",
      10_000,
      async () => (await health()).forwarder.state === "unreachable",
    );
    assert.equal((await health()).status, "degraded");
    const there = ["-h", "127.0.0.1", "-p", port, "-t", "x"];
    const subscriber = run.start({
      name: "mosquitto_sub",
      command: ["stdbuf", "-oL", "mosquitto_sub", ...there, "-d", "-C", "1"],
    });
    await subscriber.waitFor(/received SUBACK/, 15_000);
    await run.output(["mosquitto_pub", ...there, "-m", "here"]);
    assert.equal(await subscriber.exited, 0);

    const controller = start(
      "controller",
      "--listen",
      `127.0.0.1:${nowhere}`,
      "--rest",
      `127.0.0.1:${await freePort()}`,
    );
    await controller.waitFor(/\bready\b/, 15_000);
    await eventually("it registers once there is one", 10_000, async () => (await health()).status === "ok");
    assert.equal(await agent.stop(), 0);
    assert.equal(await controller.stop(), 0);
  });

  it("an unreachable Ryu: the forwarder serves agents by unicast, retries, and /healthz says so", async () => {
    const [port, rest, nowhere] = [await freePort(), await freePort(), await freePort()];
    const controller = start(
      ...["controller", "--listen", `127.0.0.1:${port}`, "--rest", `127.0.0.1:${rest}`],
      ...["--ryu", `http://127.0.0.1:${nowhere}`],
    );
    await controller.waitFor(/\bready\b/, 15_000);
    await eventually("/healthz says unreachable", 10_000, async () => {
      const health = (await getJson(`http://127.0.0.1:${rest}/healthz`)) as {
        status: string;
        ryu: { state: string };
      };
      return health.status === "degraded" && health.ryu.state === "unreachable";
    });
    assert.equal(await controller.stop(), 0);
  });

  it("missing root", async () => {
    const reads = await run.exec([...NOBODY, "test", "-r", `${ROOT}/scripts/bin/topicast.js`]);
    // Where nobody else may enter the clone, root without its capabilities has to do.
    const prefix = reads.code === 0 ? NOBODY : ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    await fails(["agent", "-i", "lo"], /root/, prefix);
  });

  it("a missing interface", async () => {
    await fails(["agent", "-i", "nosuch0"], /nosuch0/);
    await fails(["agent"], /--transport raw needs an interface: give -i IFACE/);
  });

  it("a port in use", async () => {
    const { port, server } = await listening();
    try {
      const socket = ["agent", "--transport", "socket", "--address", "127.0.0.1", "-t", String(port)];
      await fails(socket, new RegExp(`${port}.*in use`));
      const udp = await freePort();
      const controller = ["controller", "--listen", `127.0.0.1:${udp}`, "--rest", `127.0.0.1:${port}`];
      await fails(controller, new RegExp(`${port}.*in use`));
      const first = start(
        "controller",
        "--listen",
        `127.0.0.1:${udp}`,
        "--rest",
        `127.0.0.1:${await freePort()}`,
      );
      await first.waitFor(/\bready\b/, 15_000);
      const rest = `127.0.0.1:${await freePort()}`;
      await fails(
        ["controller", "--listen", `127.0.0.1:${udp}`, "--rest", rest],
        new RegExp(`${udp}.*in use`),
      );
      assert.equal(await first.stop(), 0);

      const ryu = await run.exec([`${ROOT}/ryu/ryu-manager`, "--wsapi-port", String(port)], 20_000);
      assert.ok(ryu.code > 0);
      assert.match(ryu.stderr, new RegExp(`^.*${port}.*in use.*\n$`));
    } finally {
      server.close();
    }
  });

  it("a port in use by the kernel where the agent captures frames", async () => {
    const namespace = "tc-e2e-port";
    await run.exec(["ip", "netns", "delete", namespace]);
    await run.output(["ip", "netns", "add", namespace]);
    try {
      const ip = ["ip", "-n", namespace];
      await run.output([...ip, "link", "add", "one", "type", "veth", "peer", "name", "two"]);
      await run.output([...ip, "address", "add", "10.77.0.1/24", "dev", "one"]);
      await run.output([...ip, "link", "set", "one", "up"]);
      const within = ["ip", "netns", "exec", namespace];
      const listen = "require('node:net').createServer().listen(1883, () => console.log('listening'))";
      const holder = run.start({ name: "holder", command: [...within, process.execPath, "-e", listen] });
      await holder.waitFor(/listening/, 10_000);
      await fails(["agent", "-i", "one"], /1883.*in use/, within);
      await holder.stop();
    } finally {
      await run.exec(["ip", "netns", "delete", namespace]);
    }
  });

  it("bad configuration, on the command line and in a file", async () => {
    await fails(["agent", "-i", "lo", "-t", "70000"], /tcpport.*70000/);
    await fails(["agent", "-i", "lo", "-F", "nowhere:1883:1"], /forwarder.*nowhere/);
    await fails(["agent", "-i", "lo", "--transport", "smoke"], /transport.*smoke.*raw.*socket/);
    await fails(["agent", "-i", "lo", "-p", "x"], /needs a user name/);
    await fails(["agent", "--nonsense"], /--nonsense/);
    await fails(["nonsense"], /nonsense/);
    await fails(["controller", "--ryu", "ftp://x"], /ryu.*ftp:\/\/x/);
    await fails(["controller", "--listen", "300.1.1.1:1883"], /listen.*300\.1\.1\.1/);
    const file = join(folder, "bad.yaml");
    writeFileSync(file, "transport: socket\ntcpprot: 1883\n");
    await fails(["agent", "--config", file], /tcpprot/);
    writeFileSync(file, "transport: [socket\n");
    await fails(["agent", "--config", file], /bad\.yaml/);
    await fails(["agent", "--config", join(folder, "none.yaml")], /none\.yaml/);
  });
});
