import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Inspection, inspectFiles } from "@topicast/inspect";
import { PcapngEncoder } from "@topicast/inspect/read/pcapng-writer.js";
import { coap, end, publish, sn, Wire } from "./wire.js";

/**
 * Questions as people ask them of a capture of a laptop that talks to public and to its own servers, each one line of SQL.
 * The answers are known by how the capture is made; what real captures have to mislead is in it, and said where it is.
 */

const LAPTOP = "192.168.1.10";
const [HIVE_1, HIVE_2, HIVE_SIX] = ["3.120.0.1", "3.120.0.2", "2a05:0:0:1::9"];
const MOSQUITTO = "5.196.78.28";
const COAP_ME = "134.102.218.18";
const LOCAL = "127.0.0.1";
const BROKER = end(LOCAL, 1883);
/** 16:16 in Milan. */
const AFTERNOON_US = Date.UTC(2024, 2, 12, 15, 16) * 1000;

function subscribers(wire: Wire): void {
  wire.resolve(LAPTOP, ["broker.hivemq.com", "lb.hivemq.example", "mqtt-dashboard.com"], [HIVE_1, HIVE_2]);
  wire.resolve(LAPTOP, ["broker.hivemq.com"], [HIVE_SIX]);
  const first = wire.tcp(end(LAPTOP, 40_001), end(HIVE_1, 1883)).connect("sensor-a");
  first.subscribe(1, "hospital/+/area0", "plain").subscribe(2, "#");
  wire.tcp(end(LAPTOP, 40_002), end(HIVE_2, 1883), 5).connect("tablet").subscribe(1, "hospital/room2/+");
  // No client ids: two clients, not one.
  wire.tcp(end(LAPTOP, 40_003), end(HIVE_1, 1883)).connect("").subscribe(1, "factory/+/x");
  wire
    .tcp(end(LAPTOP, 40_004), end(HIVE_1, 1883))
    .connect("")
    .subscribe(1, "factory/+/x", "hospital/+/area1");
  // Once more, at another address of the same server, after somebody has asked for the address by another name.
  wire.resolve("192.168.1.11", ["mqtt-dashboard.com"], [HIVE_2, HIVE_1]);
  first.up({ cmd: "disconnect" }).close();
  wire.tcp(end(LAPTOP, 40_011), end(HIVE_2, 1883)).connect("sensor-a").subscribe(1, "hospital/+/area0");
  const six = wire.tcp(end("2001:db8::7", 40_005), end(HIVE_SIX, 1883), 5).connect("six");
  six.subscribe(1, "building/#", "$SYS/#");
  // The same at other brokers.
  wire.tcp(end(LOCAL, 40_006), BROKER).connect("sensor-a").subscribe(1, "+/x");
  // Asked for only after it was used, as where the name was still known.
  wire.tcp(end(LAPTOP, 40_007), end(MOSQUITTO, 1883)).connect("mosq").subscribe(1, "hospital/+/area0");
  wire.resolve(LAPTOP, ["test.mosquitto.org"], [MOSQUITTO]);
}

const will = (topic: string, payload = "gone") => ({
  will: { topic, payload: Buffer.from(payload), qos: 0, retain: true },
});

function wills(wire: Wire): void {
  const TOPIC = "university/dep12/room1";
  const local = (port: number) => wire.tcp(end(LOCAL, port), BROKER);
  const exact = [
    local(41_001).connect("exact-1").subscribe(1, TOPIC),
    local(41_002).connect("exact-2").subscribe(1, TOPIC),
  ];
  const wild = local(41_003).connect("wild").subscribe(1, "university/#");
  const everyone = [...exact, wild];
  // The words of the will, published before by somebody.
  const other = local(41_004).connect("other").up(publish(TOPIC, "gone"));
  for (const each of everyone) each.down(publish(TOPIC, "gone"));
  const dying = local(41_010).connect("dying", will(TOPIC));
  // Same will, orderly end: not sent.
  local(41_011).connect("polite", will(TOPIC)).up({ cmd: "disconnect" }).close();
  wire.wait(1);
  // The machine is gone; the broker gives it up, and nobody answers.
  dying.fin("down").fin("down");
  for (const each of everyone) each.down(publish(TOPIC, "gone"));
  // The will is retained: who comes later gets it, too.
  local(41_005)
    .connect("late")
    .subscribe(1, TOPIC)
    .down(publish(TOPIC, "gone", { retain: true }));
  // Afterwards the words are published again: no will.
  wire.wait(1);
  other.up(publish(TOPIC, "gone"));
  exact[0]!.down(publish(TOPIC, "gone"));
  // Others with wills: the same client twice, one without id, and topics that only look alike.
  local(41_012).connect("dying", will("university/other"));
  local(41_013).connect("", will("university"));
  local(41_014).connect("near", will("universityx/a"));
  local(41_015).connect("nearer", will("/university"));
}

function publishing(wire: Wire): void {
  const mosquitto = wire.tcp(end(LAPTOP, 42_000), end(MOSQUITTO, 1883)).connect("retainer");
  mosquitto.up(publish("a", "1", { retain: true }), publish("b", "2", { retain: true }), publish("c", "3"));
  mosquitto.up(publish("d", "4", { retain: true })).again("up", publish("d", "4", { retain: true }));
  mosquitto
    .up(publish("e", "5", { retain: true, qos: 1, messageId: 1 }))
    .down({ cmd: "puback", messageId: 1 });
  // Retained messages that come from there are none that were sent there.
  mosquitto.subscribe(2, "kept").down(publish("kept", "k", { retain: true }));
  const taker = wire
    .tcp(end(LOCAL, 42_001), BROKER)
    .connect("a-client-id-of-20-chs")
    .subscribe(9, "q/+", "q/2");
  const message = (topic: string, messageId: number, dup = false) =>
    publish(topic, `${messageId}`, { qos: 2, messageId, dup });
  taker.down(message("q/1", 1)).up({ cmd: "pubrec", messageId: 1 });
  taker.down({ cmd: "pubrel", messageId: 1 }).up({ cmd: "pubcomp", messageId: 1 });
  taker.down(message("q/2", 2));
  wire.wait(20);
  taker.down(message("q/2", 2, true)).up({ cmd: "pubrec", messageId: 2 });
}

function constrained(wire: Wire): void {
  const client = (port: number) => end(LAPTOP, port);
  const me = end(COAP_ME, 5683);
  wire.resolve(LAPTOP, ["coap.me"], [COAP_ME]);
  const ask = (port: number, server: typeof me, request: Buffer, response?: Buffer) => {
    wire.udp(client(port), server, request);
    if (response !== undefined) wire.udp(server, client(port), response);
  };
  // Confirmable, repeated twice before the answer: one request.
  ask(43_000, me, coap("CON", "0.02", 1, { token: "01", path: "/hello" }));
  wire.wait(2);
  ask(43_000, me, coap("CON", "0.02", 1, { token: "01", path: "/hello" }));
  wire.wait(4);
  ask(
    43_000,
    me,
    coap("CON", "0.02", 1, { token: "01", path: "/hello" }),
    coap("ACK", "4.05", 1, { token: "01" }),
  );
  // An empty token for all, two open at a time: the message id tells whose answer it is.
  wire.udp(client(43_001), me, coap("CON", "0.02", 10, { path: "/dining_room/lamp" }));
  wire.udp(client(43_001), me, coap("CON", "0.02", 11, { path: "/sink" }));
  wire.udp(me, client(43_001), coap("ACK", "4.04", 10));
  wire.udp(me, client(43_001), coap("ACK", "2.04", 11));
  // One socket and token, two servers at a time.
  const other = end("198.51.100.7", 5683);
  wire.udp(client(43_002), me, coap("NON", "0.02", 20, { token: "aa", path: "/x" }));
  wire.udp(client(43_002), other, coap("NON", "0.02", 21, { token: "aa", path: "/y" }));
  wire.udp(me, client(43_002), coap("NON", "5.00", 900, { token: "aa" }));
  wire.udp(other, client(43_002), coap("NON", "2.01", 901, { token: "aa" }));
  // Own servers: on the loopback interface, and by the machine's own address.
  for (const address of [LOCAL, LAPTOP]) {
    wire.udp(end(address, 43_020), end(address, 5683), coap("CON", "0.03", 60, { token: "10", path: "/y" }));
    wire.udp(end(address, 5683), end(address, 43_020), coap("ACK", "4.05", 60, { token: "10" }));
  }
  // Separate response, long.
  ask(43_003, me, coap("CON", "0.01", 30, { token: "bb", path: "/a/temperature" }), coap("ACK", "0.00", 30));
  wire.udp(me, client(43_003), coap("CON", "2.05", 77, { token: "bb", payload: "x".repeat(40) }));
  wire.udp(client(43_003), me, coap("ACK", "0.00", 77));
  // The same token again for another resource.
  ask(
    43_003,
    me,
    coap("CON", "0.01", 31, { token: "bb", path: "/temperature" }),
    coap("ACK", "2.05", 31, { token: "bb", payload: "21" }),
  );
  // Refused by RST; never answered; only nearly that resource.
  ask(43_004, me, coap("CON", "0.02", 40, { token: "cc", path: "/hello" }), coap("RST", "0.00", 40));
  ask(43_004, me, coap("NON", "0.02", 41, { token: "cd", path: "/dining_room/hello" }));
  ask(43_004, me, coap("NON", "0.01", 42, { token: "ce", path: "/temperature/x" }));
  // Observed.
  ask(
    43_005,
    me,
    coap("CON", "0.01", 50, { token: "0b", path: "/b/temperature", observe: 0 }),
    coap("ACK", "2.05", 50, { token: "0b", observe: 1, payload: "1" }),
  );
  for (const i of [2, 3])
    wire.udp(me, client(43_005), coap("NON", "2.05", 100 + i, { token: "0b", observe: i, payload: "22" }));
  // A group: each member answers from its own address.
  wire.udp(
    client(43_006),
    end("224.0.1.187", 5683),
    coap("NON", "0.01", 70, { token: "dd", path: "/.well-known/core" }),
  );
  for (const [i, member] of ["192.168.1.31", "192.168.1.32"].entries()) {
    wire.udp(
      end(member, 5683),
      client(43_006),
      coap("NON", "2.05", 200 + i, { token: "dd", payload: "</a>" }),
    );
  }
  // One resource in two blocks under one token.
  for (const [i, code] of ["2.31", "2.04"].entries()) {
    ask(
      43_007,
      me,
      coap("CON", "0.03", 80 + i, { token: "b1", path: "/big" }),
      coap("ACK", code, 80 + i, { token: "b1" }),
    );
  }
  // A message id used again for something else, too early: not the same request.
  ask(
    43_000,
    me,
    coap("CON", "0.03", 1, { token: "02", path: "/light" }),
    coap("ACK", "2.04", 1, { token: "02" }),
  );
}

function sensors(wire: Wire): void {
  const gateway = end(LOCAL, 1885);
  const sensor = end(LOCAL, 44_000);
  wire.timeUs = AFTERNOON_US - 60_000_000;
  const lost = (id: number) => wire.udp(sensor, gateway, sn(0x0c, 0x62, 0, 6, 0, id, "x")).portUnreachable();
  lost(1);
  wire.timeUs = AFTERNOON_US + 1;
  // Captured on the way out and on the way in: one message.
  wire.isTwice = true;
  lost(2);
  lost(3);
  // The same message twice is two.
  lost(3);
  wire.isTwice = false;
  wire.udp(sensor, end("192.168.1.20", 1885), sn(0x0c, 0x62, 0, 6, 0, 9, "x"));
}

const LOCAL_CLIENT = "is_local(src, dst)";
const at = (name: string) => `server IN (SELECT address FROM names WHERE name = '${name}')`;

const QUESTIONS: readonly (readonly [question: string, sql: string, answer: unknown[][]])[] = [
  [
    "MQTT clients that subscribed to broker.hivemq.com with a single-level wildcard",
    `SELECT count(DISTINCT client_no) FROM mqtt_subscriptions WHERE single_level AND ${at("broker.hivemq.com")}`,
    [[4]],
  ],
  [
    "the same by the name in the middle of the aliases",
    `SELECT count(DISTINCT client_no) FROM mqtt_subscriptions WHERE single_level AND ${at("lb.hivemq.example")}`,
    [[4]],
  ],
  [
    "with a multi-level wildcard",
    `SELECT count(DISTINCT client_no) FROM mqtt_subscriptions WHERE multi_level AND ${at("broker.hivemq.com")}`,
    [[2]],
  ],
  [
    "which of these clients a message to hospital/room2/area0 goes to",
    `SELECT DISTINCT client_id FROM mqtt_subscriptions WHERE ${at("mqtt-dashboard.com")} AND mqtt_match(filter, 'hospital/room2/area0') ORDER BY 1`,
    [["sensor-a"], ["tablet"]],
  ],
  [
    "and one to building/3/lift",
    `SELECT DISTINCT client_id FROM mqtt_subscriptions WHERE ${at("broker.hivemq.com")} AND mqtt_match(filter, 'building/3/lift') ORDER BY 1`,
    [["sensor-a"], ["six"]],
  ],
  [
    "SUBSCRIBEs to a broker by a name that was asked for only later",
    `SELECT count(*) FROM mqtt WHERE type = 'SUBSCRIBE' AND message_id = 1 AND server_name = 'test.mosquitto.org'`,
    [[1]],
  ],
  [
    "clients that name a will with university as first level",
    "SELECT count(DISTINCT client_no) FROM mqtt_connections WHERE split_part(will_topic, '/', 1) = 'university'",
    [[3]],
  ],
  [
    "which clients got a will by a subscription without a wildcard",
    "SELECT client_id, will_client_id, retain FROM mqtt_deliveries WHERE is_will AND NOT has_wildcard ORDER BY no",
    [
      ["exact-1", "dying", false],
      ["exact-2", "dying", false],
      ["late", "dying", true],
    ],
  ],
  [
    "wills that were due",
    'SELECT client_id, will_topic, "end", duplicate_client_id FROM mqtt_connections WHERE will_due',
    [["dying", "university/dep12/room1", "closed", false]],
  ],
  [
    "PUBLISHes to test.mosquitto.org that are to be retained, at most once",
    `SELECT count(*) FROM mqtt WHERE type = 'PUBLISH' AND from_client AND retain AND qos = 0 AND ${at("test.mosquitto.org")}`,
    [[3]],
  ],
  [
    "QoS 2 messages that clients of the local broker received, sent again or not",
    `SELECT count(*), count(DISTINCT message_id), count(*) FILTER (handshake = 'complete') FROM mqtt WHERE type = 'PUBLISH' AND NOT from_client AND qos = 2 AND ${LOCAL_CLIENT}`,
    [[3, 2, 1]],
  ],
  [
    "thanks to which subscriptions",
    "SELECT message_id, dup, filter, subscribe_message_id, matches, certain FROM mqtt_deliveries WHERE qos = 2 ORDER BY no, filter",
    [
      [1, false, "q/+", 9, 1, true],
      [2, false, "q/+", 9, 2, false],
      [2, false, "q/2", 9, 2, false],
      [2, true, "q/+", 9, 2, false],
      [2, true, "q/2", 9, 2, false],
    ],
  ],
  [
    "POSTs to coap.me without success, all and those to /hello and below dining_room",
    `SELECT count(*), count(*) FILTER (uri_path LIKE '%/hello'), count(*) FILTER (uri_path LIKE '/dining_room/%') FROM coap WHERE code = 'POST' AND NOT retransmission AND ${at("coap.me")} AND coalesce(response_code, '') NOT LIKE '2.%'`,
    [[5, 3, 2]],
  ],
  [
    "what they were told",
    `SELECT uri_path, message_id, response_code FROM coap WHERE code = 'POST' AND NOT retransmission AND ${at("coap.me")} ORDER BY no`,
    [
      ["/hello", 1, "4.05"],
      ["/dining_room/lamp", 10, "4.04"],
      ["/sink", 11, "2.04"],
      ["/x", 20, "5.00"],
      ["/hello", 40, null],
      ["/dining_room/hello", 41, null],
    ],
  ],
  [
    "requests that were never answered, copies included",
    "SELECT message_id, count(*) FROM coap WHERE is_request AND response_no IS NULL GROUP BY 1 ORDER BY 1",
    [
      [40, 1],
      [41, 1],
      [42, 1],
    ],
  ],
  [
    "CoAP clients that sent GET to …/temperature, and the message id of the longest answer of each",
    "SELECT dst_port, arg_max(message_id, length) FROM coap WHERE is_response AND request_no IN (SELECT no FROM coap WHERE code = 'GET' AND uri_path LIKE '%/temperature') GROUP BY 1 ORDER BY 1",
    [
      [43_003, 77],
      [43_005, 102],
    ],
  ],
  [
    "who answered a request to a group",
    "SELECT src, uri_path FROM coap WHERE is_response AND request_no IN (SELECT no FROM coap WHERE dst = '224.0.1.187') ORDER BY no",
    [
      ["192.168.1.31", "/.well-known/core"],
      ["192.168.1.32", "/.well-known/core"],
    ],
  ],
  [
    "the answer to each block of a resource",
    "SELECT message_id, response_code FROM coap WHERE is_request AND uri_path = '/big' ORDER BY no",
    [
      [80, "2.31"],
      [81, "2.04"],
    ],
  ],
  [
    "notifications, and what they observe",
    "SELECT message_id, uri_path FROM coap WHERE is_response AND observe > 1 ORDER BY no",
    [
      [102, "/b/temperature"],
      [103, "/b/temperature"],
    ],
  ],
  [
    "confirmable PUTs without success to CoAP servers on the own machine",
    "SELECT count(*) FROM coap WHERE code = 'PUT' AND type = 'CON' AND NOT retransmission AND is_local(src, dst) AND coalesce(response_code, '') NOT LIKE '2.%'",
    [[2]],
  ],
  [
    "MQTT-SN PUBLISHes to port 1885 of the own machine after 16:16 in Milan, and what came back",
    `SELECT message_id, answer FROM mqttsn WHERE type = 'PUBLISH' AND NOT is_copy AND ${LOCAL_CLIENT} AND dst_port = 1885 AND topic_id = 6 AND (time AT TIME ZONE 'Europe/Rome')::TIME >= '16:16' ORDER BY no`,
    [
      [2, "ICMP port unreachable"],
      [3, "ICMP port unreachable"],
      [3, "ICMP port unreachable"],
    ],
  ],
];

let folder: string;
let inspection: Inspection;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "inspect-"));
  const wire = new Wire();
  for (const part of [subscribers, wills, publishing, constrained, sensors]) part(wire);
  const encoder = new PcapngEncoder();
  const file = join(folder, "exam.pcapng");
  writeFileSync(
    file,
    Buffer.concat([encoder.header(), ...wire.frames.map((frame) => encoder.encode(frame))]),
  );
  inspection = await inspectFiles([file]);
});
after(() => {
  inspection.database.close();
  rmSync(folder, { recursive: true });
});

for (const [question, sql, answer] of QUESTIONS) {
  test(question, async () => assert.deepEqual(await inspection.database.values(sql), answer));
}
