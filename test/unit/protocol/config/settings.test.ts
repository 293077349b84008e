import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import {
  formatEndpoint,
  loadSettings,
  type SettingSources,
  type Settings,
  UserError,
  value,
} from "@topicast/protocol";

const settings = {
  port: { argument: "PORT", help: "", value: value.port, preset: "1883" },
  name: { argument: "NAME", help: "", value: value.text, env: "NAME" },
  secret: { argument: "SECRET", help: "", value: value.text, env: "SECRET", secret: true },
  kind: { argument: "KIND", help: "", value: value.oneOf("raw", "socket") },
  peer: { argument: "PEER", help: "", value: value.ipv4Endpoint(1883) },
  rest: { argument: "REST", help: "", value: value.endpoint },
  url: { argument: "URL", help: "", value: value.httpUrl },
  iface: { argument: "IFACE", help: "", value: value.interfaceName },
  id: { argument: "ID", help: "", value: value.identifier },
  peers: {
    argument: "PEER",
    help: "",
    value: value.listOf(value.ipv4Endpoint(1883), 3),
    repeatable: true,
  },
  broker: { argument: "A", help: "a broker", value: value.hostEndpoint(1883) },
  idle: { argument: "S", help: "seconds", value: value.secondsOrNone(32_767), preset: "none" },
} as const satisfies Settings;

const dir = mkdtempSync(join(tmpdir(), "topicast-settings-"));
const file = join(dir, "x.yaml");
after(() => rmSync(dir, { recursive: true }));

function load(sources: Partial<SettingSources>, yaml?: string | Buffer) {
  if (yaml !== undefined) writeFileSync(file, yaml);
  return loadSettings(settings, {
    flags: {},
    env: {},
    file: yaml === undefined ? undefined : file,
    ...sources,
  });
}

/** The message of the UserError that loading ends with, the file's directory cut off. */
function errorOf(sources: Partial<SettingSources>, yaml?: string | Buffer): string {
  try {
    load(sources, yaml);
  } catch (error) {
    assert.ok(error instanceof UserError, String(error));
    assert.equal(error.exitCode, 2);
    assert.ok(!error.message.includes("\n"), "one line");
    return error.message.replaceAll(`${dir}/`, "");
  }
  return assert.fail("accepted");
}

describe("loadSettings", () => {
  it("prefers a flag to the environment, that to the file, that to the default", () => {
    const yaml = "port: 3\nname: file\n";
    assert.equal(load({}).port, 1883);
    assert.equal(load({}, yaml).port, 3);
    assert.equal(load({ flags: { port: "4" } }, yaml).port, 4);
    assert.equal(load({}, yaml).name, "file");
    assert.equal(load({ env: { NAME: "env" } }, yaml).name, "env");
    assert.equal(load({ flags: { name: "flag" }, env: { NAME: "env" } }, yaml).name, "flag");
    assert.equal(load({ env: { NAME: "" } }, yaml).name, "file", "an empty variable is not set");
    assert.equal(load({}).name, undefined);
  });

  it("does not look at what a stronger source has overruled", () => {
    assert.equal(load({ flags: { port: "4" } }, "port: nonsense\n").port, 4);
  });

  it("takes a list, or one of its items, from flags and from a file", () => {
    const [a, b] = [
      { address: "10.0.0.1", port: 1883 },
      { address: "10.0.0.2", port: 7 },
    ];
    assert.deepEqual(load({ flags: { peers: ["10.0.0.1", "10.0.0.2:7"] } }).peers, [a, b]);
    assert.deepEqual(load({}, "peers: 10.0.0.1\n").peers, [a]);
    assert.deepEqual(load({}, "peers: [10.0.0.1, '10.0.0.2:7', 10.0.0.1]\n").peers, [a, b]);
    const allowed =
      "must be the IPv4 address of a host, with :PORT where it is not 1883, or a list of up to 3 of these";
    assert.equal(
      errorOf({}, "peers: [10.0.0.1, x]\n"),
      `x.yaml:1: peers: ["10.0.0.1","x"] is not accepted: ${allowed}`,
    );
    assert.equal(errorOf({}, "peers: []\n"), `x.yaml:1: peers: [] is not accepted: ${allowed}`);
    assert.match(errorOf({ flags: { peers: ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"] } }), /^--peers: /);
  });

  it("takes an empty file, and one of comments, as no settings", () => {
    assert.equal(load({}, "").port, 1883);
    assert.equal(load({}, "# port: 1\n").port, 1883);
  });

  const accepted: [name: keyof typeof settings, given: string, taken: unknown][] = [
    ["port", "1", 1],
    ["port", "65535", 65_535],
    ["peer", "192.168.1.100", { address: "192.168.1.100", port: 1883 }],
    ["peer", "192.168.1.100:1884", { address: "192.168.1.100", port: 1884 }],
    ["rest", "127.0.0.1:8081", { address: "127.0.0.1", port: 8081 }],
    ["rest", "0.0.0.0:80", { address: "0.0.0.0", port: 80 }],
    ["rest", "[::1]:8081", { address: "::1", port: 8081 }],
    ["rest", "localhost:8081", { address: "localhost", port: 8081 }],
    ["url", "http://127.0.0.1:8080/", "http://127.0.0.1:8080"],
    ["url", "https://ryu.example/api//", "https://ryu.example/api"],
    ["iface", "h1-eth0.100", "h1-eth0.100"],
    ["id", "e1", "e1"],
  ];
  for (const [name, given, taken] of accepted) {
    it(`takes --${name} ${given}`, () => assert.deepEqual(load({ flags: { [name]: given } })[name], taken));
  }

  const broker = (address: string, port = 1883) => ({ address, port });
  for (const [given, taken] of [
    ["192.168.1.250", broker("192.168.1.250")],
    ["192.168.1.250:8883", broker("192.168.1.250", 8883)],
    ["fd00::250", broker("fd00::250")],
    ["fd00::1:1883", broker("fd00::1:1883")],
    ["[FD00:0::250]", broker("fd00::250")],
    ["[fd00::250]:8883", broker("fd00::250", 8883)],
    ["64:ff9b::192.0.2.1", broker("64:ff9b::c000:201")],
  ] as const) {
    it(`takes --broker ${given}`, () => assert.deepEqual(load({ flags: { broker: given } }).broker, taken));
  }

  it("takes whole seconds, or none", () => {
    for (const [given, taken] of [
      ["1", 1],
      ["900", 900],
      ["none", undefined],
    ] as const)
      assert.equal(load({ flags: { idle: given } }).idle, taken);
    assert.equal(load({}, "idle: 60\n").idle, 60);
    assert.equal(load({}).idle, undefined);
  });

  const hosts =
    "the address of a host, such as 192.168.1.250 or fd00::250, with :PORT where it is not 1883 ([fd00::250]:PORT)";
  const refusedFlags: [name: keyof typeof settings, given: string, allowed: string][] = [
    ...["", "0", "65536", "-1", "1e3", "0x10", "18 83", "1883.5", "999999"].map(
      (given) => ["port", given, "a port number, 1 to 65535"] as [keyof typeof settings, string, string],
    ),
    ["name", "", "text (in a file: in quotes where YAML would read a number)"],
    ["kind", "Raw", "raw or socket"],
    ...[
      "",
      "broker",
      "239.1.1.1",
      "[1.2.3.4]",
      "[fd00::1",
      "fd00::1]",
      "[fd00::1]1883",
      "[fd00::1]:0",
      "fd00::1%eth0",
    ].map((given) => ["broker", given, hosts] as never),
    // Nobody's, this host's, a group's, one link's, IPv4 in disguise.
    ...["::", "::1", "ff02::1", "fe80::1", "febf::1", "::ffff:1.2.3.4", "::1.2.3.4"].map(
      (given) => ["broker", given, hosts] as never,
    ),
    ...["0", "-1", "1.5", "", "1e2", "32768", "off"].map(
      (given) => ["idle", given, "whole seconds, 1 to 32767, or none"] as never,
    ),
    ...[
      "",
      "forwarder",
      "192.168.1",
      "192.168.1.256",
      "0.0.0.0",
      "239.1.1.1",
      "255.255.255.255",
      "[::1]:1",
    ].map((given) => ["peer", given, "the IPv4 address of a host, with :PORT where it is not 1883"] as never),
    ...["1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:x", "1.2.3.4:1:2", ":1883"].map(
      (given) => ["peer", given, "the IPv4 address of a host, with :PORT where it is not 1883"] as never,
    ),
    ...["8081", ":8081", "127.0.0.1", "::1:8081", "[::1]", "[127.0.0.1]:1", "example.org:80"].map(
      (given) => ["rest", given, "ADDRESS:PORT, such as 127.0.0.1:8081 or [::1]:8081"] as never,
    ),
    ...["127.0.0.1:8080", "ftp://x", "http://", "http://x/?a=b", "http://x/#a"].map(
      (given) => ["url", given, "a URL such as http://127.0.0.1:8080"] as never,
    ),
    ["iface", "h1 eth0", "the name of a network interface, as `ip link` shows it"],
    ["iface", "sixteen-letters-", "the name of a network interface, as `ip link` shows it"],
    ["id", "-e1", "1 to 64 letters, digits, dots, underscores and hyphens, the first one a letter or digit"],
    ["id", "a/b", "1 to 64 letters, digits, dots, underscores and hyphens, the first one a letter or digit"],
  ];
  for (const [name, given, allowed] of refusedFlags) {
    it(`refuses --${name} ${JSON.stringify(given)}`, () => {
      const expected = `--${name}: ${JSON.stringify(given)} is not accepted: must be ${allowed}`;
      assert.equal(errorOf({ flags: { [name]: given } }), expected);
    });
  }

  const known = "port, name, secret, kind, peer, rest, url, iface, id, peers, broker, idle";
  const refusedFiles: [name: string, yaml: string | Buffer, line: string][] = [
    ["an unknown key", "port: 1\nprot: 2\n", `x.yaml:2: there is no setting "prot": must be one of ${known}`],
    ["a key of another case", "Port: 1\n", `x.yaml:1: there is no setting "Port": must be one of ${known}`],
    [
      "a number that is none",
      "\n\nport: many\n",
      'x.yaml:3: port: "many" is not accepted: must be a port number, 1 to 65535',
    ],
    [
      "a number out of range",
      "port: 70000\n",
      "x.yaml:1: port: 70000 is not accepted: must be a port number, 1 to 65535",
    ],
    ["a fraction", "port: 1.5\n", "x.yaml:1: port: 1.5 is not accepted: must be a port number, 1 to 65535"],
    ["a list", "port: [1, 2]\n", "x.yaml:1: port: [1,2] is not accepted: must be a port number, 1 to 65535"],
    [
      "a map",
      "port:\n  a: 1\n",
      'x.yaml:1: port: {"a":1} is not accepted: must be a port number, 1 to 65535',
    ],
    ["nothing", "port:\n", "x.yaml:1: port: null is not accepted: must be a port number, 1 to 65535"],
    ["a truth value", "kind: true\n", "x.yaml:1: kind: true is not accepted: must be raw or socket"],
    [
      "a number for text",
      "name: 0123\n",
      "x.yaml:1: name: 123 is not accepted: must be text (in a file: in quotes where YAML would read a number)",
    ],
    [
      "a number for a secret, without showing it",
      "secret: 4711\n",
      "x.yaml:1: secret: the value given is not accepted: must be text (in a file: in quotes where YAML would read a number)",
    ],
    ["a list at the top", "- port\n", "x.yaml: must be `key: value` lines, not a list"],
    ["a word at the top", "port\n", "x.yaml: must be `key: value` lines, not a single value"],
    [
      "a second document",
      "port: 1\n---\nport: 2\n",
      "x.yaml:2: holds more than one document: keep the first, without `---`",
    ],
    ["a key twice", "port: 1\nport: 2\n", "x.yaml:2:1: not valid YAML: Map keys must be unique"],
  ];
  for (const [name, yaml, line] of refusedFiles) {
    it(`refuses in a file: ${name}`, () => assert.equal(errorOf({}, yaml), line));
  }

  it("refuses a file that is no YAML, naming line and column", () => {
    assert.match(errorOf({}, 'port: 1\nname: "x\n'), /^x\.yaml:[0-9]+:[0-9]+: not valid YAML: ./);
    assert.match(errorOf({}, "port: 1\n  name: x\n"), /^x\.yaml:1:[0-9]+: not valid YAML: ./);
    assert.equal(
      errorOf({}, "port: 1\nname: &a [*a]\n"),
      "x.yaml:2: *a stands in what it refers to, without end",
    );
    assert.match(errorOf({}, "name: *nowhere\n"), /^x\.yaml:1: not valid YAML: Unresolved alias/);
    const bomb = `name: &a [1, 1]\nport: [${Array(200).fill("*a").join(", ")}]\n`;
    assert.match(errorOf({}, bomb), /^x\.yaml:2: not valid YAML: Excessive alias count/);
  });

  it("refuses a file that is missing, a directory, or too large", () => {
    assert.equal(errorOf({ file: join(dir, "none.yaml") }), "none.yaml: no such file");
    assert.equal(errorOf({ file: dir }), `${dir}: is a directory`);
    assert.equal(errorOf({}, Buffer.alloc(1_048_577, "#")), "x.yaml: 1048577 bytes, at most 1048576");
  });

  it("names the variable that is wrong", () => {
    const numbers = { ...settings, port: { ...settings.port, env: "PORT" } };
    assert.throws(() => loadSettings(numbers, { flags: {}, env: { PORT: "x" } }), {
      message: 'environment variable PORT: "x" is not accepted: must be a port number, 1 to 65535',
    });
  });

  it("cuts a long value", () => {
    const line = errorOf({ flags: { kind: "x".repeat(1_000) } });
    assert.ok(line.length < 150 && line.includes("..."), line);
  });
});

describe("formatEndpoint", () => {
  it("writes IPv6 addresses in brackets", () => {
    assert.equal(formatEndpoint({ address: "192.0.2.1", port: 1883 }), "192.0.2.1:1883");
    assert.equal(formatEndpoint({ address: "2001:db8::1", port: 1883 }), "[2001:db8::1]:1883");
  });
});
