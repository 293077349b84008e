/**
 * An agent with all its ports, on the raw transport and on the kernel's, and real clients in another network namespace:
 * mosquitto's, openssl, MQTT.js.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { copyFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Pki } from "../../unit/agents/transport/pki.js";

/** Bytes, given in hexadecimal, for bash's printf. */
const printed = (hex: string) => hex.replaceAll(/\s/g, "").replaceAll(/../g, "\\x$&");
/** Shell filter: bytes to hexadecimal, with what every Debian has. */
const HEX = "od -An -v -tx1 | tr -d ' \\n'";

const bin = fileURLToPath(new URL("../../../../scripts/bin/topicast.js", import.meta.url));
const wsClient = fileURLToPath(new URL("ws-client.js", import.meta.url));
const HOST = "192.0.2.1";
/** Nobody has it; the agent answers for it where the transport can. */
const INTERCEPTED = "192.0.2.50";
const INTERCEPTS = [`${INTERCEPTED}:1884`, `${INTERCEPTED}:8883`];
const PORTS = { tcp: 1883, tls: 8883, ws: 9001, wss: 9002 };

interface Ended {
  code: number | null;
  out: string;
  err: string;
}

class Process {
  out = "";
  err = "";
  readonly ended: Promise<Ended>;

  constructor(
    readonly child: ChildProcess,
    limitMs: number,
  ) {
    child.stdout!.on("data", (chunk) => {
      this.out += chunk;
    });
    child.stderr!.on("data", (chunk) => {
      this.err += chunk;
    });
    const late = setTimeout(() => child.kill("SIGKILL"), limitMs);
    this.ended = new Promise((resolve) => {
      child.on("close", (code) => {
        clearTimeout(late);
        resolve({ code, out: this.out, err: this.err });
      });
    });
  }

  async until(what: string, text: () => boolean): Promise<void> {
    for (let i = 0; !text(); i++) {
      assert.ok(i < 1_000 && this.child.exitCode === null, `never: ${what}: ${this.out}${this.err}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** Two namespaces with a cable between them. */
class Cable {
  readonly agent = `tc-a-${process.pid}`;
  readonly client = `tc-c-${process.pid}`;
  private readonly processes: Process[] = [];

  constructor() {
    for (const name of [this.agent, this.client]) ip("netns", "add", name);
    ip(
      "link",
      "add",
      "edge0",
      "netns",
      this.agent,
      "type",
      "veth",
      "peer",
      "name",
      "dev0",
      "netns",
      this.client,
    );
    for (const [name, link, address] of [
      [this.agent, "edge0", HOST],
      [this.client, "dev0", "192.0.2.2"],
    ] as const) {
      ip("-n", name, "address", "add", `${address}/24`, "dev", link);
      for (const each of ["lo", link]) ip("-n", name, "link", "set", each, "up");
    }
  }

  run(where: "agent" | "client", command: string, args: readonly string[], limitMs = 20_000): Process {
    const child = spawn("ip", ["netns", "exec", this[where], command, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    child.stdin.on("error", () => {});
    const process = new Process(child, limitMs);
    this.processes.push(process);
    return process;
  }

  async remove(): Promise<void> {
    for (const { child } of this.processes) child.kill("SIGTERM");
    await Promise.all(this.processes.map(({ ended }) => ended));
    for (const name of [this.agent, this.client]) ip("netns", "delete", name);
  }
}

function ip(...args: string[]): void {
  execFileSync("ip", args);
}

for (const transport of ["raw", "socket"] as const) {
  describe(`the ports of an agent on the ${transport} transport`, () => {
    const pki = new Pki();
    const live = { cert: pki.path("live.pem"), key: pki.path("live.key") };
    const sensor = pki.issue("sensor", "/CN=sensor-7");
    const stranger = pki.issue("stranger", "/CN=sensor-7", { by: pki.authority("other") });
    let cable: Cable;
    let agent: Process;

    function install(name: string): void {
      const pair = pki.issue(name, `/CN=${name}`);
      copyFileSync(pair.cert, live.cert);
      copyFileSync(pair.key, live.key);
    }

    before(async () => {
      install("first");
      cable = new Cable();
      agent = cable.run(
        "agent",
        process.execPath,
        [
          ...[bin, "agent", "--transport", transport, "-i", "edge0", "--address", HOST, "-u", "u", "-p", "p"],
          ...["-t", `${PORTS.tcp}`, "--tlsport", `${PORTS.tls}`, "--wsport", `${PORTS.ws}`],
          ...["--wssport", `${PORTS.wss}`, "--wspath", "/mqtt", "--cert", live.cert, "--key", live.key],
          ...["--ca", pki.ca.cert, "--identity-as-username", "--rest", "127.0.0.1:8082"],
          ...["--tcp-keepalive", "1"],
          ...(transport === "raw" ? INTERCEPTS.flatMap((endpoint) => ["--intercept", endpoint]) : []),
        ],
        120_000,
      );
      await agent.until("ready", () => agent.err.includes("is ready"));
    });

    after(async () => {
      await cable.remove();
      pki.remove();
    });

    async function counter(name: string): Promise<number> {
      const { out } = await cable.run("agent", "curl", ["-s", "http://127.0.0.1:8082/metrics"]).ended;
      return Number(new RegExp(`topicast_transport\\{name="${name}"\\} (\\d+)`).exec(out)?.[1]);
    }

    const plain = ["-h", HOST, "-u", "u", "-P", "p"];
    const cafile = ["-h", HOST, "-p", `${PORTS.tls}`, "--cafile", pki.path("ca.pem")];
    const withPassword = [...cafile, "-u", "u", "-P", "p"];
    const withCertificate = [...cafile, "--cert", sensor.cert, "--key", sensor.key];

    async function sub(topic: string, ...args: string[]): Promise<Process> {
      const child = cable.run("client", "stdbuf", [
        "-oL",
        "mosquitto_sub",
        "-d",
        "-t",
        topic,
        "-C",
        "1",
        "-W",
        "15",
        ...args,
      ]);
      await child.until("SUBACK", () => child.out.includes("SUBACK"));
      return child;
    }

    it("says which ports it serves", () => {
      assert.match(
        agent.err,
        /MQTT port 1883, TLS port 8883, WebSocket port 9001, secure WebSocket port 9002/,
      );
    });

    it("TLS: a client with a password and one with a certificate reach each other and the plain port", async () => {
      const secure = await sub("a", ...withCertificate);
      const open = await sub("a", ...plain);
      const { code, err } = await cable.run("client", "mosquitto_pub", [
        ...withPassword,
        "-t",
        "a",
        "-m",
        "over tls",
        "-q",
        "2",
      ]).ended;
      assert.equal(code, 0, err);
      for (const each of [secure, open]) assert.match((await each.ended).out, /^over tls$/m);
      assert.match(agent.err, /"user":"sensor-7"/);
    });

    if (transport === "raw") {
      it("an intercepted address beside the ports: each port of it speaks as the agent's own does", async () => {
        assert.match(agent.err, new RegExp(`on edge0, also for ${INTERCEPTS.join(" and ")}, by itself`));
        await agent.until("vacant", () => agent.err.includes(`"vacant":["${INTERCEPTED}"]`));
        const secure = await sub("kept", ...withCertificate);
        const { code, err } = await cable.run("client", "mosquitto_pub", [
          ...["-h", INTERCEPTED, "-p", "1884", "-u", "u", "-P", "p", "-t", "kept", "-m", "as ever"],
        ]).ended;
        assert.equal(code, 0, err);
        assert.match((await secure.ended).out, /^as ever$/m);
        const open = await sub("kept", ...plain);
        const encrypted = await cable.run("client", "mosquitto_pub", [
          ...["-h", INTERCEPTED, "-p", "8883", "--cafile", pki.path("ca.pem"), "--insecure"],
          ...["-u", "u", "-P", "p", "-t", "kept", "-m", "over TLS"],
        ]).ended;
        assert.equal(encrypted.code, 0, encrypted.err);
        assert.match((await open.ended).out, /^over TLS$/m);
        assert.equal(await counter("neighbour_vacant"), 1);
      });
    }

    it("clients that say nothing are probed", async () => {
      const silent = await sub("silence", ...plain);
      const received = async () => {
        const { out } = await cable.run("client", "ss", ["-Htin", `dport = :${PORTS.tcp}`]).ended;
        return Number(/segs_in:(\d+)/.exec(out)?.[1]);
      };
      const before = await received();
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      const probes = (await received()) - before;
      assert.ok(probes === 2 || probes === 3, `${probes} segments in 2.5 s`);
      silent.child.kill("SIGTERM");
      await silent.ended;
    });

    it("curl publishes and subscribes as an MQTT client", async () => {
      const waiting = await sub("curled", ...plain);
      const url = `mqtt://${HOST}/curled`;
      const { code, err } = await cable.run("client", "curl", ["-sS", "-u", "u:p", "-d", "by curl", url])
        .ended;
      assert.equal(code, 0, err);
      assert.match((await waiting.ended).out, /^by curl$/m);
      const listening = cable.run("client", "curl", ["-sS", "-N", "-u", "u:p", "-o", "-", url]);
      while (!listening.out.includes("to curl")) {
        assert.equal(listening.child.exitCode, null, listening.err);
        await cable.run("client", "mosquitto_pub", [...plain, "-t", "curled", "-m", "to curl"]).ended;
      }
      listening.child.kill("SIGTERM");
      await listening.ended;
    });

    it("TLS: half a megabyte arrives whole", async () => {
      const waiting = await sub("big", ...withCertificate, "-F", "%l");
      const file = pki.path("big");
      execFileSync("sh", ["-c", `head -c 500000 /dev/zero | tr '\\0' x > ${file}`]);
      const { code, err } = await cable.run("client", "mosquitto_pub", [
        ...withPassword,
        "-t",
        "big",
        "-f",
        file,
        "-q",
        "1",
      ]).ended;
      assert.equal(code, 0, err);
      assert.match((await waiting.ended).out, /^500000$/m);
    });

    it("TLS: neither certificate nor password, a stranger's certificate, a client that does not trust us: refused", async () => {
      const nobody = await cable.run("client", "mosquitto_pub", [...cafile, "-t", "a", "-m", "x"]).ended;
      assert.notEqual(nobody.code, 0);
      assert.match(nobody.err, /not authorised/i);
      const strange = await cable.run("client", "mosquitto_pub", [
        ...cafile,
        "--cert",
        stranger.cert,
        "--key",
        stranger.key,
        "-t",
        "a",
        "-m",
        "x",
      ]).ended;
      assert.notEqual(strange.code, 0);
      assert.equal(await counter("tls_client_certificate"), 1);
      const wary = await cable.run("client", "mosquitto_pub", [
        ...["-h", HOST, "-p", `${PORTS.tls}`, "--cafile", pki.path("other.pem"), "-t", "a", "-m", "x"],
      ]).ended;
      assert.notEqual(wary.code, 0);
      assert.equal(await counter("tls_alert"), 1);
    });

    it("TLS: openssl verifies the chain with 1.2 and 1.3, and is refused with less", async () => {
      for (const [flag, version] of [
        ["-tls1_2", "TLSv1.2"],
        ["-tls1_3", "TLSv1.3"],
      ] as const) {
        const client = cable.run("client", "openssl", [
          ...[
            "s_client",
            "-connect",
            `${HOST}:${PORTS.tls}`,
            "-CAfile",
            pki.ca.cert,
            "-verify_return_error",
            flag,
          ],
        ]);
        await client.until("a session", () => client.out.includes("Verify return code: 0 (ok)"));
        assert.match(client.out, new RegExp(version));
        client.child.stdin!.end();
        await client.ended;
      }
      const old = await cable.run("client", "openssl", [
        ...["s_client", "-connect", `${HOST}:${PORTS.tls}`, "-tls1_1", "-cipher", "ALL@SECLEVEL=0"],
      ]).ended;
      assert.notEqual(old.code, 0);
      assert.equal(await counter("tls_version"), 1);
    });

    it("TLS: plain MQTT on the TLS port is closed and counted", async () => {
      const connect = printed("100c00044d5154540402003c0000");
      const client = cable.run("client", "bash", [
        "-c",
        `exec 3<>/dev/tcp/${HOST}/${PORTS.tls}; printf '${connect}' >&3; cat <&3 | ${HEX}`,
      ]);
      // An alert of TLS at most, and the end.
      assert.match((await client.ended).out, /^(1503.{10})?$/);
      assert.equal(await counter("tls_not_tls"), 1);
    });

    for (const [name, url] of [
      ["WebSocket", `ws://${HOST}:${PORTS.ws}/mqtt`],
      ["WebSocket over TLS", `wss://${HOST}:${PORTS.wss}/mqtt`],
    ] as const) {
      it(`${name}: MQTT.js sends and gets, a little and a lot`, async () => {
        const waiting = await sub("web/up", ...plain);
        const { code, out, err } = await cable.run("client", process.execPath, [wsClient, url, pki.ca.cert])
          .ended;
        assert.equal(code, 0, err);
        assert.equal(out, "1 message of 300000 bytes, 1000 messages in order\n");
        assert.match((await waiting.ended).out, /^from the web$/m);
      });
    }

    it("WebSocket: curl learns what is served, and where it is not", async () => {
      const curl = async (path: string): Promise<string> =>
        (
          await cable.run("client", "curl", [
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            `http://${HOST}:${PORTS.ws}${path}`,
          ]).ended
        ).out;
      assert.equal(await curl("/mqtt"), "426");
      assert.equal(await curl("/"), "404");
    });

    it("takes new certificates over on SIGHUP, and the old connections stay", async () => {
      const waiting = await sub("after", ...withCertificate);
      install("second");
      const [pid] = execFileSync("ip", ["netns", "pids", cable.agent], { encoding: "utf8" }).split("\n");
      process.kill(Number(pid), "SIGHUP");
      await agent.until("the log line", () => agent.err.includes("certificates read again"));
      const client = cable.run("client", "openssl", [
        "s_client",
        "-connect",
        `${HOST}:${PORTS.tls}`,
        "-CAfile",
        pki.ca.cert,
      ]);
      await client.until("a session", () => client.out.includes("Verify return code: 0 (ok)"));
      assert.match(client.out, /CN = second/);
      client.child.stdin!.end();
      await cable.run("client", "mosquitto_pub", [...withPassword, "-t", "after", "-m", "still"]).ended;
      assert.match((await waiting.ended).out, /^still$/m);
    });

    it("leaves no connection behind, and no firewall rule", async () => {
      for (let i = 0; (await counter("connections_open")) > 0; i++) {
        assert.ok(i < 50, `${await counter("connections_open")} connections left`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      agent.child.kill("SIGTERM");
      assert.equal((await agent.ended).code, 0, agent.err);
      assert.equal((await cable.run("agent", "nft", ["list", "ruleset"]).ended).out, "");
    });
  });
}

describe("an agent behind a proxy", () => {
  it("logs the client's own address, and refuses whoever brings no header", async () => {
    const cable = new Cable();
    try {
      const agent = cable.run("agent", process.execPath, [
        ...[
          bin,
          "agent",
          "--transport",
          "socket",
          "--address",
          HOST,
          "--proxy-protocol",
          "--allow-anonymous",
        ],
      ]);
      await agent.until("ready", () => agent.err.includes("is ready"));
      const direct = await cable.run("client", "mosquitto_pub", ["-h", HOST, "-t", "a", "-m", "x"]).ended;
      assert.notEqual(direct.code, 0);
      await agent.until("the refusal", () => agent.err.includes('"reason":"proxy_missing_header"'));
      const header = "0d0a0d0a000d0a515549540a2111000c c6336407 c0000201 c353 075b";
      const connect = "101300044d5154540402003c000770726f78696564";
      const behind = cable.run("client", "bash", [
        "-c",
        `exec 3<>/dev/tcp/${HOST}/1883; printf '${printed(header + connect)}' >&3; head -c 4 <&3 | ${HEX}`,
      ]);
      const { out } = await behind.ended;
      assert.equal(out, "20020000");
      assert.match(agent.err, /"peer":"198\.51\.100\.7:50003","client":"proxied"/);
    } finally {
      await cable.remove();
    }
  });
});
