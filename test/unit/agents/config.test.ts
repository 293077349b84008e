import assert from "node:assert/strict";
import { hostname } from "node:os";
import { describe, it } from "node:test";
import { loadAgentConfig } from "@topicast/agent/config.js";
import { UserError } from "@topicast/protocol";

type Flags = Record<string, string>;

function load(flags: Flags, env: Flags = {}) {
  return loadAgentConfig({ flags, env });
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

describe("an agent's configuration", () => {
  it("needs nothing but an interface", () => {
    assert.deepEqual(load({ interface: "h1-eth0", id: "e1" }), {
      interface: "h1-eth0",
      tcpport: 1883,
      udpport: 1883,
      id: "e1",
      transport: "raw",
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
      username: "u",
      password: "p",
      forwarder: "192.168.1.100:1900",
      udpport: "1901",
      id: "e1",
      transport: "socket",
      address: "192.168.1.101",
      rest: "127.0.0.1:8082",
      "log-level": "debug",
    };
    assert.deepEqual(load(flags), {
      interface: "h1-eth0",
      tcpport: 1884,
      username: "u",
      password: "p",
      forwarder: { address: "192.168.1.100", port: 1900 },
      udpport: 1901,
      id: "e1",
      transport: "socket",
      address: "192.168.1.101",
      rest: { address: "127.0.0.1", port: 8082 },
      logLevel: "debug",
    });
  });

  it("takes user name and password from the environment", () => {
    const env = { TOPICAST_USERNAME: "u", TOPICAST_PASSWORD: "p" };
    const { username, password } = load({ transport: "socket" }, env);
    assert.deepEqual([username, password], ["u", "p"]);
    assert.equal(load({ transport: "socket", password: "q" }, env).password, "q");
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
    [{ tcpport: "mqtt" }, '--tcpport: "mqtt" is not accepted: must be a port number, 1 to 65535'],
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

  it("never shows a password", () => {
    assert.match(errorOf({ password: "" }), /^--password: the value given is not accepted/);
  });
});
