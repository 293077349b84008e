/** What an MQTT 5 client that breaks the protocol is told, packet by packet, on the level of bytes. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { settle, TestBroker, type TestClient } from "./harness.js";

/** MQTT 5, table 2-4: identifier, a proper value, and the packets of a client that it may stand in. */
const PROPERTIES: readonly (readonly [id: number, value: string, where: string])[] = [
  [0x01, "01", "publish will"],
  [0x02, "00000001", "publish will"],
  [0x03, "0001 70", "publish will"],
  [0x08, "0001 70", "publish will"],
  [0x09, "0001 70", "publish will"],
  [0x0b, "01", "subscribe"],
  [0x11, "00000000", "connect disconnect"],
  [0x12, "0001 70", ""],
  [0x13, "0001", ""],
  [0x15, "0001 70", "connect"],
  [0x16, "0001 70", "connect"],
  [0x17, "00", "connect"],
  [0x18, "00000001", "will"],
  [0x19, "01", "connect"],
  [0x1a, "0001 70", ""],
  [0x1c, "0001 70", "disconnect"],
  [0x1f, "0001 70", "ack disconnect"],
  [0x21, "0001", "connect"],
  [0x22, "0001", "connect"],
  [0x23, "0001", "publish"],
  [0x24, "00", ""],
  [0x25, "00", ""],
  [0x26, "0001 70 0001 71", "connect publish will ack subscribe unsubscribe disconnect"],
  [0x27, "00000100", "connect"],
  [0x28, "00", ""],
  [0x29, "00", ""],
  [0x2a, "00", ""],
];
const UNKNOWN = [0x00, 0x04, 0x07, 0x0a, 0x10, 0x14, 0x1b, 0x1e, 0x20, 0x2b, 0x7f];

function bytes(hexText: string): Buffer {
  return Buffer.from(hexText.replaceAll(/\s/g, ""), "hex");
}

/** The parts behind a fixed header with their length. */
function packet(first: number, ...parts: string[]): Buffer {
  const body = Buffer.concat(parts.map(bytes));
  assert.ok(body.length < 128);
  return Buffer.concat([Buffer.from([first, body.length]), body]);
}

/** Properties with their length. */
function section(properties: string): string {
  return bytes(properties).length.toString(16).padStart(2, "0") + properties;
}

/** For each kind of packet: one with these properties, what it is answered where they are right. */
const CARRIERS: Record<string, { make: (properties: string) => Buffer; answer: RegExp; first?: boolean }> = {
  connect: {
    make: (p) => packet(0x10, "0004 4d515454 05 02 003c", section(p), "0001 63"),
    answer: /^connack (0|140)$/,
    first: true,
  },
  will: {
    make: (p) => packet(0x10, "0004 4d515454 05 06 003c 00 0001 63", section(p), "0001 77 0001 78"),
    answer: /^connack 0$/,
    first: true,
  },
  publish: { make: (p) => packet(0x32, "0001 74 0007", section(p), "78"), answer: /^puback 7 0x10$/ },
  puback: { make: (p) => packet(0x40, "0007 00", section(p)), answer: /^pingresp$/ },
  pubrec: { make: (p) => packet(0x50, "0007 00", section(p)), answer: /^pubrel 7$/ },
  pubrel: { make: (p) => packet(0x62, "0007 00", section(p)), answer: /^pubcomp 7$/ },
  pubcomp: { make: (p) => packet(0x70, "0007 00", section(p)), answer: /^pingresp$/ },
  subscribe: { make: (p) => packet(0x82, "0007", section(p), "0001 74 00"), answer: /^suback 7 \[0\]$/ },
  unsubscribe: { make: (p) => packet(0xa2, "0007", section(p), "0001 74"), answer: /^unsuback 7 \[17\]$/ },
  disconnect: { make: (p) => packet(0xe0, "00", section(p)), answer: /^$/ },
};
const ACKS = new Set(["puback", "pubrec", "pubrel", "pubcomp"]);

/** Sends `sent` and a PINGREQ on a connection of its own, which is connected before unless it begins with CONNECT. */
async function tell(sent: Buffer, isFirst = false): Promise<{ told: string[]; client: TestClient }> {
  const broker = new TestBroker();
  const client = isFirst ? broker.open(5) : await broker.connect5("c");
  client.raw(sent, "c0 00");
  const told = await client.told();
  assert.equal(broker.stat("closed_internal_error"), 0);
  return { told, client };
}

/** What a client is told that sends a packet of this kind with something wrong in it. */
function refusal(kind: string, code: number): string {
  if (CARRIERS[kind]!.first) return `connack ${code}`;
  return `disconnect 0x${code.toString(16)}`;
}

const hex = (id: number) => id.toString(16).padStart(2, "0");

describe("MQTT 5 properties", () => {
  for (const [kind, { make, answer, first }] of Object.entries(CARRIERS)) {
    const group = ACKS.has(kind) ? "ack" : kind;
    const notHere = kind === "subscribe" || kind === "unsubscribe" ? 0x81 : 0x82;

    it(`in ${kind}: each is taken where it belongs, and refused elsewhere`, async () => {
      for (const [id, value, where] of PROPERTIES) {
        // Authentication data without a method is a protocol error of its own.
        const before = id === 0x16 && kind === "connect" ? "15 0001 70" : "";
        const { told, client } = await tell(make(`${before}${hex(id)}${value}`), first);
        const name = `property ${hex(id)}`;
        if (where.split(" ").includes(group)) {
          assert.match(told[0] ?? "", answer, name);
        } else {
          assert.deepEqual(told, [refusal(kind, notHere)], name);
          assert.ok(client.ended, name);
        }
      }
    });

    it(`in ${kind}: none stands twice but user properties`, async () => {
      for (const [id, value, where] of PROPERTIES) {
        if (!where.split(" ").includes(group)) continue;
        const { told } = await tell(make(`${hex(id)}${value}${hex(id)}${value}`), first);
        if (id === 0x26) assert.match(told[0] ?? "", answer);
        else assert.deepEqual(told, [refusal(kind, 0x82)], `property ${hex(id)}`);
      }
    });

    it(`in ${kind}: unknown and cut ones are malformed (0x81)`, async () => {
      const wrong = [
        ...UNKNOWN.map((id) => `${hex(id)}01`),
        ...["8001 01", "ff7f 01", "8000 01", "80808001 01", "8080808001 01"],
        // Without its value; with half of it; a string past the end; a key without a value.
        ...PROPERTIES.map(([id]) => hex(id)),
        ...PROPERTIES.map(([id, value]) => `${hex(id)}${value.slice(0, -2)}`),
      ];
      for (const properties of wrong) {
        const { told, client } = await tell(make(properties), first);
        assert.deepEqual(told, [refusal(kind, 0x81)], properties);
        assert.ok(client.ended, properties);
      }
    });
  }

  const values: [name: string, kind: string, properties: string, code: number][] = [
    ["payload format indicator 2", "publish", "01 02", 0x82],
    ["payload format indicator 2", "will", "01 02", 0x82],
    ["response topic #", "publish", "08 0001 23", 0x82],
    ["response topic a/+", "will", "08 0003 612f2b", 0x82],
    ["an empty response topic", "publish", "08 0000", 0x82],
    ["receive maximum 0", "connect", "21 0000", 0x82],
    ["maximum packet size 0", "connect", "27 00000000", 0x82],
    ["request problem information 2", "connect", "17 02", 0x82],
    ["request response information 2", "connect", "19 02", 0x82],
    ["authentication data without method", "connect", "16 0001 70", 0x82],
    ["an authentication method", "connect", "15 0001 70", 0x8c],
    ["subscription identifier 0", "subscribe", "0b 00", 0x81],
    ["subscription identifier of five bytes", "subscribe", "0b 8080808001", 0x81],
    ["topic alias 0", "publish", "23 0000", 0x94],
    ["topic alias above the maximum", "publish", "23 000b", 0x94],
    ["user property that is not UTF-8", "publish", "26 0001 ff 0001 71", 0x81],
    ["user property with U+0000", "publish", "26 0001 00 0001 71", 0x81],
    ["content type with an encoded surrogate", "publish", "03 0003 eda080", 0x81],
  ];
  for (const [name, kind, properties, code] of values) {
    it(`${kind} with ${name} is answered 0x${code.toString(16)}`, async () => {
      const { make, first } = CARRIERS[kind]!;
      const { told, client } = await tell(make(properties), first);
      assert.deepEqual(told, [refusal(kind, code)]);
      assert.ok(client.ended);
    });
  }
});

/** Bytes from a connected client, and the reason code of the DISCONNECT; 0: closed without one; undefined: served. */
const SEQUENCES: [name: string, bytes: string, code: number | undefined][] = [
  ["type 0", "00 00", 0x82],
  ["type 0 with flags", "0f 00", 0x82],
  ["type 0 whose length is not there yet", "0a c0", 0x82],
  ["a second CONNECT", "10 0e 0004 4d515454 05 02 003c 00 0001 70", 0x82],
  ["CONNACK", "20 03 000000", 0x82],
  ["CONNACK with flags", "21 03 000000", 0x81],
  ["SUBACK", "90 04 0001 00 00", 0x82],
  ["SUBACK without body", "90 00", 0x82],
  ["UNSUBACK with flags", "b2 04 0001 00 00", 0x81],
  ["PINGRESP", "d0 00", 0x82],
  ["PINGRESP with flags", "d8 00", 0x81],
  ["PINGRESP with a body", "d0 01 00", 0],
  ["AUTH", "f0 00", 0x82],
  ["AUTH to authenticate anew", "f0 02 19 00", 0x82],
  ["AUTH with flags", "f1 00", 0x82],
  ["PINGREQ with flags", "c1 00", 0x81],
  ["PINGREQ with a body", "c0 01 00", 0],
  ["a length of five bytes", "30 80 80 80 80 01", 0],
  ["a length of five bytes, SUBSCRIBE", "82 ff ff ff ff 7f", 0],
  ["a packet of 2,000,001 bytes", "30 fd 88 7a", 0x95],
  ["PUBLISH at QoS 3", "36 08 0001 61 0001 00 78", 0x81],
  ["PUBLISH with DUP at QoS 0", "38 05 0001 61 00 78", 0x81],
  ["PUBLISH without body", "30 00", 0x81],
  ["PUBLISH with half a topic length", "30 01 00", 0x81],
  ["PUBLISH with its topic past the end", "30 05 0004 61 00 78", 0x81],
  ["PUBLISH without property length", "30 03 0001 61", 0x81],
  ["PUBLISH with its properties past the end", "30 05 0001 61 02 26", 0x81],
  ["PUBLISH with an empty topic and no alias", "30 04 0000 00 78", 0x81],
  ["PUBLISH with an alias that is not set", "30 07 0000 03 230001 78", 0x82],
  ["PUBLISH to a+", "30 06 0002 612b 00 78", 0x81],
  ["PUBLISH to #", "30 05 0001 23 00 78", 0x81],
  ["PUBLISH to a topic with U+0000", "30 05 0001 00 00 78", 0x81],
  ["PUBLISH to a topic with U+0001", "30 05 0001 01 00 78", 0x81],
  ["PUBLISH to a topic with U+009F", "30 06 0002 c29f 00 78", 0x81],
  ["PUBLISH to a topic with U+FFFF", "30 07 0003 efbfbf 00 78", 0x81],
  ["PUBLISH to a topic with a surrogate", "30 07 0003 eda080 00 78", 0x81],
  ["PUBLISH at QoS 1 without identifier", "32 03 0001 61", 0x81],
  ["PUBLISH at QoS 1 with identifier 0", "32 06 0001 61 0000 00", 0x82],
  ["PUBLISH at QoS 2 with identifier 0", "34 06 0001 61 0000 00", 0x82],
  ...[0x40, 0x50, 0x62, 0x70].flatMap((first): [string, string, number | undefined][] => {
    const h = hex(first);
    const name = `acknowledgement ${h}`;
    return [
      [`${name} without body`, `${h} 00`, 0x81],
      [`${name} with half an identifier`, `${h} 01 01`, 0x81],
      [`${name} with identifier 0`, `${h} 02 0000`, 0x82],
      [`${name} with identifier 0 and a code`, `${h} 03 0000 00`, 0x82],
      [`${name} with other flags`, `${hex(first ^ 1)} 02 0001`, 0x81],
      [`${name} with an unknown code`, `${h} 04 0001 ff 00`, 0x82],
      [`${name} with a byte too many`, `${h} 05 0001 00 00 00`, 0x81],
      [`${name} with its properties cut`, `${h} 04 0001 00 01`, 0x81],
    ];
  }),
  ["PUBACK with a code", "40 03 0001 80", undefined],
  ["PUBREC with a code", "50 03 0001 80", undefined],
  ["SUBSCRIBE with flags 0", "80 07 0001 00 0001 61 00", 0x81],
  ["SUBSCRIBE with DUP", "8a 07 0001 00 0001 61 00", 0x81],
  ["SUBSCRIBE with identifier 0", "82 07 0000 00 0001 61 00", 0x81],
  ["SUBSCRIBE without filter", "82 03 0001 00", 0x81],
  ["SUBSCRIBE without body", "82 00", 0x81],
  ["SUBSCRIBE without options", "82 06 0001 00 0001 61", 0x81],
  ["SUBSCRIBE at QoS 3", "82 07 0001 00 0001 61 03", 0x81],
  ["SUBSCRIBE with retain handling 3", "82 07 0001 00 0001 61 30", 0x81],
  ["SUBSCRIBE with reserved option bit 6", "82 07 0001 00 0001 61 40", 0x81],
  ["SUBSCRIBE with reserved option bit 7", "82 07 0001 00 0001 61 80", 0x81],
  ["SUBSCRIBE to an empty filter", "82 06 0001 00 0000 00", 0x81],
  ["SUBSCRIBE to a good and an empty filter", "82 0a 0001 00 0001 71 00 0000 00", 0x81],
  ["SUBSCRIBE to a#", "82 08 0001 00 0002 6123 00", 0x81],
  ["SUBSCRIBE to #/a", "82 09 0001 00 0003 232f61 00", 0x81],
  ["SUBSCRIBE to a filter with U+0000", "82 07 0001 00 0001 00 00", 0x81],
  ["SUBSCRIBE to $share/+/p", "82 10 0001 00 000a 2473686172652f2b2f70 00", 0x82],
  ["SUBSCRIBE to $share/#/p", "82 10 0001 00 000a 2473686172652f232f70 00", 0x81],
  ["SUBSCRIBE to $share/p/", "82 0f 0001 00 0009 2473686172652f702f 00", 0x82],
  ["SUBSCRIBE to $share/p", "82 0e 0001 00 0008 2473686172652f70 00", 0x82],
  ["SUBSCRIBE to $share//p", "82 0f 0001 00 0009 2473686172652f2f70 00", 0x82],
  ["SUBSCRIBE to $share/p/p with No Local", "82 10 0001 00 000a 2473686172652f702f70 04", 0x82],
  ["UNSUBSCRIBE with flags 0", "a0 06 0001 00 0001 61", 0x81],
  ["UNSUBSCRIBE with identifier 0", "a2 06 0000 00 0001 61", 0x81],
  ["UNSUBSCRIBE without filter", "a2 03 0001 00", 0x81],
  ["UNSUBSCRIBE from an empty filter", "a2 05 0001 00 0000", 0x81],
  ["UNSUBSCRIBE with its filter past the end", "a2 06 0001 00 0002 61", 0x81],
  ["DISCONNECT with flags", "e1 00", 0x81],
  ["DISCONNECT with a code that a client does not send", "e0 01 8e", 0],
  ["DISCONNECT with a code that does not exist", "e0 01 05", 0],
  ["DISCONNECT with a byte behind its properties", "e0 03 00 00 00", 0x81],
  ["DISCONNECT with its properties cut", "e0 02 00 05", 0x81],
  ["DISCONNECT that makes session expiry of 0 longer", "e0 07 00 05 11 00000001", 0x82],
];

describe("an MQTT 5 client that sends", () => {
  for (const [name, sent, code] of SEQUENCES) {
    const end = code === undefined ? "is served" : code === 0 ? "is closed" : `is told 0x${hex(code)}`;
    it(`${name} ${end}`, async () => {
      const { told, client } = await tell(bytes(sent));
      if (code === undefined) {
        assert.deepEqual(told, ["pingresp"]);
        assert.ok(!client.ended);
        return;
      }
      assert.deepEqual(told, code === 0 ? [] : [`disconnect 0x${hex(code)}`]);
      assert.ok(client.ended && !client.closed, "it can read that, and has its own side to close");
      assert.deepEqual(client.errors, []);
    });
  }

  it("anything but CONNECT first is closed without an answer", async () => {
    for (const sent of [
      "30 05 0001 61 00 78",
      "c0 00",
      "e0 00",
      "f0 00",
      "40 02 0001",
      "00 00",
      "20 03 000000",
    ]) {
      const { told, client } = await tell(bytes(sent), true);
      assert.deepEqual(told, [], sent);
      assert.ok(client.ended, sent);
    }
  });

  it("a DISCONNECT is the shortest there is, and says why in words where that was asked for", async () => {
    const broker = new TestBroker();
    const curt = await broker.connect5("a");
    const before = curt.bytes;
    curt.raw("d0 00");
    await settle();
    assert.equal(curt.bytes - before, 3);
    const curious = await broker.connect5("b", { properties: { requestProblemInformation: true } });
    curious.raw("d0 00");
    const [packet] = await curious.take();
    assert.ok(packet?.cmd === "disconnect");
    assert.equal(packet.properties?.reasonString, "packet type 13 is not for a client to send");
    const small = { requestProblemInformation: true, maximumPacketSize: 20 };
    const tight = await broker.connect5("c", { properties: small });
    tight.raw("d0 00");
    assert.deepEqual(await tight.told(), ["disconnect 0x82"], "not in words that it does not take");
  });
});

const CONNECTS: [name: string, bytes: string, answer: string][] = [
  ["no will topic", "10 0e 0004 4d515454 05 06 003c 00 0001 70", "connack 129"],
  ["a will topic with a wildcard", "10 15 0004 4d515454 05 06 003c 00 0001 70 00 0001 23 0001 78", ""],
  ["an empty will topic", "10 14 0004 4d515454 05 06 003c 00 0001 70 00 0000 0001 78", ""],
  ["a will topic with U+0000", "10 15 0004 4d515454 05 06 003c 00 0001 70 00 0001 00 0001 78", ""],
  ["will QoS 3", "10 15 0004 4d515454 05 1e 003c 00 0001 70 00 0001 77 0001 78", "connack 129"],
  ["will QoS without will", "10 0e 0004 4d515454 05 0a 003c 00 0001 70", "connack 129"],
  ["will retain without will", "10 0e 0004 4d515454 05 22 003c 00 0001 70", "connack 129"],
  ["the reserved flag", "10 0e 0004 4d515454 05 03 003c 00 0001 70", "connack 129"],
  ["bytes after the end", "10 0f 0004 4d515454 05 02 003c 00 0001 70 00", "connack 129"],
  ["no client identifier", "10 0b 0004 4d515454 05 02 003c 00", "connack 129"],
  ["no properties", "10 0a 0004 4d515454 05 02 003c", "connack 129"],
  ["half a keep-alive", "10 09 0004 4d515454 05 02 00", "connack 129"],
  ["a client identifier with U+0000", "10 0e 0004 4d515454 05 02 003c 00 0001 00", "connack 133"],
  ["a client identifier with a surrogate", "10 10 0004 4d515454 05 02 003c 00 0003 eda080", "connack 133"],
  ["a client identifier with U+007F", "10 0e 0004 4d515454 05 02 003c 00 0001 7f", "connack 133"],
  ["a user name with U+0000", "10 11 0004 4d515454 05 82 003c 00 0001 70 0001 00", ""],
  ["no user name", "10 0e 0004 4d515454 05 82 003c 00 0001 70", ""],
  ["no password", "10 11 0004 4d515454 05 c2 003c 00 0001 70 0001 75", ""],
  ["a fixed header with flags", "12 0e 0004 4d515454 05 02 003c 00 0001 70", ""],
  ["another protocol name", "10 0e 0004 4d515455 05 02 003c 00 0001 70", ""],
  [
    "a password without user name (allowed)",
    "10 11 0004 4d515454 05 42 003c 00 0001 70 0001 75",
    "connack 0",
  ],
  ["an empty user name (allowed)", "10 10 0004 4d515454 05 82 003c 00 0001 70 0000", "connack 0"],
  ["an empty client identifier, not clean (allowed)", "10 0d 0004 4d515454 05 00 003c 00 0000", "connack 0"],
  [
    "a maximum packet size too small for any CONNACK",
    "10 13 0004 4d515454 05 02 003c 05 2700000002 0001 70",
    "",
  ],
];

describe("an MQTT 5 CONNECT with", () => {
  for (const [name, sent, answer] of CONNECTS) {
    it(`${name}: ${answer || "closed"}`, async () => {
      const broker = new TestBroker();
      const client = broker.open(5).raw(sent);
      assert.deepEqual(await client.told(), answer === "" ? [] : [answer]);
      assert.equal(client.ended, answer !== "connack 0");
      assert.equal(broker.stat("clients"), answer === "connack 0" ? 1 : 0);
    });
  }
});
