import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatAddress, parseAddress } from "@topicast/agent/tcp/wire/address.js";
import { checksum, fold, sumWords } from "@topicast/agent/tcp/wire/checksum.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Frame } from "@topicast/agent/tcp/wire/frame.js";
import { writeAddress } from "@topicast/agent/tcp/wire/ip.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { seqAdd, seqAfter, seqBefore, seqDiff } from "@topicast/agent/tcp/wire/sequence.js";
import { ACK, emptySegment, FIN, PSH, type Segment, SYN } from "@topicast/agent/tcp/wire/tcp.js";
import fc from "../../../../property.js";

/** Linux 6: SYN with MSS 1460, SACK permitted, timestamps, window scale 10; its checksum left to the network card. */
const LINUX_SYN =
  "eaa7d53386869a023fd06c2708004500003c7dc240004006a85d0a4d00020a4d0001" +
  "ba76075bd3943bff00000000a002faf014cb0000020405b40402080ad6ad1dff000000000103030a";

function frameOf(hex: string): Buffer {
  return Buffer.from(hex, "hex");
}

function parsed(bytes: Buffer): Frame {
  const frame = new Frame();
  assert.equal(frame.parse(bytes, bytes.length), undefined);
  return frame;
}

function faultOf(bytes: Buffer): string | undefined {
  return new Frame().parse(bytes, bytes.length);
}

const ENDS = {
  localMac: parseMac("02:00:00:00:00:01"),
  remoteMac: parseMac("02:00:00:00:00:02"),
  local: "192.168.1.101",
  localPort: 1883,
  remote: "192.168.1.102",
  remotePort: 50_123,
};

function segmentOf(fields: Partial<Segment>): Segment {
  return { ...emptySegment(), seq: 1, flags: ACK, ...fields };
}

function written(path: Path, segment: Segment): Buffer {
  const out = Buffer.alloc(70_000);
  return out.subarray(0, path.write(segment, out));
}

describe("sequence numbers", () => {
  it("compare across the wrap and the sign bit", () => {
    assert(seqBefore(-1, 0) && seqAfter(0, -1));
    assert(seqBefore(0x7fffffff, -0x80000000));
    assert.equal(seqAdd(0x7fffffff, 1), -0x80000000);
    assert.equal(seqDiff(-0x80000000, 0x7fffffff), 1);
  });

  it("hold for any two numbers less than 2^31 apart", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 0x7fffffff }), (base, distance) => {
        const later = seqAdd(base | 0, distance);
        assert(seqAfter(later, base | 0) && seqBefore(base | 0, later));
        assert.equal(seqDiff(later, base | 0), distance);
      }),
    );
  });
});

describe("Internet checksum", () => {
  it("gives the result of RFC 1071's example", () => {
    const bytes = Buffer.from("0001f203f4f5f6f7", "hex");
    assert.equal(fold(sumWords(bytes, 0, 8)), 0xddf2);
    assert.equal(checksum(sumWords(bytes, 0, 8)), 0x220d);
  });

  it("is the same by byte loop and by view, for any part of a buffer", () => {
    const slow = (bytes: Buffer, start: number, end: number) => {
      let sum = 0;
      for (let i = start; i < end; i++) sum += (i - start) % 2 === 0 ? bytes[i]! * 256 : bytes[i]!;
      return sum;
    };
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 600, maxLength: 900 }),
        fc.nat(300),
        fc.nat(300),
        (bytes, start, end) => {
          const buffer = Buffer.from(bytes);
          assert.equal(fold(sumWords(buffer, start, 600 - end)), fold(slow(buffer, start, 600 - end)));
        },
      ),
    );
  });

  it("folds 64 KB of ones", () => {
    assert.equal(fold(sumWords(Buffer.alloc(65_534, 0xff), 0, 65_534)), 0xffff);
  });
});

describe("a frame of Linux", () => {
  it("is taken apart", () => {
    const { segment, ...frame } = parsed(frameOf(LINUX_SYN));
    assert.equal(formatAddress(frame.source), "10.77.0.2");
    assert.equal(formatAddress(frame.destination), "10.77.0.1");
    assert.deepEqual([frame.sourcePort, frame.destinationPort], [47_734, 1883]);
    assert.equal(segment.seq >>> 0, 3549707263);
    assert.deepEqual(
      { ...segment, seq: 0, payload: segment.payload.length },
      {
        seq: 0,
        ack: 0,
        flags: SYN,
        window: 64_240,
        mss: 1460,
        windowScale: 10,
        timestamps: true,
        tsVal: 0xd6ad1dff | 0,
        tsEcr: 0,
        sackPermitted: true,
        sacks: [],
        payload: 0,
      },
    );
  });

  it("is answered to where it came from", () => {
    const reply = written(Path.replyTo(parsed(frameOf(LINUX_SYN))), segmentOf({}));
    assert.equal(reply.toString("hex", 0, 14), "9a023fd06c27eaa7d53386860800");
    const { source, destination, sourcePort, destinationPort } = parsed(reply);
    assert.deepEqual(
      [formatAddress(source), sourcePort, formatAddress(destination), destinationPort],
      ["10.77.0.1", 1883, "10.77.0.2", 47_734],
    );
  });

  it("is dropped when damaged, at any byte that a checksum covers", () => {
    const whole = written(Path.between(ENDS), segmentOf({ payload: Buffer.from("some payload") }));
    for (let i = 14; i < whole.length; i++) {
      const damaged = Buffer.from(whole);
      damaged[i]! ^= 0x10;
      assert.notEqual(faultOf(damaged), undefined, `byte ${i}`);
    }
  });

  it("is dropped when cut short, at any length", () => {
    const whole = frameOf(LINUX_SYN);
    for (let length = 0; length < whole.length; length++) {
      assert.notEqual(new Frame().parse(whole, length), undefined, `length ${length}`);
    }
  });

  it("may carry padding of a short Ethernet frame", () => {
    const short = written(Path.between(ENDS), segmentOf({ payload: Buffer.from("abc") }));
    const padded = Buffer.concat([short, Buffer.alloc(60 - short.length, 0xee)]);
    assert.equal(parsed(padded).segment.payload.toString(), "abc");
  });
});

describe("what is no business of TCP", () => {
  const whole = () => written(Path.between(ENDS), segmentOf({ payload: Buffer.from("payload") }));
  /** Changes the IP header and mends its checksum. */
  function withIp(change: (ip: Buffer) => void): Buffer {
    const bytes = whole();
    const ip = bytes.subarray(14, 34);
    change(ip);
    ip.writeUInt16BE(0, 10);
    ip.writeUInt16BE(checksum(sumWords(ip, 0, 20)), 10);
    return bytes;
  }

  it("is dropped with its reason", () => {
    assert.equal(
      faultOf(Buffer.concat([whole().subarray(0, 12), Buffer.from("0806", "hex"), whole()])),
      "drop_not_ip",
    );
    assert.equal(faultOf(withIp((ip) => ip.writeUInt16BE(0x2000, 6))), "fragment");
    assert.equal(faultOf(withIp((ip) => ip.writeUInt16BE(0x0001, 6))), "fragment");
    assert.equal(faultOf(withIp((ip) => ip.writeUInt8(17, 9))), "drop_not_tcp");
    assert.equal(faultOf(withIp((ip) => ip.writeUInt8(0x65, 0))), "drop_ip_header");
    assert.equal(faultOf(withIp((ip) => ip.writeUInt8(0x44, 0))), "drop_ip_header");
    assert.equal(faultOf(withIp((ip) => ip.writeUInt16BE(10, 2))), "drop_ip_header");
    assert.equal(faultOf(withIp((ip) => ip.writeUInt16BE(30, 2))), "drop_tcp_header");
    assert.equal(faultOf(withIp((ip) => ip.writeUInt16BE(2000, 2))), "drop_truncated");
  });

  it("above all from addresses that are no single host's", () => {
    for (const source of ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.168.1.102"]) {
      const bytes = withIp((ip) => writeAddress(ip, 12, parseAddress(source)));
      assert.equal(faultOf(bytes), "drop_source_address", source);
    }
    const group = whole();
    group[6]! |= 1;
    assert.equal(faultOf(group), "drop_ethernet");
  });

  it("or with options whose lengths are impossible", () => {
    for (const options of ["02000000", "02050000", "03010000", "01010102", "020405b4010101ff".slice(0, 16)]) {
      const bytes = whole();
      const tcp = bytes.subarray(34);
      tcp[12] = (5 + options.length / 8) << 4;
      const grown = Buffer.concat([bytes.subarray(0, 54), Buffer.from(options, "hex"), bytes.subarray(54)]);
      mend(grown);
      assert.equal(faultOf(grown), "drop_tcp_header", options);
    }
  });

  it("or with a data offset outside of the segment", () => {
    for (const offset of [0, 4, 15]) {
      const bytes = whole();
      bytes[46] = offset << 4;
      mend(bytes);
      assert.equal(faultOf(bytes), "drop_tcp_header", String(offset));
    }
  });
});

/** Sets IP length and both checksums of an untagged frame. */
function mend(bytes: Buffer): void {
  bytes.writeUInt16BE(bytes.length - 14, 16);
  bytes.writeUInt16BE(0, 24);
  bytes.writeUInt16BE(checksum(sumWords(bytes, 14, 34)), 24);
  bytes.writeUInt16BE(0, 50);
  const pseudo = sumWords(bytes, 26, 34) + 6 + (bytes.length - 34);
  bytes.writeUInt16BE(checksum(pseudo + sumWords(bytes, 34, bytes.length)), 50);
}

describe("checksums left to a network card", () => {
  /** As a local veth delivers it: the field holds the folded pseudo-header sum. */
  function unfinished(bytes: Buffer): Buffer {
    bytes.writeUInt16BE(fold(sumWords(bytes, 26, 34) + 6 + (bytes.length - 34)), 50);
    return bytes;
  }

  it("are accepted, also in frames of 64 KB", () => {
    const payload = Buffer.alloc(65_495, 7);
    const bytes = unfinished(written(Path.between(ENDS), segmentOf({ payload })));
    assert.equal(bytes.length, 65_549);
    assert(parsed(bytes).segment.payload.equals(payload));
  });

  it("are told from wrong ones", () => {
    const bytes = unfinished(written(Path.between(ENDS), segmentOf({ payload: Buffer.from("payload") })));
    bytes.writeUInt16BE(bytes.readUInt16BE(50) + 1, 50);
    assert.equal(faultOf(bytes), "drop_tcp_checksum");
  });
});

describe("VLAN tags", () => {
  it("are kept in the reply, none, one or two", () => {
    for (const vlans of [[], [7], [100, 7]]) {
      const request = written(Path.between({ ...ENDS, vlans }), segmentOf({ flags: SYN, mss: 1460 }));
      assert.equal(request.length, 58 + 4 * vlans.length);
      const path = Path.replyTo(parsed(request));
      assert.equal(path.peer, "192.168.1.101:1883");
      assert.equal(path.local, "192.168.1.102:50123");
      const reply = written(path, segmentOf({}));
      assert.equal(
        reply.toString("hex", 12, 14 + 4 * vlans.length),
        request.toString("hex", 12, 14 + 4 * vlans.length),
      );
      assert.equal(parsed(reply).segment.flags, ACK);
    }
  });

  it("beyond two are dropped, as are frames that end within one", () => {
    const tagged = written(Path.between({ ...ENDS, vlans: [1, 2] }), segmentOf({}));
    const thrice = Buffer.concat([
      tagged.subarray(0, 12),
      Buffer.from("88a80003", "hex"),
      tagged.subarray(12),
    ]);
    assert.equal(faultOf(thrice), "drop_ethernet");
    assert.equal(faultOf(tagged.subarray(0, 17)), "drop_ethernet");
  });

  it("tell a path from another", () => {
    const frame = parsed(written(Path.between(ENDS), segmentOf({})));
    const path = Path.replyTo(frame);
    assert(!path.differsFrom(frame));
    assert(path.differsFrom(parsed(written(Path.between({ ...ENDS, vlans: [7] }), segmentOf({})))));
    const moved = { ...ENDS, localMac: parseMac("02:00:00:00:00:09") };
    assert(path.differsFrom(parsed(written(Path.between(moved), segmentOf({})))));
  });
});

describe("path and frame", () => {
  it("give back every segment that was written", () => {
    fc.assert(
      fc.property(
        fc.record({
          seq: fc.integer(),
          ack: fc.integer(),
          flags: fc.constantFrom(ACK, ACK | PSH, SYN, SYN | ACK, FIN | ACK),
          window: fc.nat(0xffff),
          payload: fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Buffer.from(bytes)),
        }),
        // What fits into 40 bytes: the options of a SYN, or those of a segment with blocks.
        fc.oneof(
          fc.record({
            mss: fc.nat(0xffff),
            windowScale: fc.integer({ min: -1, max: 14 }),
            sackPermitted: fc.boolean(),
          }),
          fc.record({
            sacks: fc.array(fc.integer(), { maxLength: 6 }).filter((edges) => edges.length % 2 === 0),
          }),
        ),
        fc.option(fc.record({ tsVal: fc.integer(), tsEcr: fc.integer() }), { nil: undefined }),
        fc.ipV4().filter((ip) => !/^(0|127|22[4-9]|2[3-5]\d)\./.test(ip)),
        fc.nat(0xffff),
        (fields, options, echo, local, localPort) => {
          fc.pre(local !== ENDS.remote);
          const segment = {
            ...emptySegment(),
            ...fields,
            ...options,
            timestamps: echo !== undefined,
            ...echo,
          };
          const path = Path.between({ ...ENDS, local, localPort });
          const frame = parsed(written(path, segment));
          assert.deepEqual({ ...frame.segment }, { ...segment });
          assert.equal(Path.replyTo(frame).peer, `${local}:${localPort}`);
          assert.equal(Path.replyTo(frame).key(), frame.key());
        },
      ),
    );
  });

  it("find the same connection when the sender uses IP options", () => {
    const plain = written(Path.between(ENDS), segmentOf({ payload: Buffer.from("x") }));
    const optioned = Buffer.concat([
      plain.subarray(0, 34),
      Buffer.from("01010100", "hex"),
      plain.subarray(34),
    ]);
    optioned[14] = 0x46;
    optioned.writeUInt16BE(optioned.length - 14, 16);
    optioned.writeUInt16BE(0, 24);
    optioned.writeUInt16BE(checksum(sumWords(optioned, 14, 38)), 24);
    assert.equal(parsed(optioned).key(), parsed(plain).key());
    assert.equal(parsed(optioned).segment.payload.toString(), "x");
  });

  it("refuse malformed addresses", () => {
    for (const text of ["1.2.3", "1.2.3.256", "1.2.3.4.5", "a.b.c.d", ""])
      assert.throws(() => parseAddress(text), RangeError);
    for (const text of ["02:00:00:00:00", "02:00:00:00:00:0g", "02-00-00-00-00-01"])
      assert.throws(() => parseMac(text), RangeError);
  });
});
