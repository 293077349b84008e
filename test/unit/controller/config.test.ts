import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadControllerConfig } from "@topicast/controller/config.js";
import { UserError } from "@topicast/protocol";

type Flags = Record<string, string | readonly string[]>;

function errorOf(flags: Flags): string {
  try {
    loadControllerConfig({ flags, env: {} });
  } catch (error) {
    assert.ok(error instanceof UserError && error.exitCode === 2, String(error));
    return error.message;
  }
  return assert.fail("accepted");
}

const RANGE = "a multicast network in 224.0.0.0/4 of /14 to /30, such as 239.192.0.0/14";

const LIMITS =
  "[DPID:]groups=N,flows=N,buckets=N,outputs=N with one or more of these, such as groups=1024,buckets=8 or 00000000000000a1:groups=256, or a list of up to 4096 of these";

describe("a forwarder's configuration", () => {
  it("needs nothing but an address", () => {
    assert.deepEqual(loadControllerConfig({ flags: { listen: "192.168.1.100" }, env: {} }), {
      listen: { address: "192.168.1.100", port: 1883 },
      ryu: undefined,
      rest: { address: "127.0.0.1", port: 8081 },
      groupRange: { cidr: "239.192.0.0/14", base: 0xefc00000, size: 2 ** 18 },
      switchLimits: undefined,
      mergeWaste: 10,
      store: undefined,
      storeSync: false,
      passwordFile: undefined,
      aclFile: undefined,
      absent: { timeMs: 24 * 3_600_000, bytes: 256 * 1_048_576 },
      legacyProxies: [],
      quarantineSafe: [],
      fabricKey: undefined,
      fabricMtu: 1500,
      logLevel: "info",
    });
  });

  it("takes every flag", () => {
    const flags = {
      listen: "192.168.1.100:1900",
      ryu: "http://10.0.0.1:8080/",
      rest: "[::1]:9000",
      "group-range": "239.255.255.252/30",
      "merge-waste": "5",
      store: "kept",
      "store-sync": "true",
      "password-file": "users",
      "acl-file": "rules",
      "absent-hours": "2",
      "absent-mib": "3",
      "quarantine-safe": ["10.0.0.0/8"],
      "legacy-proxy": ["192.168.1.50", "192.168.1.51:1901"],
      "fabric-key": "fabric.key",
      "fabric-mtu": "1400",
      "log-level": "silent",
    };
    assert.deepEqual(loadControllerConfig({ flags, env: {} }), {
      listen: { address: "192.168.1.100", port: 1900 },
      ryu: "http://10.0.0.1:8080",
      rest: { address: "::1", port: 9000 },
      groupRange: { cidr: "239.255.255.252/30", base: 0xeffffffc, size: 4 },
      switchLimits: undefined,
      mergeWaste: 5,
      store: "kept",
      storeSync: true,
      passwordFile: "users",
      aclFile: "rules",
      absent: { timeMs: 7_200_000, bytes: 3 * 1_048_576 },
      legacyProxies: [
        { address: "192.168.1.50", port: 1883 },
        { address: "192.168.1.51", port: 1901 },
      ],
      quarantineSafe: [{ bytes: Buffer.from([10, 0, 0, 0]), bits: 8 }],
      fabricKey: "fabric.key",
      fabricMtu: 1400,
      logLevel: "silent",
    });
  });

  it("takes limits of all switches and of single ones", () => {
    const flags = {
      listen: "192.168.1.100",
      "switch-limits": ["groups=1024,buckets=8", "00000000000000a1:groups=256,outputs=0", "162:flows=9"],
    };
    const limits = loadControllerConfig({ flags, env: {} }).switchLimits!;
    const none = Number.POSITIVE_INFINITY;
    assert.deepEqual(limits(1n), { groups: 1024, flows: none, buckets: 8, outputs: 1 });
    assert.deepEqual(limits(0xa1n), { groups: 256, flows: none, buckets: 8, outputs: 0 });
    assert.deepEqual(limits(0xa2n), { groups: 1024, flows: 9, buckets: 8, outputs: 1 });
  });

  const listen = "192.168.1.100";
  const refused: [flags: Flags, line: string][] = [
    [{}, "the address for the agents is missing: give --listen ADDRESS[:PORT]"],
    [
      { listen: "0.0.0.0" },
      '--listen: "0.0.0.0" is not accepted: must be the IPv4 address of a host, with :PORT where it is not 1883',
    ],
    ...["groups", "groups=x", "groups=1,groups=2", "ports=1", "1:", "g1:groups=1"].map(
      (limits): [Flags, string] => [
        { listen, "switch-limits": limits },
        `--switch-limits: "${limits}" is not accepted: must be ${LIMITS}`,
      ],
    ),
    [
      { listen, "switch-limits": ["1:groups=1", "0x1:flows=1"] },
      "--switch-limits: switch 1 named twice: put its limits into one",
    ],
    [
      { listen, ryu: "127.0.0.1:8080" },
      '--ryu: "127.0.0.1:8080" is not accepted: must be a URL such as http://127.0.0.1:8080',
    ],
    [
      { listen, rest: "127.0.0.1" },
      '--rest: "127.0.0.1" is not accepted: must be ADDRESS:PORT, such as 127.0.0.1:8081 or [::1]:8081',
    ],
    [
      { listen, "log-level": "" },
      '--log-level: "" is not accepted: must be trace, debug, info, warn, error, fatal or silent',
    ],
    ...[
      "239.192.0.0",
      "239.192.0.0/13",
      "239.192.0.0/31",
      "239.192.0.1/14",
      "10.0.0.0/14",
      "240.0.0.0/14",
      "x/14",
    ].map((range): [Flags, string] => [
      { listen, "group-range": range },
      `--group-range: "${range}" is not accepted: must be ${RANGE}`,
    ]),
  ];
  for (const [flags, line] of refused) {
    it(`is refused with one line: ${JSON.stringify(flags)}`, () => assert.equal(errorOf(flags), line));
  }
});
