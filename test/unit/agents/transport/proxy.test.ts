import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ProxyLayer } from "@topicast/agent/transport/proxy.js";
import { checkSignature, crc32c, headerLength, parseHeader } from "@topicast/agent/transport/proxy-header.js";
import { SimClock } from "@topicast/protocol";
import fc from "../../../property.js";
import { settle } from "../mqtt/harness.js";
import { collect, moved, wrap } from "./support.js";

const SIGNATURE = "0d0a0d0a000d0a515549540a";
const TCP4 = `${SIGNATURE}2111000c c0000207 c0000201 c353 075b`;
const TCP6 = `${SIGNATURE}21210024 20010db8000000000000000000000007 20010db8000000000000000000000001 c353 075b`;

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(" ", ""), "hex");
}

/** A TCP4 header with these vectors, in hexadecimal. */
function withVectors(vectors: string): Buffer {
  const header = hex(`${TCP4}${vectors}`);
  header.writeUInt16BE(header.length - 16, 14);
  return header;
}

function withChecksum(before: string, after: string): Buffer {
  const header = withVectors(`${before}03000400000000${after}`);
  header.writeUInt32BE(crc32c(header), 28 + hex(before).length + 3);
  return header;
}

/** As the layer does it. */
function parse(header: Buffer) {
  const fault = checkSignature(header.subarray(0, 12));
  if (fault !== undefined) return fault;
  const length = headerLength(header.subarray(0, 16));
  return typeof length === "string" ? length : parseHeader(header.subarray(0, length));
}

describe("a PROXY protocol header", () => {
  it("has the checksum of RFC 3720", () => {
    assert.equal(crc32c(Buffer.from("123456789")), 0xe3069283);
    assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
  });

  const read: [what: string, header: Buffer, address: string | undefined][] = [
    ["IPv4", hex(TCP4), "192.0.2.7"],
    ["IPv6", hex(TCP6), "2001:db8::7"],
    [
      "IPv4 in IPv6",
      hex(TCP6.replace("20010db8000000000000000000000007", "00000000000000000000ffffc0000207")),
      "::ffff:192.0.2.7",
    ],
    ["LOCAL", hex(`${SIGNATURE}20000000`), undefined],
    ["LOCAL with a block to be discarded", hex(`${SIGNATURE}20110003 ffffff`), undefined],
    ["UNSPEC", hex(`${SIGNATURE}21000004 01020304`), undefined],
    ["vectors of all kinds", withVectors("040000 0100026832 ee0003aabbcc"), "192.0.2.7"],
    ["a checksum", withChecksum("", ""), "192.0.2.7"],
    ["a checksum among other vectors", withChecksum("0500021234", "040000"), "192.0.2.7"],
    [
      "its longest",
      withVectors(`04${(4096 - 31).toString(16).padStart(4, "0")}${"00".repeat(4096 - 31)}`),
      "192.0.2.7",
    ],
  ];
  for (const [what, header, address] of read) {
    it(`is read: ${what}`, () => {
      const source = address === undefined ? undefined : { address, port: 50_003 };
      assert.deepEqual(parse(header), { source });
    });
  }

  const broken = withChecksum("", "");
  broken[16] = 10;
  const refused: [what: string, header: Buffer, fault: string][] = [
    ["MQTT", hex("101000044d5154540402003c0004746573740000"), "missing_header"],
    ["another version", hex(`${SIGNATURE}31110000`), "malformed"],
    ["an unknown command", hex(`${SIGNATURE}22110000`), "malformed"],
    ["an unknown family", hex(`${SIGNATURE}21410000`), "malformed"],
    ["an unknown transport", hex(`${SIGNATURE}21130000`), "malformed"],
    ["UDP", hex(`${SIGNATURE}2112000c c0000207c0000201c353075b`), "unsupported"],
    ["a UNIX socket", hex(`${SIGNATURE}213100d8${"00".repeat(216)}`), "unsupported"],
    ["IPv4 cut short", hex(`${SIGNATURE}2111000b c0000207c0000201c35307`), "malformed"],
    ["IPv6 with the length of IPv4", hex(`${SIGNATURE}2121000c c0000207c0000201c353075b`), "malformed"],
    ["a vector without its length", withVectors("0400"), "malformed"],
    ["a vector beyond the end", withVectors("04000500"), "malformed"],
    ["a checksum of another length", withVectors("0300020000"), "malformed"],
    ["a wrong checksum", broken, "checksum"],
    [
      "one byte too long",
      withVectors(`04${(4097 - 31).toString(16).padStart(4, "0")}${"00".repeat(4097 - 31)}`),
      "too_long",
    ],
  ];
  for (const [what, header, fault] of refused) {
    it(`is refused: ${what}`, () => assert.equal(parse(header), fault));
  }

  it("is judged without an exception whatever it holds", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 0, maxLength: 80 }),
        fc.constantFrom(0x20, 0x21),
        fc.constantFrom(0, 0x11, 0x21),
        (block, command, family) => {
          const header = Buffer.concat([
            hex(SIGNATURE),
            Buffer.from([command, family, 0, block.length]),
            block,
          ]);
          const result = parse(header);
          assert.ok(
            typeof result === "string" || result.source === undefined || result.source.address !== "",
          );
        },
      ),
    );
  });
});

describe("the PROXY layer", () => {
  it("gives the stream with the proxy's address and not a byte of the header, wherever it was cut", async () => {
    const bytes = Buffer.concat([withChecksum("0500021234", "040000"), Buffer.from("CONNECT")]);
    for (let cut = 1; cut < bytes.length; cut++) {
      const layer = new ProxyLayer();
      const { client, accepted } = wrap([layer]);
      client.write(bytes.subarray(0, cut));
      await settle();
      client.write(bytes.subarray(cut));
      await settle();
      const [stream] = accepted;
      assert.equal(stream?.peer, "192.0.2.7:50003");
      const got = collect(stream);
      client.write(" and more");
      await settle();
      assert.equal(got.bytes().toString(), "CONNECT and more", `cut at ${cut}`);
      assert.deepEqual(moved(layer), { proxy_accepted: 1 });
    }
  });

  it("tells the shortest CONNECT from a header at once", async () => {
    const layer = new ProxyLayer();
    const { client } = wrap([layer]);
    client.write(hex("100c00044d5154540402003c0000"));
    await settle();
    assert.ok(client.destroyed);
    assert.deepEqual(moved(layer), { proxy_missing_header: 1 });
  });

  it("keeps the connection's own address for LOCAL", async () => {
    const { client, accepted } = wrap([new ProxyLayer()]);
    client.write(hex(`${SIGNATURE}20000000`));
    await settle();
    assert.equal(accepted[0]?.peer, "192.0.2.1:50000");
  });

  it("writes IPv6 addresses and IPv4 in IPv6 as every log line does", async () => {
    for (const [bytes, peer] of [
      [TCP6, "[2001:db8::7]:50003"],
      [
        TCP6.replace("20010db8000000000000000000000007", "00000000000000000000ffffc0000207"),
        "192.0.2.7:50003",
      ],
    ] as const) {
      const { client, accepted } = wrap([new ProxyLayer()]);
      client.write(hex(bytes));
      await settle();
      assert.equal(accepted[0]?.peer, peer);
    }
  });

  it("closes what has no header, and tells why", async () => {
    const failures: unknown[] = [];
    const layer = new ProxyLayer({ onFailure: (failure) => failures.push(failure) });
    const { client, accepted } = wrap([layer]);
    client.write("PROXY6 192.0.2.7 192.0.2.1 50003 1883\r\n");
    await settle();
    assert.ok(client.destroyed);
    assert.equal(accepted.length, 0);
    assert.deepEqual(moved(layer), { proxy_missing_header: 1 });
    assert.deepEqual(failures, [
      { peer: "192.0.2.1:50000", counter: "proxy_missing_header", detail: undefined },
    ]);
  });

  it("closes what comes too slowly", async () => {
    const clock = new SimClock();
    const layer = new ProxyLayer({ clock, timeoutMs: 1_000 });
    const { client } = wrap([layer]);
    for (let at = 0; at < 10; at++) {
      client.write(hex(TCP4).subarray(at, at + 1));
      await settle();
      assert.ok(!client.destroyed, `after ${at * 100} ms`);
      clock.advance(100);
    }
    await settle();
    assert.ok(client.destroyed);
    assert.deepEqual(moved(layer), { proxy_timeout: 1 });
    assert.equal(clock.pending, 0);
  });

  it("counts who ends before the header does", async () => {
    for (const cut of [0, 5, 16, 20]) {
      const layer = new ProxyLayer();
      const { client, server } = wrap([layer]);
      client.end(hex(TCP4).subarray(0, cut));
      await settle();
      assert.ok(server.destroyed, `after ${cut} bytes`);
      assert.deepEqual(moved(layer), { proxy_aborted: 1 });
    }
  });

  it("gives up the oldest of too many that say nothing", async () => {
    const clock = new SimClock();
    const layer = new ProxyLayer({ clock, maxHandshakes: 3 });
    const silent = Array.from({ length: 5 }, () => wrap([layer]).client);
    await settle();
    assert.deepEqual(
      silent.map((client) => client.destroyed),
      [true, true, false, false, false],
    );
    assert.deepEqual(moved(layer), { proxy_evicted: 2, proxy_handshakes: 3 });
    const { client, accepted } = wrap([layer]);
    client.write(hex(TCP4));
    await settle();
    assert.equal(accepted.length, 1);
    clock.advance(10_000);
    assert.deepEqual(moved(layer), { proxy_accepted: 1, proxy_evicted: 3, proxy_timeout: 2 });
    assert.equal(clock.pending, 0);
  });
});

describe("a PROXY protocol line", () => {
  const own = "192.0.2.1:50000";
  const longest = `PROXY UNKNOWN ${"f".repeat(107 - 16)}`;
  const read: [line: string, peer: string][] = [
    ["PROXY TCP4 192.0.2.7 192.0.2.1 50003 1883", "192.0.2.7:50003"],
    ["PROXY TCP6 2001:db8:0::7 2001:db8::1 50003 65535", "[2001:db8::7]:50003"],
    ["PROXY TCP6 ::ffff:192.0.2.7 ::1 1 1", "192.0.2.7:1"],
    ["PROXY UNKNOWN", own],
    ["PROXY UNKNOWN ffff:: whatever", own],
    [longest, own],
  ];
  for (const [line, peer] of read) {
    it(`is read, in whatever pieces it comes, and nothing behind it: ${line.slice(0, 50)}`, async () => {
      for (const step of [1, 7, 1_000]) {
        const { client, accepted } = wrap([new ProxyLayer()]);
        const bytes = Buffer.from(`${line}\r\nbehind`);
        for (let at = 0; at < bytes.length; at += step) {
          client.write(bytes.subarray(at, at + step));
          if (step > 1) await settle();
        }
        await settle();
        assert.equal(accepted[0]?.peer, peer);
        assert.equal(accepted[0]?.read()?.toString(), "behind");
      }
    });
  }

  const refused = [
    ["PROXY TCP3 192.0.2.7 192.0.2.1 50003 1883", "malformed"],
    ["PROXY TCP4 ", "malformed"],
    ["PROXY TCP4 192.0.2.7 192.0.2.1 50003", "malformed"],
    ["PROXY TCP4 192.0.2.7 192.0.2.1 50003 1883 1", "malformed"],
    ["PROXY TCP4 192.0.2.7  192.0.2.1 50003 1883", "malformed"],
    ["PROXY TCP4 192.0.2.256 192.0.2.1 50003 1883", "malformed"],
    ["PROXY TCP4 192.0.2.7 192.0.2.256 50003 1883", "malformed"],
    ["PROXY TCP4 192.0.2.7 192.0.2.1 0 1883", "malformed"],
    ["PROXY TCP4 192.0.2.7 192.0.2.1 50003 65536", "malformed"],
    ["PROXY TCP4 2001:db8::7 2001:db8::1 50003 1883", "malformed"],
    ["PROXY TCP6 192.0.2.7 192.0.2.1 50003 1883", "malformed"],
    [`${longest}f`, "too_long"],
  ] as const;
  for (const [line, fault] of refused) {
    it(`is refused: ${line.slice(0, 60)}`, async () => {
      const layer = new ProxyLayer();
      const { client, accepted } = wrap([layer]);
      client.write(`${line}\r\n`);
      await settle();
      assert.ok(client.destroyed);
      assert.equal(accepted.length, 0);
      assert.deepEqual(moved(layer), { [`proxy_${fault}`]: 1 });
    });
  }
});
