import assert from "node:assert/strict";
import { test } from "node:test";
import type { CapturedFrame } from "@topicast/inspect/read/record.js";
import type { Row } from "@topicast/inspect/tables/schema.js";
import { inspectFrames, type Rows, readFrames } from "./support.js";

/** What networks do to segments, done to a capture with seeds. */

const SEEDS = 40;
const IP_AT = 14;

/** Numbers 0 ≤ n < 1, the same for the same seed. */
function seeded(seed: number): () => number {
  let state = seed * 2_654_435_761 + 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

interface TcpPart {
  readonly ipv4: boolean;
  readonly tcpAt: number;
  readonly dataAt: number;
  readonly end: number;
  /** Sender and receiver. */
  readonly direction: string;
}

/** Undefined for other packets, and for those that carry no data. */
function tcpOf({ bytes }: CapturedFrame): TcpPart | undefined {
  const ipv4 = bytes[IP_AT]! >> 4 === 4;
  const tcpAt = IP_AT + (ipv4 ? (bytes[IP_AT]! & 15) * 4 : 40);
  if (bytes[IP_AT + (ipv4 ? 9 : 6)] !== 6) return undefined;
  const end = IP_AT + (ipv4 ? bytes.readUInt16BE(IP_AT + 2) : 40 + bytes.readUInt16BE(IP_AT + 4));
  const dataAt = tcpAt + (bytes[tcpAt + 12]! >> 4) * 4;
  if (dataAt >= end) return undefined;
  const hosts = bytes.toString("latin1", IP_AT + (ipv4 ? 12 : 8), IP_AT + (ipv4 ? 20 : 40));
  return { ipv4, tcpAt, dataAt, end, direction: hosts + bytes.readUInt32BE(tcpAt) };
}

/** Bytes `from` to `to` of a segment's data, as a segment. */
function piece(frame: CapturedFrame, tcp: TcpPart, from: number, to: number): CapturedFrame {
  const { bytes: whole } = frame;
  const bytes = Buffer.concat([
    whole.subarray(0, tcp.dataAt),
    whole.subarray(tcp.dataAt + from, tcp.dataAt + to),
  ]);
  const length = bytes.length - IP_AT;
  if (tcp.ipv4) bytes.writeUInt16BE(length, IP_AT + 2);
  else bytes.writeUInt16BE(length - 40, IP_AT + 4);
  bytes.writeUInt32BE((whole.readUInt32BE(tcp.tcpAt + 4) + from) >>> 0, tcp.tcpAt + 4);
  return { ...frame, bytes, length: bytes.length };
}

/** Cuts data into pieces that may overlap, in any order, some twice. */
function shred(frame: CapturedFrame, random: () => number): CapturedFrame[] {
  const tcp = tcpOf(frame);
  if (tcp === undefined) return [frame];
  const size = tcp.end - tcp.dataAt;
  const pieces: CapturedFrame[] = [];
  for (let at = 0; at < size; ) {
    const to = Math.min(size, at + 1 + Math.floor(random() * size));
    const from = random() < 0.3 ? Math.floor(random() * (at + 1)) : at;
    pieces.push(piece(frame, tcp, from, to));
    if (random() < 0.2) pieces.push(piece(frame, tcp, from, to));
    at = to;
  }
  for (let i = pieces.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [pieces[i], pieces[j]] = [pieces[j]!, pieces[i]!];
  }
  return pieces;
}

/** The packets of each stream's directions, without what depends on the frames that brought them. */
function packets(rows: Rows): string[] {
  const by = new Map<string, string[]>();
  for (const row of rows.of("mqtt")) {
    const key = `${row.stream} ${row.from_client}`;
    const list = by.get(key) ?? [];
    by.set(key, list);
    list.push(content(row));
  }
  return [...by].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([key, list]) => [key, ...list]);
}

function content(row: Row<"mqtt">): string {
  const {
    type,
    qos,
    dup,
    retain,
    message_id,
    topic,
    payload,
    filters,
    codes,
    properties,
    client_id,
    handshake,
  } = row;
  const text = payload?.toString("latin1");
  return JSON.stringify([
    type,
    qos,
    dup,
    retain,
    message_id,
    topic,
    text,
    filters,
    codes,
    properties,
    client_id,
    handshake,
  ]);
}

test("segments that are cut, doubled, overlapped and reordered tell the same", () => {
  const frames = readFrames("sessions.pcap");
  const expected = packets(inspectFrames(frames));
  assert.ok(expected.length > 100);
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = seeded(seed);
    const rows = inspectFrames(frames.flatMap((frame) => shred(frame, random)));
    assert.deepEqual(packets(rows), expected, `seed ${seed}`);
    assert.equal(
      rows.of("tcp_streams").reduce((sum, stream) => sum + stream.missing_bytes!, 0),
      0,
    );
  }
});

test("segments that are not in the capture are missed and told; what is read was sent", () => {
  const frames = readFrames("sessions.pcap");
  const whole = inspectFrames(frames);
  const sent = new Set(
    whole.of("mqtt").map(({ topic, payload }) => `${topic} ${payload?.toString("latin1")}`),
  );
  let [lost, read] = [0, 0];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = seeded(seed);
    const dropped: CapturedFrame[] = [];
    const kept = frames.filter((frame) => {
      const drop = tcpOf(frame) !== undefined && random() < 0.05;
      if (drop) dropped.push(frame);
      return !drop;
    });
    const rows = inspectFrames(kept);
    const missing = rows.of("tcp_streams").reduce((sum, stream) => sum + stream.missing_bytes!, 0);
    const gone = dropped.reduce((sum, frame) => {
      const tcp = tcpOf(frame)!;
      return sum + tcp.end - tcp.dataAt;
    }, 0);
    assert.ok(missing <= gone, `seed ${seed}: no more is missed than was dropped`);
    lost += missing;
    if (missing > 0) {
      const told = rows.of("problems").filter(({ reason }) => /not in the capture/.test(reason!));
      assert.ok(told.length > 0, `seed ${seed}: it is told`);
    }
    for (const { type, topic, payload, payload_length } of rows.of("mqtt")) {
      // Without a topic: the packet that set its alias is missing.
      if (type !== "PUBLISH" || topic === undefined || topic === "") continue;
      read += 1;
      // Of one whose middle is missing there are fewer bytes than it had.
      if ((payload?.length ?? 0) < payload_length!) continue;
      const told = `${topic} ${payload?.toString("latin1").slice(0, 40)}`;
      assert.ok(sent.has(`${topic} ${payload?.toString("latin1")}`), `seed ${seed}: ${told}`);
    }
  }
  assert.ok(lost > 1_000 && read > 1_000, `${lost} bytes missed, ${read} messages read`);
});
