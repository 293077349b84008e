import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { parserFor, readCapture } from "@topicast/inspect/read/file.js";
import { PcapngEncoder } from "@topicast/inspect/read/pcapng-writer.js";
import type { CapturedFrame } from "@topicast/inspect/read/record.js";
import { captures } from "./support.js";

function read(bytes: Buffer, size = bytes.length) {
  const frames: CapturedFrame[] = [];
  const damage: string[] = [];
  const parser = parserFor(bytes, {
    onFrame: (frame) => frames.push({ ...frame, bytes: Buffer.from(frame.bytes) }),
    onDamage: (reason) => damage.push(reason),
  });
  assert.ok(parser !== undefined);
  for (let at = 0; at < bytes.length; at += size) parser.push(bytes.subarray(at, at + size));
  parser.end();
  return { frames, damage };
}

function pcap({ big = false, nano = false, frames = 1 }): Buffer {
  const u32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    if (big) bytes.writeUInt32BE(value);
    else bytes.writeUInt32LE(value);
    return bytes;
  };
  const header = [u32(nano ? 0xa1b23c4d : 0xa1b2c3d4), Buffer.alloc(12), u32(65_535), u32(101)];
  const records = Array.from({ length: frames }, (_, i) =>
    Buffer.concat([
      u32(1_700_000_000),
      u32(nano ? 123_456_789 : 123_456),
      u32(3),
      u32(60),
      Buffer.from([i, 2, 3]),
    ]),
  );
  return Buffer.concat([...header, ...records]);
}

for (const big of [false, true]) {
  for (const nano of [false, true]) {
    test(`pcap, ${big ? "big" : "little"}-endian, ${nano ? "nano" : "micro"}seconds`, () => {
      const { frames, damage } = read(pcap({ big, nano, frames: 2 }), 7);
      assert.deepEqual(damage, []);
      assert.equal(frames.length, 2);
      const [frame] = frames;
      assert.equal(frame?.timeUs, 1_700_000_000_123_456);
      assert.equal(frame?.nanos, nano ? 789 : 0);
      assert.equal(frame?.linkType, 101);
      assert.equal(frame?.length, 60);
      assert.deepEqual([...(frame?.bytes ?? [])], [0, 2, 3]);
    });
  }
}

test("what is cut short or impossible is damage, and what is before it is read", () => {
  const whole = pcap({ frames: 3 });
  const cut = read(whole.subarray(0, whole.length - 1));
  assert.equal(cut.frames.length, 2);
  assert.deepEqual(cut.damage, ["the file ends inside a record"]);
  const huge = Buffer.from(whole);
  huge.writeUInt32LE(0x7fffffff, 24 + 19 + 8);
  const stopped = read(huge);
  assert.equal(stopped.frames.length, 1);
  assert.match(stopped.damage[0] ?? "", /record of 2147483647 bytes/);
});

test("pcapng as written here: sections one behind the other, interfaces, nanoseconds", () => {
  const encoder = new PcapngEncoder();
  const frame = (linkType: number, name: string, nanos: number): CapturedFrame => ({
    timeUs: 1_700_000_000_000_001,
    nanos,
    linkType,
    bytes: Buffer.from([1, 2, 3, 4, 5]),
    length: 99,
    interface: name,
  });
  const section = () => [
    encoder.header(),
    encoder.encode(frame(1, "eth0", 7)),
    encoder.encode(frame(113, "any", 8)),
    encoder.encode(frame(1, "eth0", 9)),
  ];
  const first = Buffer.concat(section());
  const { frames, damage } = read(first, 3);
  assert.deepEqual(damage, []);
  assert.deepEqual(
    frames.map(({ linkType, interface: name, nanos, timeUs, length }) => [
      linkType,
      name,
      nanos,
      timeUs,
      length,
    ]),
    [
      [1, "eth0", 7, 1_700_000_000_000_001, 99],
      [113, "any", 8, 1_700_000_000_000_001, 99],
      [1, "eth0", 9, 1_700_000_000_000_001, 99],
    ],
  );
  // A second section has no interfaces of the first.
  const two = read(Buffer.concat([first, encoder.header(), encoder.encode(frame(1, "eth0", 1))]));
  assert.equal(two.frames.length, 3);
  assert.match(two.damage[0] ?? "", /interface 0, which is not described/);
});

test("pcapng, big-endian: if_tsresol of powers of two, if_tsoffset, simple and obsolete packets", () => {
  const u32 = (...values: number[]) => {
    const bytes = Buffer.alloc(4 * values.length);
    for (const [i, value] of values.entries()) bytes.writeUInt32BE(value >>> 0, 4 * i);
    return bytes;
  };
  const block = (type: number, body: Buffer) =>
    Buffer.concat([u32(type, body.length + 12), body, u32(body.length + 12)]);
  const option = (code: number, value: Buffer) =>
    Buffer.concat([u32((code << 16) | value.length), value, Buffer.alloc(-value.length & 3)]);
  const offset = Buffer.alloc(8);
  offset.writeBigInt64BE(1_700_000_000n);
  const bytes = Buffer.concat([
    block(0x0a0d0d0a, u32(0x1a2b3c4d, 0x00010000, -1, -1)),
    block(1, Buffer.concat([u32(101 << 16, 2), option(9, Buffer.from([0x8a])), option(14, offset), u32(0)])),
    block(6, Buffer.concat([u32(0, 0, 512, 1, 1), Buffer.from([9, 0, 0, 0])])),
    block(2, Buffer.concat([u32(0, 0, 1536, 1, 1), Buffer.from([8, 0, 0, 0])])),
    block(3, Buffer.concat([u32(5), Buffer.from([7, 6, 0, 0])])),
  ]);
  const { frames, damage } = read(bytes);
  assert.deepEqual(damage, []);
  assert.deepEqual(
    frames.map(({ timeUs, bytes: [first], length }) => [timeUs, first, length]),
    [
      [1_700_000_000_500_000, 9, 1],
      [1_700_000_001_500_000, 8, 1],
      [1_700_000_000_000_000, 7, 5],
    ],
  );
  assert.equal(frames[2]?.bytes.length, 2, "a simple packet is cut to the snapshot length");
});

test("pcapng: names that the file itself has for addresses", () => {
  const record = (kind: number, value: Buffer) => {
    const head = Buffer.alloc(4);
    head.writeUInt16LE(kind, 0);
    head.writeUInt16LE(value.length, 2);
    return Buffer.concat([head, value, Buffer.alloc(-value.length & 3)]);
  };
  const six = Buffer.from("2a05d014000000000000000000000009", "hex");
  const body = Buffer.concat([
    record(1, Buffer.concat([Buffer.from([3, 120, 0, 1]), Buffer.from("one.example\0two.example\0")])),
    record(3, Buffer.from("some other kind")),
    record(2, Buffer.concat([six, Buffer.from("six.example\0")])),
    record(0, Buffer.alloc(0)),
    record(1, Buffer.from([9, 9, 9, 9, 65, 0])),
  ]);
  const block = Buffer.alloc(12 + body.length);
  block.writeUInt32LE(4, 0);
  block.writeUInt32LE(block.length, 4);
  body.copy(block, 8);
  block.writeUInt32LE(block.length, block.length - 4);
  const names: string[] = [];
  const bytes = Buffer.concat([new PcapngEncoder().header(), block]);
  const parser = parserFor(bytes, {
    onFrame: () => assert.fail(),
    onName: (address, name) => names.push(`${address} ${name}`),
    onDamage: (reason) => assert.fail(reason),
  });
  parser?.push(bytes);
  parser?.end();
  assert.deepEqual(names, ["3.120.0.1 one.example", "3.120.0.1 two.example", "2a05:d014::9 six.example"]);
});

test("gzip: whole, damaged, and files that are no captures", async () => {
  const folder = mkdtempSync(join(tmpdir(), "inspect-"));
  const count = async (bytes: Buffer) => {
    const path = join(folder, "file");
    writeFileSync(path, bytes);
    let frames = 0;
    const damage: string[] = [];
    await readCapture(path, { onFrame: () => (frames += 1), onDamage: (reason) => damage.push(reason) });
    return { frames, damage };
  };
  try {
    const plain = readFileSync(join(captures, "datagrams.pcap"));
    const whole = await count(plain);
    assert.ok(whole.frames > 50);
    const packed = gzipSync(plain);
    assert.deepEqual(await count(packed), whole);
    const cut = await count(packed.subarray(0, packed.length - 500));
    assert.match(cut.damage.join(), /gzip data is damaged/);
    await assert.rejects(count(Buffer.from("hello")), /is no capture/);
    await assert.rejects(count(Buffer.alloc(0)), /is no capture/);
    await assert.rejects(
      readCapture(join(folder, "none"), { onFrame() {}, onDamage() {} }),
      /does not exist/,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
