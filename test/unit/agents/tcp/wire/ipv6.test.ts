import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatAddress, parseAddress } from "@topicast/agent/tcp/wire/address.js";
import { checksum, fold, sumWords } from "@topicast/agent/tcp/wire/checksum.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Frame } from "@topicast/agent/tcp/wire/frame.js";
import { writeAddress } from "@topicast/agent/tcp/wire/ip.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { ACK, emptySegment, PSH, type Segment, SYN } from "@topicast/agent/tcp/wire/tcp.js";
import fc from "../../../../property.js";
import { cut } from "./cut.js";
import { parsed, SYN6 } from "./linux-frames.js";

const ENDS = {
  localMac: parseMac("02:00:00:00:00:01"),
  remoteMac: parseMac("02:00:00:00:00:02"),
  local: "fd00::1",
  localPort: 1883,
  remote: "2001:db8::2",
  remotePort: 50_123,
};
const TCP_AT = 54;

function written(path: Path, fields: Partial<Segment> = {}): Buffer {
  const out = Buffer.alloc(70_000);
  return out.subarray(0, path.write({ ...emptySegment(), seq: 1, flags: ACK, ...fields }, out));
}

function contentOf(bytes: Buffer, length = bytes.length): string | undefined {
  return new Frame().parse(bytes, length);
}

/** Puts extension headers, given as [type, bytes behind the next-header field], in front of TCP. */
function extended(bytes: Buffer, ...headers: Array<readonly [number, string]>): Buffer {
  const types = [...headers.map(([type]) => type), bytes[20]!];
  const chain = headers.map(([, rest], i) =>
    Buffer.concat([Buffer.from([types[i + 1]!]), Buffer.from(rest, "hex")]),
  );
  const inserted = Buffer.concat(chain);
  const grown = Buffer.concat([bytes.subarray(0, TCP_AT), inserted, bytes.subarray(TCP_AT)]);
  grown[20] = types[0]!;
  grown.writeUInt16BE(bytes.readUInt16BE(18) + inserted.length, 18);
  return grown;
}

describe("an IPv6 frame of Linux", () => {
  it("is taken apart", () => {
    const frame = parsed(SYN6);
    assert.deepEqual(
      [
        formatAddress(frame.source),
        frame.sourcePort,
        formatAddress(frame.destination),
        frame.destinationPort,
      ],
      ["fd78::1", 56_334, "fd79::2", 1885],
    );
    const { seq, flags, window, mss, windowScale, sackPermitted, tsVal } = frame.segment;
    assert.deepEqual(
      [seq >>> 0, flags, window, mss, windowScale, sackPermitted, tsVal >>> 0],
      [0x9085d015, SYN, 43_200, 1440, 9, true, 0x9255d652],
    );
  });

  it("is answered to where it came from", () => {
    const path = Path.replyTo(parsed(SYN6));
    assert.deepEqual([path.local, path.peer], ["[fd79::2]:1885", "[fd78::1]:56334"]);
    const reply = written(path);
    assert.equal(reply.toString("hex", 0, 22), "1e6b7ec6e4632a5edab527b886dd60000000001406" + "40");
    assert.equal(path.key(), parsed(SYN6).key());
    assert.equal(path.key().length, 36);
  });

  it("is dropped when damaged, at any byte of addresses, TCP or payload", () => {
    const whole = written(Path.between(ENDS), { payload: Buffer.from("some payload") });
    for (let i = 22; i < whole.length; i++) {
      const damaged = Buffer.from(whole);
      damaged[i]! ^= 0x10;
      assert.notEqual(contentOf(damaged), undefined, `byte ${i}`);
    }
  });

  it("is dropped when cut short, at any length", () => {
    for (let length = 0; length < SYN6.length; length++) assert.notEqual(contentOf(SYN6, length), undefined);
  });

  it("may be up to 64 KB long, with a checksum left to a network card", () => {
    const payload = Buffer.alloc(65_535 - 20, 7);
    const bytes = written(Path.between(ENDS), { payload });
    assert.equal(bytes.readUInt16BE(18), 65_535);
    const pseudo = sumWords(bytes, 22, TCP_AT) + 6 + bytes.length - TCP_AT;
    bytes.writeUInt16BE(fold(pseudo), TCP_AT + 16);
    assert(parsed(bytes).segment.payload.equals(payload));
    bytes.writeUInt16BE(fold(pseudo) ^ 1, TCP_AT + 16);
    assert.equal(contentOf(bytes), "drop_tcp_checksum");
  });
});

describe("what is no business of TCP over IPv6", () => {
  const whole = () => written(Path.between(ENDS), { payload: Buffer.from("payload") });
  const changed = (change: (ip: Buffer) => void) => {
    const bytes = whole();
    change(bytes.subarray(14));
    return bytes;
  };

  it("is dropped with its reason", () => {
    assert.equal(contentOf(changed((ip) => ip.writeUInt8(0x40, 0))), "drop_ip_header");
    assert.equal(contentOf(changed((ip) => ip.writeUInt16BE(0, 4))), "drop_jumbogram");
    assert.equal(contentOf(changed((ip) => ip.writeUInt16BE(2_000, 4))), "drop_truncated");
    assert.equal(contentOf(changed((ip) => ip.writeUInt16BE(10, 4))), "drop_tcp_header");
    for (const other of [17, 50, 51, 59, 1]) {
      assert.equal(
        contentOf(changed((ip) => ip.writeUInt8(other, 6))),
        "drop_not_tcp",
        `next header ${other}`,
      );
    }
  });

  it("a length of 0 in frames beyond 64 KB too, as BIG TCP has them", () => {
    const big = Buffer.concat([whole(), Buffer.alloc(70_000)]);
    big.writeUInt16BE(0, 18);
    assert.equal(contentOf(big), "drop_jumbogram");
  });

  it("above all from addresses that are no single host's", () => {
    for (const source of ["::", "::1", "ff02::1", "::10.0.0.1", "::ffff:10.0.0.1", ENDS.remote]) {
      const bytes = changed((ip) => writeAddress(ip, 8, parseAddress(source)));
      assert.equal(contentOf(bytes), "drop_source_address", source);
    }
    const link = Path.between({ ...ENDS, local: "fe80::1" });
    assert.equal(parsed(written(link)).segment.flags, ACK, "a link-local address is a host's");
  });
});

describe("extension headers", () => {
  const whole = () => written(Path.between(ENDS), { payload: Buffer.from("payload") });
  const PAD = "0001040000" + "0000";
  const HOP = [0, PAD] as const;
  const OPTIONS = [60, PAD] as const;
  const ROUTING = [43, "00" + "0000" + "00000000"] as const;
  const ATOMIC = [44, "00" + "0000" + "12345678"] as const;

  it("are looked through for TCP, and the connection is the same", () => {
    const key = parsed(whole()).key();
    for (const headers of [[HOP], [OPTIONS], [ROUTING], [ATOMIC], [HOP, OPTIONS, ROUTING, ATOMIC, OPTIONS]]) {
      const frame = parsed(extended(whole(), ...headers));
      assert.equal(frame.key(), key);
      assert.equal(frame.segment.payload.toString(), "payload");
      assert.equal(Path.replyTo(frame).peer, "[fd00::1]:1883");
    }
    // 16 bytes: an option of 10 bytes that is not known and may be skipped, and two of padding.
    const long = [60, `01${"1e0a"}${"ee".repeat(10)}0000`] as const;
    assert.equal(parsed(extended(whole(), long)).key(), key);
  });

  it("are refused where RFC 8200 says so", () => {
    const refused: Array<ReadonlyArray<readonly [number, string]>> = [
      [OPTIONS, HOP],
      [[43, "00" + "0001" + "00000000"]],
      // Options that are not known, whose sender wants the packet discarded: 01, 10, 11 in front.
      [[60, "00" + "4000" + "01020000"]],
      [[60, "00" + "8000" + "01020000"]],
      [[0, "00" + "c2040001" + "0000"]],
      Array.from({ length: 9 }, () => OPTIONS),
    ];
    for (const headers of refused) {
      assert.equal(contentOf(extended(whole(), ...headers)), "drop_ip_extension", JSON.stringify(headers));
    }
    assert.equal(contentOf(extended(whole(), ...Array.from({ length: 8 }, () => OPTIONS))), undefined);
  });

  it("are refused with impossible lengths", () => {
    assert.equal(contentOf(extended(whole(), [60, "ff" + "0104000000" + "00"])), "drop_ip_header");
    assert.equal(contentOf(extended(whole(), [60, "00" + "0105000000" + "00"])), "drop_ip_header");
    assert.equal(contentOf(extended(whole(), [60, "00" + "010300000001"])), "drop_ip_header");
    const cutShort = extended(whole(), OPTIONS);
    cutShort.writeUInt16BE(4, 18);
    assert.equal(contentOf(cutShort), "drop_ip_header");
  });

  it("tell fragments", () => {
    const [first, second] = cut(whole(), [24], 7);
    assert.equal(contentOf(first!), "fragment");
    assert.equal(contentOf(second!), "fragment");
    const udp = Buffer.from(first!);
    udp[TCP_AT] = 17;
    assert.equal(contentOf(udp), "drop_not_tcp");
  });
});

describe("path and frame over IPv6", () => {
  it("give back every segment that was written, whatever the tags", () => {
    const group = fc.nat(0xffff).map((n) => n.toString(16));
    const address = fc
      .array(group, { minLength: 7, maxLength: 7 })
      .map((groups) => `fd00:${groups.join(":")}`);
    fc.assert(
      fc.property(
        fc.record({
          seq: fc.integer(),
          ack: fc.integer(),
          flags: fc.constantFrom(ACK, ACK | PSH, SYN, SYN | ACK),
          window: fc.nat(0xffff),
          payload: fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Buffer.from(bytes)),
        }),
        address,
        fc.nat(0xffff),
        fc.array(fc.nat(4095), { maxLength: 2 }),
        (fields, local, localPort, vlans) => {
          const path = Path.between({ ...ENDS, local, localPort, vlans });
          const frame = parsed(written(path, fields));
          assert.deepEqual({ ...frame.segment }, { ...emptySegment(), ...fields });
          assert.equal(Path.replyTo(frame).key(), frame.key());
          assert.equal(frame.source, parseAddress(local));
          assert(!Path.replyTo(frame).differsFrom(frame));
        },
      ),
    );
  });

  it("do not mix the versions", () => {
    assert.throws(
      () => Path.between({ ...ENDS, remote: "10.0.0.1" }),
      /there is no way from fd00::1 to 10\.0\.0\.1/,
    );
    assert.throws(() => parseAddress("fd00::1%eth0"), /is no IP address/);
  });
});

describe("any bytes", () => {
  it("are taken apart without an exception, mutated frames of both versions", () => {
    const v4 = { ...ENDS, local: "10.0.0.1", remote: "10.0.0.2" };
    const seeds = [
      SYN6,
      written(Path.between(v4), { payload: Buffer.alloc(40) }),
      written(Path.between({ ...ENDS, vlans: [7] }), { payload: Buffer.alloc(40) }),
      extended(written(Path.between(ENDS)), [0, "00010400000000"], [60, "00010400000000"]),
      ...cut(written(Path.between(ENDS), { payload: Buffer.alloc(100) }), [24, 64], 9),
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 6 }),
        fc.nat(140),
        (seed, changes, length) => {
          const bytes = Buffer.concat([seed, Buffer.alloc(140)]).subarray(0, 140);
          for (const [at, value] of changes) bytes[at] = value;
          // Whatever it is, it is that: none of the offsets leaves the frame.
          const frame = new Frame();
          if (frame.parse(bytes, length) === undefined) assert(frame.end <= length);
        },
      ),
      { numRuns: 5_000 },
    );
  });
});

describe("checksums of IPv6 frames that are written", () => {
  it("are those of the pseudo-header of RFC 8200", () => {
    const bytes = written(Path.between(ENDS), { payload: Buffer.from("odd") });
    const pseudo = Buffer.alloc(40);
    bytes.copy(pseudo, 0, 22, TCP_AT);
    pseudo.writeUInt32BE(bytes.length - TCP_AT, 32);
    pseudo.writeUInt32BE(6, 36);
    const told = bytes.readUInt16BE(TCP_AT + 16);
    bytes.writeUInt16BE(0, TCP_AT + 16);
    assert.equal(checksum(sumWords(pseudo, 0, 40) + sumWords(bytes, TCP_AT, bytes.length)), told);
  });
});
