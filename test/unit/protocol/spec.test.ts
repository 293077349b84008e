import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  agentNumber,
  type Datagram,
  decodeDatagram,
  decodeDeferral,
  decodeDeferred,
  decodeFence,
  decodeFired,
  decodeHeartbeat,
  decodeKept,
  decodeMissed,
  decodeRetain,
  decodeRetained,
  decodeSessionPiece,
  decodeStatus,
  decodeWill,
  encodeHeader,
  FabricTopic,
  FENCE,
  FENCE_BYTES,
  Kind,
  Mark,
  type Message,
  PacketReader,
  type Range,
  takeMark,
  toMessage,
} from "@topicast/protocol";
import type { IPublishPacket, Packet } from "mqtt-packet";

const spec = readFileSync(new URL("../../../../protocol/README.md", import.meta.url), "utf8");

/** The specification's examples: title → bytes. */
const examples = new Map(
  [...spec.matchAll(/^(.+)\n\n```hex\n([0-9a-f \n]+)```$/gm)].map((m) => [
    m[1]!,
    Buffer.from(m[2]!.replace(/\s/g, ""), "hex"),
  ]),
);

const KINDS: Record<number, string> = {
  ...{ 1: "DATA", 2: "CONTROL", 3: "ACK", 4: "RESET", 5: "ANNOUNCE", 6: "STATUS", 7: "HEARTBEAT" },
};
const group = '{"group":"239.192.0.1","edges":[{"agent":2338112735,"at":"192.168.1.101:1883","epoch":2561}]}';
const route = '{"topic":"plant/7/temp","group":"239.192.0.1","to":["239.192.0.1:1883"]}';
const share =
  '{"share":"$share/g/jobs","edges":[{"agent":2338112735,"at":"192.168.1.101:1883","epoch":2561,"connected":2}]}';
const access = '{"passwords":null,"acl":"topic read #"}';
const held = '[{"topic":"plant/7/temp","group":"239.192.0.1"}]';

/** title → kind, sender, stream, number, what the payload holds. */
const expected: Array<[string, string, "e1" | "forwarder", number, number, string]> = [
  [
    "CONNECT of e1 at 192.168.1.101:1883, which answers for 192.168.1.250:1883",
    "CONTROL",
    "e1",
    0,
    0,
    "connect e1 at 192.168.1.101:1883 epoch 2561 for 192.168.1.250:1883",
  ],
  ["ACK of it, nothing early", "ACK", "forwarder", 0xa01, 1, "00000000"],
  ["CONNACK", "CONTROL", "forwarder", 0xa01, 0, "connack 0 f01-whole"],
  ["SUBSCRIBE to plant/+/temp", "CONTROL", "e1", 0xf01, 1, "subscribe 1 plant/+/temp"],
  ["SUBACK", "CONTROL", "forwarder", 0xa01, 1, "suback 1"],
  ["UNSUBSCRIBE", "CONTROL", "e1", 0xf01, 4, "unsubscribe 2 plant/+/temp"],
  ["UNSUBACK", "CONTROL", "forwarder", 0xa01, 6, "unsuback 2"],
  ["PUBLISH `$fabric/held`", "CONTROL", "e1", 0xf01, 2, `publish $fabric/held ${held}`],
  ["PINGREQ", "CONTROL", "e1", 0xf01, 3, "pingreq"],
  ["PINGRESP", "CONTROL", "forwarder", 0xa01, 2, "pingresp"],
  ["PUBLISH to relay", "CONTROL", "e1", 0xf01, 5, "publish plant/7/temp 21.5"],
  ["PUBACK of the first relay", "CONTROL", "forwarder", 0xa01, 5, "puback 1"],
  ["PUBLISH `$fabric/route`", "CONTROL", "forwarder", 0xa01, 4, `publish $fabric/route ${route}`],
  ["PUBLISH `$fabric/release`", "CONTROL", "e1", 0xf01, 6, 'publish $fabric/release ["plant/7/temp"]'],
  ["PUBLISH `$fabric/locate`", "CONTROL", "forwarder", 0xa01, 3, "publish $fabric/locate null"],
  ["PUBLISH `$fabric/vacant`", "CONTROL", "e1", 0xf01, 7, 'publish $fabric/vacant ["192.168.1.250"]'],
  [
    "PUBLISH `$fabric/steering`",
    "CONTROL",
    "forwarder",
    0xa01,
    7,
    'publish $fabric/steering [{"endpoint":"192.168.1.250:1883","problem":"the switches see none of its agents"}]',
  ],
  ["DISCONNECT", "CONTROL", "e1", 0xf01, 8, "disconnect"],
  ["RESET: who are you?", "RESET", "forwarder", 0xa01, 0, ""],
  ["ANNOUNCE", "ANNOUNCE", "e1", 0, 0, ""],
  ["PUBLISH `$fabric/group`", "CONTROL", "forwarder", 0xa01, 7, `publish $fabric/group ${group}`],
  [
    "PUBLISH `$fabric/edges`",
    "CONTROL",
    "e1",
    0xf01,
    9,
    'publish $fabric/edges ["192.168.1.103","192.168.1.105"]',
  ],
  [
    "PUBLISH `$fabric/gone`",
    "CONTROL",
    "forwarder",
    0xa01,
    8,
    'publish $fabric/gone {"agent":7,"epoch":2561}',
  ],
  [
    "PUBLISH `$fabric/quarantine` from e1",
    ...(["CONTROL", "e1", 0xf01, 19] as const),
    'publish $fabric/quarantine {"again":false,"shut":[{"source":"192.168.1.66","rule":"guessing.address","seconds":300}]}',
  ],
  [
    "PUBLISH `$fabric/quarantine` from the forwarder",
    ...(["CONTROL", "forwarder", 0xa01, 18] as const),
    'publish $fabric/quarantine {"shut":[{"source":"192.168.1.66","rule":"guessing.address","seconds":299.95}],"free":["2001:db8::/64"]}',
  ],
  [
    "PUBLISH `$fabric/guesses`",
    ...(["CONTROL", "e1", 0xf01, 20] as const),
    'publish $fabric/guesses {"rule":"guessing.address","burst":20,"perSecond":0.5,"seconds":300,"failures":[{"source":"192.168.1.66","count":3}]}',
  ],
  [
    "PUBLISH `$fabric/lock`",
    ...(["CONTROL", "forwarder", 0xa01, 19] as const),
    'publish $fabric/lock {"user":"plant","rule":"guessing.user","seconds":300}',
  ],
  [
    "PUBLISH `$fabric/where` from e1",
    ...(["CONTROL", "e1", 0xf01, 21] as const),
    'publish $fabric/where {"addresses":["192.168.1.66"]}',
  ],
  [
    "PUBLISH `$fabric/where` from the forwarder",
    ...(["CONTROL", "forwarder", 0xa01, 20] as const),
    'publish $fabric/where {"found":[{"address":"192.168.1.66","at":{"dpid":"0000000000000003","port":2}}]}',
  ],
  ["PUBLISH `$fabric/access`", "CONTROL", "forwarder", 0xa01, 9, `publish $fabric/access ${access}`],
  [
    "PUBLISH `$fabric/retain`: the first one",
    ...(["CONTROL", "e1", 0xf01, 10] as const),
    "publish $fabric/retain 1: plant/7/temp 21.5",
  ],
  [
    "PUBLISH `$fabric/retained`: version 9 of era 0xf01",
    ...(["CONTROL", "forwarder", 0xa01, 10] as const),
    "publish $fabric/retained 9 of 3841: plant/7/temp 21.5",
  ],
  [
    "PUBLISH `$fabric/kept`: the first one",
    ...(["CONTROL", "forwarder", 0xa01, 11] as const),
    "publish $fabric/kept 1",
  ],
  [
    "PUBLISH `$fabric/retained`: all up to version 9 has been told",
    ...(["CONTROL", "forwarder", 0xa01, 12] as const),
    "publish $fabric/retained 9 of 3841",
  ],
  [
    "PUBLISH `$fabric/will`: the first one, of client c1, after 10 s",
    ...(["CONTROL", "e1", 0xf01, 11] as const),
    "publish $fabric/will 1 of c1 after 10: plant/7/state gone",
  ],
  [
    "PUBLISH `$fabric/will`: the first one is discarded",
    ...(["CONTROL", "e1", 0xf01, 12] as const),
    "publish $fabric/will 1",
  ],
  [
    "PUBLISH `$fabric/fired`: the first one",
    ...(["CONTROL", "forwarder", 0xa01, 13] as const),
    "publish $fabric/fired 1",
  ],
  [
    "PUBLISH `$fabric/members`",
    ...(["CONTROL", "e1", 0xf01, 13] as const),
    'publish $fabric/members {"number":1,"shares":[{"share":"$share/g/jobs","connected":2}]}',
  ],
  ["PUBLISH `$fabric/joined`", "CONTROL", "forwarder", 0xa01, 14, "publish $fabric/joined 1"],
  [
    "PUBLISH `$fabric/shares`",
    ...(["CONTROL", "forwarder", 0xa01, 15] as const),
    `publish $fabric/shares {"shares":[${share}],"complete":true}`,
  ],
  [
    "PUBLISH `$fabric/claim`",
    ...(["CONTROL", "e1", 0xf01, 14] as const),
    'publish $fabric/claim {"client":"c1","number":1,"at":1700000000000,"clean":false}',
  ],
  [
    "PUBLISH `$fabric/claimed`: agent 7 hands it over",
    ...(["CONTROL", "forwarder", 0xa01, 16] as const),
    'publish $fabric/claimed {"client":"c1","number":1,"at":1700000000000,"from":7}',
  ],
  [
    "PUBLISH `$fabric/yield`",
    ...(["CONTROL", "forwarder", 0xa01, 17] as const),
    'publish $fabric/yield {"client":"c2","to":7,"clean":false,"ago":0}',
  ],
  [
    "PUBLISH `$fabric/session`: of client c2, to agent 7, a subscription to t",
    ...(["CONTROL", "e1", 0xf01, 15] as const),
    'publish $fabric/session 2 of c2 for 7: subscription/t {"qos":1}',
  ],
  [
    "PUBLISH `$fabric/take`: the rest of c1's, from agent 7",
    ...(["CONTROL", "e1", 0xf01, 16] as const),
    'publish $fabric/take {"client":"c1","peer":7,"done":false}',
  ],
  [
    "PUBLISH `$fabric/clients`",
    ...(["CONTROL", "e1", 0xf01, 17] as const),
    'publish $fabric/clients [{"client":"c1","at":1700000000000}]',
  ],
  [
    "PUBLISH `$fabric/unclaim`",
    ...(["CONTROL", "e1", 0xf01, 18] as const),
    'publish $fabric/unclaim [{"client":"c1","at":1700000000000}]',
  ],
  [
    "PUBLISH `$fabric/durable`",
    ...(["CONTROL", "e1", 0xf01, 21] as const),
    'publish $fabric/durable {"number":1,"add":["plant/#"],"remove":[],"expiry":3600}',
  ],
  ["PUBLISH `$fabric/noted`", "CONTROL", "forwarder", 0xa01, 20, "publish $fabric/noted 1"],
  [
    "PUBLISH `$fabric/gone`: messages are kept for it",
    ...(["CONTROL", "forwarder", 0xa01, 21] as const),
    'publish $fabric/gone {"agent":7,"epoch":2561,"absent":true}',
  ],
  [
    "PUBLISH `$fabric/route`: agent 7 is away",
    ...(["CONTROL", "forwarder", 0xa01, 22] as const),
    'publish $fabric/route {"topic":"plant/7/temp","group":null,"to":[],"absent":[7]}',
  ],
  [
    "PUBLISH `$fabric/defer`: the first one, for agent 7",
    ...(["CONTROL", "e1", 0xf01, 22] as const),
    "publish $fabric/defer 1 for 7: plant/7/temp 21.5",
  ],
  [
    "PUBLISH `$fabric/deferred`: the first one",
    ...(["CONTROL", "forwarder", 0xa01, 23] as const),
    "publish $fabric/deferred 1",
  ],
  [
    "PUBLISH `$fabric/missed`: kept for 60 s",
    ...(["CONTROL", "forwarder", 0xa01, 24] as const),
    "publish $fabric/missed 60000: plant/7/temp 21.5",
  ],
  ["DATA: one PUBLISH to group 239.192.0.1", "DATA", "e1", 0xefc00001, 9, "publish plant/7/temp 21.5"],
  [
    "DATA: one PUBLISH to a member of $share/g/jobs at one edge",
    ...(["DATA", "e1", 0xf0000000, 0] as const),
    "publish jobs 21.5 for 0 $share/g/jobs",
  ],
  [
    "DATA behind a fence: after number 10 of 239.192.0.1, QoS 1, with ASK",
    "DATA",
    "e1",
    0xefc00002,
    0,
    "after 10 of 4022337537: publish plant/7/temp 21.5",
  ],
  ["STATUS of e1: lacks 10 and 12 to 14 of epoch 0xa77", "STATUS", "e1", 0xefc00001, 10, "2679: 10+1 12+3"],
  ["HEARTBEAT: ends before 15, begins at 9, 10 is gone", "HEARTBEAT", "e1", 0xefc00001, 15, "9: 10+1"],
];

function describePacket(packet: Packet): string {
  switch (packet.cmd) {
    case "connect": {
      const { address, port, epoch, intercept } = packet.properties?.userProperties ?? {};
      return `connect ${packet.clientId} at ${address}:${port} epoch ${epoch} for ${intercept}`;
    }
    case "connack":
      return `connack ${packet.reasonCode} ${packet.properties?.userProperties?.retained}`;
    case "subscribe":
      return `subscribe ${packet.messageId} ${packet.subscriptions.map((s) => s.topic).join()}`;
    case "unsubscribe":
      return `unsubscribe ${packet.messageId} ${packet.unsubscriptions.join()}`;
    case "publish":
      return `publish ${packet.topic} ${describeBody(packet)}${describeMark(packet)}`;
    case "suback":
    case "unsuback":
    case "puback":
      return `${packet.cmd} ${packet.messageId}`;
    default:
      return packet.cmd;
  }
}

function describeBody({ topic, payload }: IPublishPacket): string {
  const bytes = payload as Buffer;
  const text = (message: Message | undefined) => (message ? `: ${message.topic} ${message.payload}` : "");
  if (topic === FabricTopic.RETAIN) {
    const { number, message } = decodeRetain(bytes)!;
    return `${number}${text(message)}`;
  }
  if (topic === FabricTopic.WILL) {
    const { number, will } = decodeWill(bytes)!;
    const client = will === undefined ? "" : ` of ${will.clientId} after ${will.delay}`;
    return `${number}${client}${text(will?.message)}`;
  }
  if (topic === FabricTopic.FIRED) return `${decodeFired(bytes)}`;
  if (topic === FabricTopic.KEPT) return `${decodeKept(bytes)}`;
  if (topic === FabricTopic.RETAINED) {
    const { era, version, message } = decodeRetained(bytes)!;
    return `${version} of ${era}${text(message)}`;
  }
  if (topic === FabricTopic.DEFER) {
    const { number, edges, message } = decodeDeferral(bytes)!;
    return `${number} for ${edges}${text(message)}`;
  }
  if (topic === FabricTopic.DEFERRED) return `${decodeDeferred(bytes)}`;
  if (topic === FabricTopic.MISSED) {
    const { age, message } = decodeMissed(bytes)!;
    return `${age}${text(message)}`;
  }
  if (topic === FabricTopic.SESSION) {
    const { peer, part, client, entries } = decodeSessionPiece(bytes)!;
    return `${part} of ${client} for ${peer}: ${entries.map(([key, value]) => `${key} ${value}`).join()}`;
  }
  return `${bytes}`;
}

function describeMark(packet: IPublishPacket): string {
  const mark = takeMark(toMessage(packet), Mark.SHARE);
  return mark === undefined ? "" : ` for ${mark.value}`;
}

function describeRanges(first: number, ranges: readonly Range[]): string {
  return `${first}: ${ranges.map((r) => `${r.first}+${r.count}`).join(" ")}`;
}

function describePayload({ kind, flags, payload }: Datagram): string {
  if (kind === Kind.ACK) return payload.toString("hex");
  if (kind === Kind.STATUS) {
    const { epoch, missing } = decodeStatus(payload)!;
    return describeRanges(epoch, missing);
  }
  if (kind === Kind.HEARTBEAT) {
    const { oldest, gone } = decodeHeartbeat(payload)!;
    return describeRanges(oldest, gone);
  }
  const fence = (flags & FENCE) === 0 ? undefined : decodeFence(payload);
  const packets = fence === undefined ? payload : payload.subarray(FENCE_BYTES);
  const text = new PacketReader().read(packets)!.map(describePacket).join("; ");
  return fence === undefined ? text : `after ${fence.number} of ${fence.stream}: ${text}`;
}

describe("protocol/README.md", () => {
  it("has exactly the examples that are checked here", () => {
    assert.deepEqual(
      [...examples.keys()],
      expected.map(([title]) => title),
    );
  });

  for (const [title, kind, sender, stream, number, content] of expected) {
    it(`example: ${title}`, () => {
      const bytes = examples.get(title)!;
      const datagram = decodeDatagram(bytes) as Datagram;
      assert.equal(typeof datagram, "object", `cannot be decoded: ${datagram}`);
      assert.equal(KINDS[datagram.kind], kind);
      assert.equal(datagram.source, sender === "e1" ? agentNumber("e1") : 0);
      assert.equal(datagram.epoch, sender === "e1" ? 0xa01 : 0xf01);
      assert.equal(datagram.stream, stream);
      assert.equal(datagram.number, number);
      assert.equal(describePayload(datagram), content);
      assert.deepEqual(Buffer.concat([encodeHeader(datagram), datagram.payload]), bytes);
    });
  }
});
