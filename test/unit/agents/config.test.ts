import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { loadAgentConfig } from "@topicast/agent/config.js";
import type { ListenerSettings } from "@topicast/agent/listener-settings.js";
import { UserError } from "@topicast/protocol";

type Flags = Record<string, string>;

/** Without what is not set. */
function load(flags: Flags, env: Flags = {}) {
  const config = loadAgentConfig({ flags, env });
  return Object.fromEntries(Object.entries(config).filter(([, v]) => v !== undefined)) as typeof config;
}

function errorOf(flags: Flags, env: Flags = {}): string {
  try {
    load(flags, env);
  } catch (error) {
    assert.ok(error instanceof UserError && error.exitCode === 2, String(error));
    return error.message;
  }
  return assert.fail("accepted");
}

/** What a port asks of its clients when nothing is said of it. */
const STRICT: ListenerSettings = {
  allowAnonymous: false,
  passwordFile: undefined,
  aclFile: undefined,
  refuseUnreadable: false,
  maxConnections: undefined,
  proxyProtocol: false,
  requireClientCert: false,
  identityAsUsername: false,
  firewall: "off",
};

describe("an agent's configuration", () => {
  it("needs nothing but an interface", () => {
    assert.deepEqual(load({ interface: "h1-eth0", id: "e1" }), {
      interface: "h1-eth0",
      tcpport: 1883,
      udpport: 1883,
      fabricMtu: 1500,
      storeSync: false,
      id: "e1",
      transport: "raw",
      listeners: { tcp: STRICT },
      limits: {},
      sessionLimits: {},
      logLevel: "info",
    });
  });

  it("is named after its host by default", () => {
    assert.equal(load({ transport: "socket" }).id, hostname());
  });

  it("takes every flag", () => {
    const flags = {
      interface: "h1-eth0",
      tcpport: "1884",
      tlsport: "8883",
      wsport: "9001",
      wssport: "9002",
      wspath: "/mqtt",
      cert: "server.pem",
      key: "server.key",
      ca: "ca.pem",
      "require-client-cert": "true",
      "identity-as-username": "true",
      "proxy-protocol": "true",
      "allow-anonymous": "true",
      "acl-file": "rules",
      "refuse-unreadable": "true",
      username: "u",
      password: "p",
      forwarder: "192.168.1.100:1900",
      udpport: "1901",
      "fabric-key": "fabric.key",
      "fabric-mtu": "9000",
      id: "e1",
      transport: "socket",
      address: "192.168.1.101",
      store: "kept",
      "store-sync": "true",
      rest: "127.0.0.1:8082",
      "max-connections": "1000",
      "log-level": "debug",
    };
    const plain: ListenerSettings = {
      ...STRICT,
      ...{ allowAnonymous: true, aclFile: "rules", refuseUnreadable: true, maxConnections: 1_000 },
      proxyProtocol: true,
    };
    const secure = { ...plain, requireClientCert: true, identityAsUsername: true };
    assert.deepEqual(load(flags), {
      interface: "h1-eth0",
      tcpport: 1884,
      tlsport: 8883,
      wsport: 9001,
      wssport: 9002,
      wspath: "/mqtt",
      tls: {
        cert: "server.pem",
        key: "server.key",
        ca: "ca.pem",
      },
      listeners: { tcp: plain, tls: secure, ws: plain, wss: secure },
      username: "u",
      password: "p",
      forwarder: { address: "192.168.1.100", port: 1900 },
      udpport: 1901,
      fabricKey: "fabric.key",
      fabricMtu: 9000,
      id: "e1",
      transport: "socket",
      address: "192.168.1.101",
      store: "kept",
      storeSync: true,
      rest: { address: "127.0.0.1", port: 8082 },
      limits: { maxConnections: 1_000 },
      sessionLimits: {},
      logLevel: "debug",
    });
  });

  it("takes one broker to answer for, or several, each once", () => {
    const intercept = (given: string | string[]) =>
      loadAgentConfig({ flags: { interface: "x", intercept: given }, env: {} }).intercept;
    const first = { address: "192.168.1.250", port: 1883 };
    assert.deepEqual(intercept("192.168.1.250"), [first]);
    assert.deepEqual(intercept(["192.168.1.250", "10.0.0.1:8883", "192.168.1.250:1883"]), [
      first,
      { address: "10.0.0.1", port: 8883 },
    ]);
    assert.deepEqual(intercept(["fd00::250", "[FD00::0:250]:1883", "[fd00::250]:8883"]), [
      { address: "fd00::250", port: 1883 },
      { address: "fd00::250", port: 8883 },
    ]);
    const many = Array.from({ length: 17 }, (_, i) => `10.0.0.1:${i + 1}`);
    assert.equal(intercept(many.slice(1))?.length, 16);
    assert.throws(() => intercept(many), /a list of up to 16/);
    assert.throws(
      () => intercept(["192.168.1.250", "239.1.1.1"]),
      /^UserError: --intercept: .* is not accepted/,
    );
    assert.throws(
      () => loadAgentConfig({ flags: { transport: "socket", intercept: ["10.0.0.1"] }, env: {} }),
      /--intercept needs --transport raw/,
    );
  });

  it("takes bounds of the sessions", () => {
    const flags = { "max-keepalive": "60", "max-packet-size": "1000000", "max-inflight": "1" };
    const none = { "max-topic-alias": "0", "max-qos": "0", "max-inflight-bytes": "16", "max-sessions": "9" };
    const without = ["retain", "shared"];
    assert.deepEqual(
      loadAgentConfig({ flags: { interface: "x", id: "e1", ...flags, ...none, without }, env: {} })
        .sessionLimits,
      {
        ...{ keepAliveSeconds: 60, packetBytes: 1_000_000, receiveMaximum: 1, inflight: 1 },
        ...{ sessions: 9, inflightBytes: 16, topicAliases: 0, maximumQos: 0, without },
      },
    );
    assert.match(errorOf({ interface: "x", "max-qos": "3" }), /a whole number, 0 to 2/);
    assert.match(
      errorOf({ interface: "x", without: "wills" }),
      /must be retain, wildcards, shared, subscription-ids or empty-ids/,
    );
    for (const flag of Object.keys(flags))
      assert.match(errorOf({ interface: "x", [flag]: "0" }), /a whole number, \d+ to/);
  });

  it("takes bounds on clients, those of a source only with the raw transport", () => {
    const flags = {
      "max-half-open": "10",
      "source-half-open": "5",
      "source-connections": "0",
      "source-rate": "25",
      "source-frames": "1000",
      "source-bytes": "100000",
    };
    assert.deepEqual(load({ interface: "x", ...flags }).limits, {
      maxHalfOpen: 10,
      maxHalfOpenPerSource: 5,
      maxConnectionsPerSource: 0,
      connectionRatePerSource: 25,
      connectionBurstPerSource: 100,
      frameRatePerSource: 1_000,
      byteRatePerSource: 100_000,
    });
    for (const [flag, value] of Object.entries(flags)) {
      assert.match(
        errorOf({ transport: "socket", [flag]: value }),
        new RegExp(`^--${flag} needs --transport raw: .*firewall`),
      );
    }
    for (const wrong of ["-1", "1.5", "many", ""]) {
      assert.match(errorOf({ interface: "x", "source-rate": wrong }), /a whole number, 0 to 1000000000/);
    }
    assert.match(errorOf({ interface: "x", "max-connections": "0" }), /a whole number, 1 to/);
  });

  it("answers for a broker's TLS port without a plain one", () => {
    const tls = { tcpport: "none", tlsport: "8883", cert: "c", key: "k" };
    const { intercept } = load({ interface: "x", ...tls, intercept: "[fd00::250]:8883" });
    assert.deepEqual(intercept, [{ address: "fd00::250", port: 8883 }]);
  });

  it("takes user name and password from the environment", () => {
    const env = { TOPICAST_USERNAME: "u", TOPICAST_PASSWORD: "p" };
    const { username, password } = load({ transport: "socket" }, env);
    assert.deepEqual([username, password], ["u", "p"]);
    assert.equal(load({ transport: "socket", password: "q" }, env).password, "q");
  });

  it("takes settings of one port, from flags and from a file", () => {
    const base = { transport: "socket", "password-file": "users", "allow-anonymous": "true", wsport: "9001" };
    const given = [
      "tcp.allow-anonymous=false",
      "tcp.acl-file=rules",
      "ws.password-file=none",
      "ws.max-connections=5",
    ];
    const expected = {
      tcp: { ...STRICT, passwordFile: "users", aclFile: "rules" },
      ws: { ...STRICT, allowAnonymous: true, passwordFile: null, maxConnections: 5 },
    };
    assert.deepEqual(loadAgentConfig({ flags: { ...base, listener: given }, env: {} }).listeners, expected);
    const folder = mkdtempSync(join(tmpdir(), "topicast-config-"));
    const file = join(folder, "edge.yaml");
    writeFileSync(
      file,
      `listener:
  tcp: { allow-anonymous: false, acl-file: rules }
  ws:
    password-file: none
    max-connections: 5
`,
    );
    assert.deepEqual(loadAgentConfig({ flags: base, env: {}, file }).listeners, expected);
    rmSync(folder, { recursive: true });
  });

  it("has the clients of other brokers for a port of its own", () => {
    const { listeners } = loadAgentConfig({
      flags: { interface: "x", intercept: ["10.0.0.1"], listener: ["intercept.allow-anonymous=true"] },
      env: {},
    });
    assert.deepEqual(listeners, { tcp: STRICT, intercept: { ...STRICT, allowAnonymous: true } });
  });

  it("needs no plain port where there is another", () => {
    const { tcpport, tlsport } = load({
      ...{ transport: "socket", tcpport: "none", tlsport: "8883", cert: "c", key: "k" },
    });
    assert.deepEqual([tcpport, tlsport], [undefined, 8883]);
  });

  const refused: [flags: Flags, line: string][] = [
    [{}, "--transport raw needs an interface: give -i IFACE, or --transport socket"],
    [
      { transport: "socket", username: "u" },
      "a user name needs a password: give -p PASSWORD or set TOPICAST_PASSWORD",
    ],
    [
      { transport: "socket", password: "p" },
      "a password needs a user name: give -u NAME or set TOPICAST_USERNAME",
    ],
    [{ transport: "kernel" }, '--transport: "kernel" is not accepted: must be raw or socket'],
    [{ tcpport: "mqtt" }, '--tcpport: "mqtt" is not accepted: must be a port number, 1 to 65535, or none'],
    [
      { transport: "socket", tcpport: "none" },
      "no port for clients: --tcpport none needs --tlsport, --wsport or --wssport",
    ],
    [{ transport: "socket", wsport: "1883" }, "--tcpport and --wsport are both 1883: give each its own"],
    [
      { interface: "x", tcpport: "none", wsport: "9001", intercept: "10.0.0.1" },
      "--intercept 10.0.0.1:1883 is answered in plain MQTT, as 1883 is none of the agent's ports, and needs a port for that: give -t PORT",
    ],
    [
      { interface: "x", "tcp-keepalive": "0" },
      '--tcp-keepalive: "0" is not accepted: must be whole seconds, 1 to 32767, or none',
    ],
    [{ transport: "socket", wspath: "/x" }, "--wspath needs a WebSocket port: give --wsport or --wssport"],
    [
      { transport: "socket", wsport: "9001", wspath: "x" },
      '--wspath: "x" is not accepted: must be a path that begins with /, such as /mqtt',
    ],
    [
      { transport: "socket", tlsport: "8883", cert: "c" },
      "--tlsport needs a certificate and its key: give --cert FILE and --key FILE",
    ],
    [
      { transport: "socket", wssport: "8883", key: "k" },
      "--wssport needs a certificate and its key: give --cert FILE and --key FILE",
    ],
    [{ transport: "socket", key: "k" }, "--key needs a TLS port: give --tlsport or --wssport"],
    [
      { transport: "socket", "identity-as-username": "true" },
      "--identity-as-username needs a TLS port: give --tlsport or --wssport",
    ],
    [
      { transport: "socket", tlsport: "8883", cert: "c", key: "k", "require-client-cert": "true" },
      "--require-client-cert needs to know who signs the clients' certificates: give --ca FILE",
    ],
    [
      { transport: "socket", tlsport: "8883", cert: "c", key: "k", "identity-as-username": "true" },
      "--identity-as-username needs to know who signs the clients' certificates: give --ca FILE",
    ],
    [
      { interface: "h1-eth0", "proxy-protocol": "true" },
      "--proxy-protocol needs --transport socket: the raw transport has its clients next to it, not a proxy",
    ],
    [
      { transport: "socket", "proxy-protocol": "yes" },
      '--proxy-protocol: "yes" is not accepted: must be true or false',
    ],
    [
      { transport: "socket", listener: "tls.allow-anonymous=true" },
      "--listener tls: this agent has no such port: it has tcp",
    ],
    [
      { transport: "socket", listener: "tcp.require-client-cert=true" },
      "--listener tcp.require-client-cert needs TLS: of the ports, tls and wss have it",
    ],
    [
      { interface: "x", intercept: "10.0.0.1", listener: "intercept.proxy-protocol=true" },
      "--listener intercept.proxy-protocol: no proxy stands before intercepted clients",
    ],
    [
      { transport: "socket", username: "u", password: "p", "password-file": "users" },
      "user name and password are given, and --password-file, too: choose one of them",
    ],
    [
      { interface: "x", intercept: "10.0.0.1", listener: "intercept.max-connections=5" },
      "--listener intercept.max-connections: intercepted clients count with the plain port's: give tcp.max-connections",
    ],
    [{ "fabric-mtu": "575" }, '--fabric-mtu: "575" is not accepted: must be a whole number, 576 to 9000'],
    [{ udpport: "0" }, '--udpport: "0" is not accepted: must be a port number, 1 to 65535'],
    [
      { forwarder: "0.0.0.0" },
      '--forwarder: "0.0.0.0" is not accepted: must be the IPv4 address of a host, with :PORT where it is not 1883',
    ],
    [
      { address: "::1" },
      '--address: "::1" is not accepted: must be the IPv4 address of a host, such as 192.168.1.101',
    ],
    [
      { rest: "8082" },
      '--rest: "8082" is not accepted: must be ADDRESS:PORT, such as 127.0.0.1:8081 or [::1]:8081',
    ],
    [
      { id: "edge 1" },
      '--id: "edge 1" is not accepted: must be 1 to 64 letters, digits, dots, underscores and hyphens, the first one a letter or digit',
    ],
    [
      { interface: "no such interface" },
      '--interface: "no such interface" is not accepted: must be the name of a network interface, as `ip link` shows it',
    ],
    [
      { "log-level": "loud" },
      '--log-level: "loud" is not accepted: must be trace, debug, info, warn, error, fatal or silent',
    ],
  ];
  for (const [flags, line] of refused) {
    it(`is refused with one line: ${JSON.stringify(flags)}`, () => assert.equal(errorOf(flags), line));
  }

  for (const given of [
    "tcp",
    "tcp.acl-file",
    "tcp.nonsense=1",
    "udp.acl-file=x",
    "tcp.max-connections=many",
  ]) {
    it(`is refused with what a port does not take: ${given}`, () => {
      const expected = /^--listener: ".*" is not accepted: must be NAME\.SETTING=VALUE, .* NAME one of tcp, /;
      assert.match(errorOf({ transport: "socket", listener: given }), expected);
    });
  }

  it("never shows a password", () => {
    assert.match(errorOf({ password: "" }), /^--password: the value given is not accepted/);
  });
});
