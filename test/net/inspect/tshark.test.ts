import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Inspection, inspectFiles } from "@topicast/inspect";
import { PcapngEncoder } from "@topicast/inspect/read/pcapng-writer.js";
import { FRAMINGS, reframe } from "../../unit/inspect/reframe.js";
import { readFrames } from "../../unit/inspect/support.js";

/**
 * The tables against tshark, on every committed capture: per protocol and packet type how many, which message ids, topics,
 * QoS, CoAP codes and tokens. Where the two differ on purpose:
 *
 * - What an ICMP error quotes tshark lists as a packet of the quoted protocol. It was not sent again, so here it is not: the
 *   filter leaves ICMP out. The tables are right.
 * - tshark 4.0 does not read MQTT in WebSocket frames; here it is read, and the bytes that tshark counts in them are ours.
 * - tshark reads WebSocket only on HTTP's ports and MQTT only on 1883 unless told; here both are detected. It is told.
 * - tshark has no default port for MQTT-SN. It is told.
 */

const captures = join(import.meta.dirname, "../../../captures");
const decodeAs = [
  "tcp.port==17501,mqtt",
  "tcp.port==9001,http",
  "udp.port==1884,mqttsn",
  "udp.port==1885,mqttsn",
];

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "inspect-"));
});
after(() => rmSync(folder, { recursive: true }));

/** One value of `field` a line and occurrence, sorted, as tshark tells them. */
function tshark(file: string, filter: string, field: string): string[] {
  const told = decodeAs.flatMap((rule) => ["-d", rule]);
  const format = ["-T", "fields", "-E", "occurrence=a", "-E", "aggregator=\u001f", "-e", field];
  const text = execFileSync("tshark", ["-r", file, ...told, "-Y", filter, ...format], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const values = text.split("\n").flatMap((line) => line.split("\u001f"));
  return values.filter((value) => value !== "").sort();
}

async function ours({ database }: Inspection, sql: string): Promise<string[]> {
  return (await database.values(sql)).map(([value]) => String(value)).sort();
}

const TYPES =
  "list_position(['CONNECT','CONNACK','PUBLISH','PUBACK','PUBREC','PUBREL','PUBCOMP','SUBSCRIBE','SUBACK',\
'UNSUBSCRIBE','UNSUBACK','PINGREQ','PINGRESP','DISCONNECT','AUTH'], type)";

const COMPARISONS: [name: string, filter: string, field: string, sql: string][] = [
  ["MQTT types", "mqtt", "mqtt.msgtype", `SELECT ${TYPES} FROM mqtt WHERE transport = 'tcp'`],
  [
    "MQTT message ids",
    "mqtt",
    "mqtt.msgid",
    "SELECT message_id FROM mqtt WHERE message_id IS NOT NULL AND transport = 'tcp'",
  ],
  [
    "MQTT QoS",
    "mqtt.msgtype == 3",
    "mqtt.qos",
    "SELECT qos FROM mqtt WHERE type = 'PUBLISH' AND transport = 'tcp'",
  ],
  [
    "client ids",
    "mqtt",
    "mqtt.clientid",
    "SELECT client_id FROM mqtt WHERE type = 'CONNECT' AND transport = 'tcp' AND client_id <> ''",
  ],
  [
    "MQTT topics",
    "mqtt.msgtype == 3",
    "mqtt.topic",
    "SELECT topic FROM mqtt WHERE type = 'PUBLISH' AND transport = 'tcp'",
  ],
  ["CoAP codes", "coap && !icmp", "coap.code", codes()],
  ["CoAP message ids", "coap && !icmp", "coap.mid", "SELECT message_id FROM coap"],
  ["CoAP tokens", "coap && !icmp", "coap.token", "SELECT token FROM coap WHERE token <> ''"],
  [
    "CoAP paths",
    "coap.code < 32 && !icmp",
    "coap.opt.uri_path_recon",
    "SELECT uri_path FROM coap WHERE is_request AND uri_path <> '/'",
  ],
  ["MQTT-SN types", "mqttsn && !icmp", "mqttsn.msg.type", "SELECT type FROM mqttsn"],
  [
    "MQTT-SN topic ids",
    "mqttsn.msg.type == 0x0c && !icmp",
    "mqttsn.topic.id",
    "SELECT topic_id FROM mqttsn WHERE type = 'PUBLISH'",
  ],
  ["DNS messages", "dns && !icmp", "frame.number", "SELECT DISTINCT frame FROM dns"],
  ["DNS addresses", "dns && !icmp", "dns.a", "SELECT data FROM dns WHERE type = 'A' AND section = 'answer'"],
  ["ICMP", "icmp", "icmp.code", "SELECT code FROM icmp WHERE version = 4"],
  ["TCP streams", "tcp && !icmp", "tcp.stream", "SELECT stream FROM frames WHERE stream IS NOT NULL"],
];

/** The code as its byte. */
function codes(): string {
  const methods = "list_position(['GET','POST','PUT','DELETE','FETCH','PATCH','iPATCH'], code)";
  return `SELECT coalesce(${methods}, 32 * left(code, 1)::INT + substr(code, 3)::INT) FROM coap`;
}

/** How tshark writes what the SQL says otherwise. */
function normalize(name: string, values: string[]): string[] {
  if (name !== "MQTT-SN types" && name !== "MQTT-SN topic ids")
    return values.map((value) => value.replaceAll(":", ""));
  return values.map((value) => (value.startsWith("0x") ? String(Number(value)) : value));
}

for (const capture of readdirSync(captures).filter((name) => /\.pcap(\.gz)?$/.test(name))) {
  test(capture, async (t) => {
    // tshark reads gzip, too, if it was built so.
    const file = join(folder, capture.replace(/\.gz$/, ""));
    const bytes = readFileSync(join(captures, capture));
    writeFileSync(file, capture.endsWith(".gz") ? (await import("node:zlib")).gunzipSync(bytes) : bytes);
    const inspection = await inspectFiles([file], { decodeAs: ["tcp.port==17501,mqtt"] });
    let compared = 0;
    for (const [name, filter, field, sql] of COMPARISONS) {
      await t.test(name, async () => {
        const expected = normalize(name, tshark(file, filter, field));
        compared += expected.length;
        const actual = name === "MQTT-SN types" ? await snTypes(inspection) : await ours(inspection, sql);
        const found = name.startsWith("DNS addr") || name === "CoAP paths" ? normalize(name, actual) : actual;
        assert.deepEqual(found.sort(), expected.sort());
      });
    }
    await t.test("bytes in WebSocket frames", async () => {
      // From 126 on the length stands in a field of its own (RFC 6455, section 5.2).
      const lengths = ["payload_length", "payload_length_ext_16", "payload_length_ext_64"].flatMap((field) =>
        tshark(file, "websocket && websocket.opcode <= 2", `websocket.${field}`)
          .map(Number)
          .filter((length) => field !== "payload_length" || length < 126),
      );
      const sum = lengths.reduce((total, length) => total + length, 0);
      const [[bytes] = []] = await inspection.database.values(
        "SELECT coalesce(sum(length), 0)::BIGINT FROM mqtt WHERE transport = 'websocket'",
      );
      assert.equal(bytes, sum);
    });
    assert.ok(compared > 20, "there is something to compare");
    inspection.database.close();
  });
}

test("the same packets on other kinds of links", async (t) => {
  for (const [capture, what] of [
    ["sessions.pcap", "MQTT topics"],
    ["datagrams.pcap", "CoAP tokens"],
  ] as const) {
    const [name, filter, field, sql] = COMPARISONS.find(([each]) => each === what)!;
    for (const framing of FRAMINGS) {
      await t.test(`${what} of ${capture}: ${framing.name}`, async () => {
        const file = join(folder, "reframed.pcapng");
        const encoder = new PcapngEncoder();
        const frames = readFrames(capture).map((frame) => encoder.encode(reframe(frame, framing)));
        writeFileSync(file, Buffer.concat([encoder.header(), ...frames]));
        const inspection = await inspectFiles([file], { decodeAs: ["tcp.port==17501,mqtt"] });
        const expected = normalize(name, tshark(file, filter, field));
        assert.ok(expected.length > 4);
        assert.deepEqual(await ours(inspection, sql), expected);
        inspection.database.close();
      });
    }
  }
});

async function snTypes(inspection: Inspection): Promise<string[]> {
  const { SN_TYPES } = await import("@topicast/inspect/decode/mqttsn.js");
  const numbers = new Map(Object.entries(SN_TYPES).map(([number, name]) => [name, number]));
  return (await ours(inspection, "SELECT type FROM mqttsn")).map((name) => numbers.get(name) ?? name).sort();
}
