import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createConnection, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { ROOT, Run } from "topicast/testbed/run";
import { freePorts, listenOn, Ryu } from "./support.js";

const MANAGER = `${ROOT}/ryu/ryu-manager`;
const NAMESPACE = "tcry-launcher";

describe("ryu/ryu-manager", () => {
  const run = new Run();
  after(() => run.exec(["ip", "netns", "del", NAMESPACE]));

  const accepts = (port: number) =>
    new Promise<boolean>((resolve) => {
      const socket = createConnection(port, "127.0.0.1");
      socket.on("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.on("error", () => resolve(false));
    });

  async function occupy(): Promise<{ server: Server; port: number }> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return { server, port: (server.address() as { port: number }).port };
  }

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`says ready once both ports accept, and ends quietly with exit code 0 on ${signal}`, async () => {
      const ryu = await Ryu.start();
      try {
        assert.ok(await accepts(ryu.openflowPort));
        assert.ok(await accepts(ryu.restPort));
        assert.deepEqual(await ryu.client.switches(), []);
        ryu.child.signal(signal);
        assert.equal(await ryu.child.exited, 0);
        assert.deepEqual(ryu.child.lines, [
          `ryu-manager: ready: OpenFlow on 127.0.0.1:${ryu.openflowPort}, REST on http://127.0.0.1:${ryu.restPort}`,
        ]);
      } finally {
        await ryu.stop();
      }
    });
  }

  it("has one line and exit code 1 for a port in use, even by another Ryu", async () => {
    const first = await Ryu.start();
    const { server, port } = await occupy();
    const [free] = (await freePorts(1)) as [number];
    try {
      for (const [openflow, rest, said] of [
        [
          port,
          free,
          `cannot listen on 127.0.0.1:${port} for OpenFlow: Address already in use; .*--ofp-tcp-listen-port`,
        ],
        [free, port, `cannot listen on 127.0.0.1:${port} for REST: Address already in use; .*--wsapi-port`],
        [first.openflowPort, free, "for OpenFlow: Address already in use"],
        [free, first.restPort, "for REST: Address already in use"],
      ] as const) {
        const { code, stdout, stderr } = await run.exec([MANAGER, ...listenOn(openflow, rest)]);
        assert.equal(code, 1);
        assert.match(stderr, new RegExp(`^ryu-manager: .*${said}[^\n]*\n$`));
        assert.equal(stdout, "");
      }
    } finally {
      server.close();
      await first.stop();
    }
  });

  it("has one line for an application that does not exist", async () => {
    const [openflow, rest] = (await freePorts(2)) as [number, number];
    const { code, stderr } = await run.exec([MANAGER, ...listenOn(openflow, rest), "no.such.app"]);
    assert.equal(code, 1);
    assert.match(stderr, /^ryu-manager: ModuleNotFoundError: [^\n]*\n$/);
  });

  it("runs further applications given as arguments, and passes options on", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tcry-"));
    const app = join(folder, "hello_app.py");
    writeFileSync(
      app,
      `import sys
from ryu.base import app_manager
from ryu import cfg
from ryu.lib import hub

class Hello(app_manager.RyuApp):
    def start(self):
        super().start()
        print("hello, links are observed: %s" % cfg.CONF.observe_links, file=sys.stderr, flush=True)
`,
    );
    try {
      const ryu = await Ryu.start("--noobserve-links", app);
      await ryu.child.waitFor(/^hello, links are observed: False$/, 5000);
      await ryu.stop();
    } finally {
      rmSync(folder, { recursive: true });
    }
    assert.match((await run.exec([MANAGER, "--version"])).stdout, /^ryu-manager 4\.34\n$/);
  });

  it("names scripts/setup where Ryu is not installed", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tcry-"));
    try {
      copyFileSync(MANAGER, join(folder, "ryu-manager"));
      const { code, stderr } = await run.exec([join(folder, "ryu-manager")]);
      assert.equal(code, 1);
      assert.match(stderr, /^ryu-manager: Ryu is not installed in [^\n]*; run scripts\/setup first\n$/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("listens where Ryu listens by default, and goes on without the old port 6633", async () => {
    await run.exec(["ip", "netns", "del", NAMESPACE]);
    await run.output(["ip", "netns", "add", NAMESPACE]);
    const inside = ["ip", "netns", "exec", NAMESPACE];
    await run.output([...inside, "ip", "link", "set", "lo", "up"]);
    const holder = run.start({
      name: "holder of port 6633",
      command: [
        ...inside,
        "/usr/bin/python3",
        "-uc",
        "import socket, time\ns = socket.socket()\ns.bind(('0.0.0.0', 6633))\ns.listen()\nprint('held')\ntime.sleep(60)",
      ],
    });
    await holder.waitFor(/held/, 5000);
    const child = run.start({ name: "ryu-manager", command: [...inside, MANAGER] });
    try {
      await child.waitFor(/ready: OpenFlow on 0\.0\.0\.0:6653, REST on http:\/\/0\.0\.0\.0:8080$/, 30_000);
      await child.waitFor(
        /cannot listen on OpenFlow's old port 0\.0\.0\.0:6633 too: Address already in use/,
        5000,
      );
      const listening = await run.output([...inside, "ss", "-Htln"]);
      assert.match(listening, /0\.0\.0\.0:6653/);
      assert.match(listening, /0\.0\.0\.0:8080/);
    } finally {
      await child.stop();
      await holder.stop();
    }
  });
});
