import assert from "node:assert/strict";
import { isIPv6, SocketAddress } from "node:net";
import { describe, it } from "node:test";
import {
  addressBytes,
  canonicalAddress,
  compareAddresses,
  formatEndpoint,
  formatIPv4,
  formatIPv6,
  parseEndpoint,
  parseIPv4,
  parseIPv4Endpoint,
  parseIPv6,
} from "@topicast/protocol";
import { normalizeMatch } from "node-ryu-rest-client";
import fc from "../../property.js";

function hex(text: string): string | undefined {
  return parseIPv6(text)?.toString("hex");
}

describe("IPv4 addresses", () => {
  it("survive text and back", () => {
    fc.assert(fc.property(fc.ipV4(), (text) => assert.equal(formatIPv4(parseIPv4(text)!), text)));
  });

  it("are nothing else", () => {
    for (const text of ["1.2.3", "1.2.3.256", "1.2.3.4.5", "a.b.c.d", "", "01.2.3.4", "1.2.3.4 "])
      assert.equal(parseIPv4(text), undefined, text);
  });
});

describe("IPv6 addresses", () => {
  it("are read in every form that RFC 4291 allows", () => {
    assert.equal(hex("::"), "0".repeat(32));
    assert.equal(hex("::1"), `${"0".repeat(31)}1`);
    assert.equal(hex("2001:DB8::8:800:200C:417A"), "20010db80000000000080800200c417a");
    assert.equal(hex("fe80::"), `fe80${"0".repeat(28)}`);
    assert.equal(hex("1:2:3:4:5:6:7::"), "00010002000300040005000600070000");
    assert.equal(hex("::ffff:129.144.52.38"), "00000000000000000000ffff81903426");
    assert.equal(hex("64:ff9b::192.0.2.33"), "0064ff9b0000000000000000c0000221");
  });

  it("are nothing else, and have no zone", () => {
    for (const text of ["", "1.2.3.4", "::1::", "1:2:3:4:5:6:7", "12345::", "::g", "[::1]", "fe80::1%eth0"])
      assert.equal(parseIPv6(text), undefined, text);
  });

  it("are written in the one form of RFC 5952", () => {
    for (const [text, canonical] of [
      ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
      ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
      ["2001:0DB8:AAAA::0001", "2001:db8:aaaa::1"],
      ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
      ["::0:0:1", "::1"],
      ["0:0:0:0:0:0:0:0", "::"],
      ["ff02:0:0:0:0:0:0:0", "ff02::"],
      ["::ffff:c000:201", "::ffff:c000:201"],
    ])
      assert.equal(formatIPv6(parseIPv6(text!)!), canonical);
    assert.equal(formatIPv6(Buffer.concat([Buffer.alloc(3, 9), parseIPv6("fd00::7")!]), 3), "fd00::7");
  });

  it("survive text and back", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 }),
        (groups) => {
          const bytes = Buffer.from(groups.flatMap((group) => [group >> 8, group & 255]));
          const text = formatIPv6(bytes);
          assert(isIPv6(text), text);
          assert.deepEqual(parseIPv6(text), bytes);
          assert.deepEqual(parseIPv6(groups.map((g) => g.toString(16)).join(":")), bytes);
          // Equal texts for equal addresses, also with those whose texts come from elsewhere.
          assert.equal(normalizeMatch({ ipv6_dst: text }).ipv6_dst, text);
          const { address } = new SocketAddress({ address: text, family: "ipv6" });
          if (!address.includes(".")) assert.equal(address, text);
          assert.equal(canonicalAddress(text.toUpperCase()), text);
        },
      ),
    );
  });
});

describe("addresses of both kinds", () => {
  it("have as many bytes as they have", () => {
    assert.equal(addressBytes("192.168.1.250")?.toString("hex"), "c0a801fa");
    assert.equal(addressBytes("fd00::1")?.toString("hex"), "fd000000000000000000000000000001");
    assert.equal(addressBytes("host"), undefined);
    assert.equal(canonicalAddress("1.2.3"), undefined);
  });

  it("stand in order of their numbers, IPv4 first", () => {
    const sorted = ["2.0.0.1", "10.0.0.1", "192.168.1.2", "::2", "fd00::a", "fd00::10"];
    assert.deepEqual(sorted.toReversed().sort(compareAddresses), sorted);
    assert.equal(compareAddresses("fd00::1", "fd00:0::1"), 0);
  });

  it("make endpoints", () => {
    for (const [text, address, port] of [
      ["192.0.2.1:1883", "192.0.2.1", 1883],
      ["[FD00:0::1]:65535", "fd00::1", 65_535],
    ] as const) {
      assert.deepEqual(parseEndpoint(text), { address, port });
      assert.deepEqual(parseEndpoint(formatEndpoint({ address, port })), { address, port });
    }
    for (const bad of [
      "fd00::1:1883",
      "[1.2.3.4]:1",
      "[fd00::1]",
      "[fd00::1%e]:1",
      "1.2.3.4:0",
      "1.2.3.4:65536",
      "1.2.3:1",
    ])
      assert.equal(parseEndpoint(bad), undefined, bad);
    assert.equal(parseIPv4Endpoint("[fd00::1]:1883"), undefined);
  });
});
