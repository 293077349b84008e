import assert from "node:assert/strict";
import { test } from "node:test";
import { Inspector } from "@topicast/inspect";
import { decodeMqtt } from "@topicast/inspect/decode/mqtt.js";
import mqtt, { type Packet } from "mqtt-packet";
import { inspectFrames, Rows } from "./support.js";
import { end, Wire } from "./wire.js";

const CLIENT = { address: [10, 0, 0, 2], port: 40_000 };
const SERVER = { address: [10, 0, 0, 1], port: 1883 };

/** A TCP conversation, frame by frame. */
class Talk {
  readonly rows = new Rows();
  readonly inspector = new Inspector(this.rows);
  private timeUs = 1_700_000_000_000_000;
  private readonly seq = { up: 1_000, down: 5_000 };

  constructor(private readonly version: 3 | 4 | 5 = 4) {}

  /** Sends in segments of `size`; `lost` of them are not captured. */
  send(side: "up" | "down", packets: readonly Packet[], { size = 1460, lost = [] as number[] } = {}): this {
    const bytes = Buffer.concat(
      packets.map((packet) => mqtt.generate(packet, { protocolVersion: this.version })),
    );
    for (let at = 0, i = 0; at < bytes.length; at += size, i++) {
      const part = bytes.subarray(at, at + size);
      if (!lost.includes(i)) this.frame(side, 0x18, part);
      this.seq[side] += part.length;
    }
    return this;
  }

  wait(seconds: number): this {
    this.timeUs += seconds * 1_000_000;
    return this;
  }

  flags(side: "up" | "down", flags: number): this {
    this.frame(side, flags, Buffer.alloc(0));
    if (flags & 3) this.seq[side] += 1;
    return this;
  }

  end(): Rows {
    this.inspector.end();
    return this.rows;
  }

  private frame(side: "up" | "down", flags: number, payload: Buffer): void {
    const [from, to] = side === "up" ? [CLIENT, SERVER] : [SERVER, CLIENT];
    const bytes = Buffer.alloc(40);
    bytes[0] = 0x45;
    bytes.writeUInt16BE(40 + payload.length, 2);
    bytes[9] = 6;
    bytes.set(from.address, 12);
    bytes.set(to.address, 16);
    bytes.writeUInt16BE(from.port, 20);
    bytes.writeUInt16BE(to.port, 22);
    bytes.writeUInt32BE(this.seq[side], 24);
    bytes.writeUInt32BE(this.seq[side === "up" ? "down" : "up"], 28);
    bytes[32] = 0x50;
    bytes[33] = flags;
    this.timeUs += 1_000;
    const whole = Buffer.concat([bytes, payload]);
    const common = { nanos: 0, linkType: 101, interface: undefined };
    this.inspector.onFrame({ ...common, timeUs: this.timeUs, bytes: whole, length: whole.length });
  }
}

const connect = (clientId: string, more: object = {}): Packet =>
  ({
    cmd: "connect",
    clientId,
    clean: true,
    keepalive: 10,
    protocolId: "MQTT",
    protocolVersion: 4,
    ...more,
  }) as Packet;
const connack = { cmd: "connack", returnCode: 0, reasonCode: 0, sessionPresent: false } as Packet;
const publish = (topic: string, payload: string, qos = 0, messageId = 1): Packet =>
  ({ cmd: "publish", topic, payload, qos, messageId, dup: false, retain: false }) as Packet;
const subscribe = (filters: string[], messageId = 1): Packet =>
  ({ cmd: "subscribe", messageId, subscriptions: filters.map((topic) => ({ topic, qos: 1 })) }) as Packet;
const suback = (granted: number[], messageId = 1): Packet =>
  ({ cmd: "suback", messageId, granted, reasonCode: 0 }) as Packet;

test("packets over segments of any size, several in one, give the same rows", () => {
  const rowsOf = (size: number) =>
    new Talk()
      .flags("up", 0x02)
      .flags("down", 0x12)
      .send("up", [connect("c"), subscribe(["a/+", "b"]), publish("t", "x".repeat(300)), publish("u", "")], {
        size,
      })
      .send("down", [connack, suback([1, 128]), publish("a/b", "y")], { size })
      .end()
      .of("mqtt")
      .map(({ type, topic, payload_length, filters, codes }) => [
        type,
        topic,
        payload_length,
        filters,
        codes,
      ]);
  const whole = rowsOf(10_000);
  assert.equal(whole.length, 7);
  for (const size of [1, 2, 3, 7, 100]) assert.deepEqual(rowsOf(size), whole, `size ${size}`);
});

test("a missing segment inside a payload leaves the packet's length known; later packets are read", () => {
  const rows = new Talk()
    .send("up", [connect("c"), publish("t", "x".repeat(500)), publish("u", "next")], { size: 100, lost: [3] })
    .end();
  assert.deepEqual(
    rows.of("mqtt").map(({ type, topic, payload_length }) => [type, topic, payload_length]),
    [
      ["CONNECT", undefined, undefined],
      ["PUBLISH", "t", 500],
      ["PUBLISH", "u", 4],
    ],
  );
  assert.match(
    rows
      .of("problems")
      .map(({ reason }) => reason)
      .join(),
    /not wholly in the capture/,
  );
  assert.equal(rows.of("tcp_streams")[0]?.missing_bytes, 100);
});

test("without CONNECT the version is judged by the packets, and marked", () => {
  const five = new Talk(5).send("up", [publish("a", "1"), subscribe(["x/#"])]).end();
  assert.deepEqual(
    five.of("mqtt").map((row) => [row.version, row.version_inferred, row.payload?.toString()]),
    [
      ["5", true, "1"],
      ["5", true, undefined],
    ],
  );
  const old = new Talk(4)
    .send("down", [publish("a", "1")])
    .send("up", [subscribe(["x/#"])])
    .end();
  assert.deepEqual(
    old.of("mqtt").map((row) => [row.version, row.from_client, row.payload?.toString()]),
    [
      ["3.1.1", false, "1"],
      ["3.1.1", true, undefined],
    ],
  );
});

test("handshakes: complete with their time, incomplete, refused", () => {
  const rows = new Talk(5)
    .send("up", [connect("c", { protocolVersion: 5 })])
    .send("down", [connack])
    .send("up", [
      publish("a", "1", 1, 1),
      publish("a", "2", 2, 2),
      publish("a", "3", 1, 3),
      publish("a", "4", 2, 4),
    ])
    .send("down", [
      { cmd: "puback", messageId: 1, reasonCode: 0 },
      { cmd: "pubrec", messageId: 2, reasonCode: 0 },
    ])
    .send("up", [{ cmd: "pubrel", messageId: 2, reasonCode: 0 }])
    .send("down", [
      { cmd: "pubcomp", messageId: 2, reasonCode: 0 },
      { cmd: "pubrec", messageId: 4, reasonCode: 0x87 },
    ])
    .end();
  assert.deepEqual(
    rows
      .of("mqtt")
      .filter(({ type }) => type === "PUBLISH")
      .map((row) => [row.message_id, row.handshake, row.ack_ms]),
    [
      [1, "complete", 1],
      [2, "complete", 3],
      [3, "incomplete", undefined],
      [4, "refused", 3],
    ],
  );
});

test("sessions: which subscription a delivery is due to, until it ends; refused ones bring nothing", () => {
  const rows = new Talk()
    .send("up", [connect("c"), subscribe(["a/+", "a/#", "secret"], 9)])
    .send("down", [connack, suback([1, 1, 128], 9), publish("a/b", "1")])
    .send("up", [{ cmd: "unsubscribe", messageId: 10, unsubscriptions: ["a/+"] }])
    .send("down", [{ cmd: "unsuback", messageId: 10, granted: [] } as unknown as Packet, publish("a/b", "2")])
    .send("down", [publish("secret", "3")])
    .end();
  assert.deepEqual(
    rows
      .of("mqtt_deliveries")
      .map((row) => [row.topic, row.filter, row.subscribe_message_id, row.matches, row.certain]),
    [
      ["a/b", "a/+", 9, 2, false],
      ["a/b", "a/#", 9, 2, false],
      ["a/b", "a/#", 9, 1, true],
      ["secret", undefined, undefined, 0, false],
    ],
  );
  assert.deepEqual(
    rows.of("mqtt_subscriptions").map((row) => [row.filter, row.granted, row.end]),
    [
      ["a/+", 1, "unsubscribe"],
      ["a/#", 1, undefined],
      ["secret", 128, undefined],
    ],
  );
});

test("keep-alive exceeded, and the will due when the connection just ends", () => {
  const will = { topic: "w", payload: Buffer.from("gone"), qos: 1, retain: false };
  const rows = new Talk()
    .flags("up", 0x02)
    .flags("down", 0x12)
    .send("up", [connect("c", { will })])
    .send("down", [connack])
    .wait(16)
    .flags("up", 0x11)
    .flags("down", 0x11)
    .end();
  const [row] = rows.of("mqtt_connections");
  assert.equal(row?.end, "closed");
  assert.equal(row?.will_due, true);
  assert.equal(row?.keep_alive_exceeded, true);
  assert.ok(row!.longest_silence_s! > 16);
  const polite = new Talk().send("up", [connect("c", { will }), { cmd: "disconnect" } as Packet]).end();
  assert.equal(polite.of("mqtt_connections")[0]?.will_due, false);
});

test("a will that the server waits with is due, unless the client goes on with its session in time", () => {
  const due = (wait: number, clean: boolean) => {
    const wire = new Wire();
    const server = end("10.0.0.1", 1883);
    const will = { topic: "w", payload: Buffer.from("gone"), qos: 0, properties: { willDelayInterval: 30 } };
    const first = { will, properties: { sessionExpiryInterval: 60 } };
    wire.tcp(end("10.0.0.2", 40_000), server, 5).connect("c", first).reset("up");
    wire.wait(wait);
    wire.tcp(end("10.0.0.2", 40_001), server, 5).connect("c", { clean, properties: first.properties });
    const rows = inspectFrames(wire.frames).of("mqtt_connections");
    assert.deepEqual(
      rows.map((row) => row.end),
      ["reset", undefined],
    );
    return rows[0]?.will_due;
  };
  assert.equal(due(29, false), false);
  assert.equal(due(31, false), true);
  assert.equal(due(29, true), true, "a clean start ends the session, and with it the waiting");
});

test("malformed packets are named, and what stands before the fault is read", () => {
  const bytes = Buffer.from("360800017400014869", "hex");
  const packet = decodeMqtt(Buffer.from("36070001740001486900".slice(0, 18), "hex"), 9, 4);
  assert.deepEqual([packet.topic, packet.qos, packet.id], ["t", 3, 1]);
  assert.match(packet.problems.join(), /QoS 3/);
  assert.equal(bytes.length, 9);
  const cases: [hex: string, version: 4 | 5, problem: RegExp][] = [
    ["8206000100036123", 4, /topic filter is missing|options|past the end/],
    ["820400010000", 4, /topic filter is empty/],
    ["82020001", 4, /no topic filter/],
    ["30050003612f2b", 4, /topic holds the wildcard \+/],
    ["3006000161022600", 5, /user_property/],
    ["30050001610163", 5, /unknown property 99|runs past/],
    ["60020001", 4, /flags 0, must be 2/],
    ["40020000", 4, /packet identifier 0/],
    ["40030001ff", 4, /bytes after the end/],
    ["f000", 4, /AUTH before MQTT 5/],
    ["0000", 4, /packet type 0/],
    ["d00100", 4, /bytes after the end of a ping/],
  ];
  for (const [hex, version, problem] of cases) {
    const wrong = decodeMqtt(Buffer.from(hex, "hex"), hex.length / 2, version);
    assert.match(wrong.problems.join("; "), problem, hex);
  }
});

test("a hole before the first byte that is there: packets are found behind it", () => {
  const rows = new Talk()
    .flags("up", 0x02)
    .flags("down", 0x12)
    .send("up", [connect("c"), publish("t", "lost")], { lost: [0] })
    .send("down", [connack])
    .send("up", [publish("t", "found")])
    .end();
  assert.deepEqual(
    rows
      .of("mqtt")
      .filter(({ type }) => type === "PUBLISH")
      .map(({ payload }) => payload?.toString()),
    ["found"],
  );
});

test("a first segment that is too short to tell is no reason to miss the rest", () => {
  const rows = new Talk()
    .flags("up", 0x02)
    .send("up", [{ cmd: "pingreq" } as Packet], { size: 1 })
    .end();
  assert.deepEqual(
    rows.of("mqtt").map(({ type }) => type),
    ["PINGREQ"],
  );
  assert.equal(rows.of("mqtt_connections").length, 1);
});
