import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  decodeMatch,
  encodeMatch,
  FormatError,
  formatDpid,
  type Match,
  matchKey,
  normalizeMatch,
  Port,
  parseDpid,
  sameMatch,
} from "node-ryu-rest-client";
import fc from "../../property.js";

describe("datapath ids", () => {
  it("are read as people and rest_topology write them", () => {
    assert.equal(parseDpid("fedcba9876543210"), 0xfedcba9876543210n);
    assert.equal(parseDpid("0000000000000010"), 16n);
    assert.equal(parseDpid("0x10"), 16n);
    assert.equal(parseDpid("10"), 10n);
    assert.equal(parseDpid("18446744073709551615"), (1n << 64n) - 1n);
    for (const wrong of ["", "0x", "xyz", "-1", "18446744073709551616", "10000000000000000f"]) {
      assert.throws(() => parseDpid(wrong), FormatError, wrong);
    }
    assert.equal(formatDpid(0x1an), "000000000000001a");
  });
});

describe("matches", () => {
  it("have one normal form for each notation", () => {
    const same: [Match, Match][] = [
      [{ eth_dst: "AA:B:0:0:0:1" }, { eth_dst: "aa:0b:00:00:00:01" }],
      [
        { eth_dst: "01:02:03:04:05:06/ff:ff:ff:00:00:00" },
        { eth_dst: "01:02:03:00:00:00/ff:ff:ff:00:00:00" },
      ],
      [{ ipv4_src: "10.1.2.3/8" }, { ipv4_src: "10.0.0.0/255.0.0.0" }],
      [{ ipv4_src: "10.1.2.3/32" }, { ipv4_src: "10.1.2.3" }],
      [{ ipv4_src: "10.1.2.3/0" }, {}],
      [{ ipv6_src: "2001:DB8:0:0:0:0:0:1/128" }, { ipv6_src: "2001:db8::1" }],
      [{ ipv6_src: "::ffff:10.0.0.1" }, { ipv6_src: "::ffff:a00:1" }],
      [{ ipv6_dst: "ff02::/16" }, { ipv6_dst: "ff02::/ffff::" }],
      [{ metadata: { value: 0xffn, mask: 0x0fn } }, { metadata: { value: 0x0fn, mask: 0x0fn } }],
      [{ metadata: { value: 5n, mask: (1n << 64n) - 1n } }, { metadata: 5n }],
      [{ pbb_isid: { value: 5, mask: 0xffffff } }, { pbb_isid: 5 }],
      [{ tunnel_id: { value: 5n, mask: 0n } }, {}],
      [
        { eth_type: 0x800, in_port: 1 },
        { in_port: 1, eth_type: 0x800 },
      ],
    ];
    for (const [a, b] of same) {
      assert.equal(matchKey(a), matchKey(b));
      assert.deepEqual(normalizeMatch(a), normalizeMatch(b));
    }
    assert.ok(!sameMatch({ ipv4_src: "10.0.0.0/8" }, { ipv4_src: "10.0.0.0/9" }));
    assert.ok(!sameMatch({ ipv4_src: "10.0.0.1" }, { ipv4_dst: "10.0.0.1" }));
    assert.ok(!sameMatch({ vlan_vid: 0 }, { vlan_vid: "none" }));
  });

  it("refuse values that do not fit, naming the field", () => {
    const wrong: [object, RegExp][] = [
      [{ eth_type: 0x10000 }, /eth_type must be an integer of 16 bits, not 65536/],
      [{ eth_type: "0x800" }, /eth_type must be an integer/],
      [{ ip_proto: -1 }, /ip_proto/],
      [{ in_port: 1.5 }, /in_port/],
      [{ vlan_vid: 4096 }, /vlan_vid must be an integer of 12 bits/],
      [{ metadata: 1n << 64n }, /metadata must be a 64-bit bigint/],
      [{ metadata: { value: 1n, mask: -1n } }, /metadata/],
      [{ tcp_src: { value: 1, mask: 1 } }, /tcp_src must be|takes no mask/],
      [{ eth_src: "1:2:3" }, /"1:2:3" is no MAC address/],
      [{ eth_src: "01:02:03:04:05:06/24" }, /no valid mac mask/],
      [{ ipv4_dst: "10.0.0.1/33" }, /no valid ipv4 mask/],
      [{ ipv4_dst: "10.0.0.1/8/8" }, /no ipv4 address with a mask/],
      [{ ipv6_dst: "fe80::1%eth0" }, /no IPv6/],
      [{ ipv6_dst: 7 }, /ipv6_dst must be an address, not 7/],
      [{ dl_dst: "01:02:03:04:05:06" }, /dl_dst is not one of OpenFlow 1.3's/],
    ];
    for (const [match, message] of wrong) {
      assert.throws(
        () => normalizeMatch(match as Match),
        (error: Error) => {
          assert.ok(error instanceof FormatError);
          assert.match(error.message, message);
          return true;
        },
      );
    }
    assert.throws(() => encodeMatch({ other: { reg0: "1" } }), /reg0 can be read but not sent/);
  });

  it("are read as ofctl_rest prints them", () => {
    const printed = {
      in_port: "CONTROLLER",
      dl_dst: "01:00:5E:00:00:00/ff:ff:ff:80:00:00",
      dl_type: 2048,
      dl_vlan: "0x1000/0x1000",
      nw_dst: "10.0.0.0/255.0.0.0",
      nw_proto: 17,
      tp_dst: 1883,
      metadata: "9223372036854775808/17293822569102704640",
      tunnel_id: 18446744073709551615n,
    };
    assert.deepEqual(decodeMatch(printed), {
      in_port: Port.CONTROLLER,
      eth_dst: "01:00:5e:00:00:00/ff:ff:ff:80:00:00",
      eth_type: 0x800,
      vlan_vid: "any",
      ipv4_dst: "10.0.0.0/255.0.0.0",
      ip_proto: 17,
      udp_dst: 1883,
      metadata: { value: 1n << 63n, mask: 0xf000000000000000n },
      tunnel_id: (1n << 64n) - 1n,
    });
    assert.deepEqual(decodeMatch({ dl_vlan: "100" }), { vlan_vid: 100 });
    assert.deepEqual(decodeMatch({ dl_vlan: "0x0000" }), { vlan_vid: "none" });
    assert.deepEqual(decodeMatch({ nw_proto: 6, tp_src: 1 }), { ip_proto: 6, tcp_src: 1 });
    assert.deepEqual(decodeMatch({ ip_proto: 132, sctp_src: 9 }), { ip_proto: 132, sctp_src: 9 });
  });

  it("keep in `other` what cannot be expressed, so that it is never mistaken for something wider", () => {
    const printed = {
      reg0: 7,
      nw_proto: 6,
      tp_src: "80/65280",
      dl_vlan: "0x1005/0x1fff",
      nw_src: "nonsense",
    };
    const match = decodeMatch(printed);
    assert.deepEqual(match, {
      ip_proto: 6,
      other: { reg0: "7", tp_src: "80/65280", dl_vlan: "0x1005/0x1fff", nw_src: "nonsense" },
    });
    assert.ok(!sameMatch(match, { ip_proto: 6 }));
    assert.deepEqual(decodeMatch({ tp_src: 80 }), { other: { tp_src: "80" } });
    assert.ok(sameMatch(match, decodeMatch(Object.fromEntries(Object.entries(printed).reverse()))));
  });

  it("come through Ryu's words and back unchanged", () => {
    const mac = fc
      .array(fc.integer({ min: 0, max: 255 }), { minLength: 6, maxLength: 6 })
      .map((b) => b.map((x) => x.toString(16).padStart(2, "0")).join(":"));
    const u = (bits: number) => fc.integer({ min: 0, max: 2 ** bits - 1 });
    const u64 = fc.bigInt(0n, (1n << 64n) - 1n);
    const masked64 = fc.oneof(u64, fc.record({ value: u64, mask: u64 }));
    const ip4 = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })).map(([a, n]) => `${a}/${n}`);
    const ip6 = fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })).map(([a, n]) => `${a}/${n}`);
    const matches = fc.record(
      {
        in_port: fc.oneof(u(16), fc.constantFrom(...Object.values(Port))),
        eth_dst: fc.oneof(
          mac,
          fc.tuple(mac, mac).map(([a, m]) => `${a}/${m}`),
        ),
        eth_type: u(16),
        vlan_vid: fc.oneof(u(12), fc.constantFrom("none" as const, "any" as const)),
        ip_proto: u(8),
        ipv4_dst: fc.oneof(fc.ipV4(), ip4),
        ipv6_src: fc.oneof(fc.ipV6(), ip6),
        metadata: masked64,
        tunnel_id: masked64,
        ipv6_exthdr: fc.oneof(u(16), fc.record({ value: u(16), mask: u(16) })),
        icmpv6_type: u(8),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(matches, (match) => {
        const sent = encodeMatch(match as Match) as Record<string, never>;
        assert.equal(matchKey(decodeMatch(sent)), matchKey(match as Match));
        assert.deepEqual(normalizeMatch(normalizeMatch(match as Match)), normalizeMatch(match as Match));
      }),
      { numRuns: 500 },
    );
  });
});
