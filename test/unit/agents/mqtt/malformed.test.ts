import assert from "node:assert/strict";
import { describe, it } from "node:test";
import mqtt from "mqtt-packet";
import fc from "../../../property.js";
import { publish, settle, subscribe, TestBroker, unsubscribe } from "./harness.js";

type Wrong = [name: string, bytes: string, reason?: "malformed" | "protocol_error" | "packet_too_large"];

const CONNECT_WRONG: Wrong[] = [
  ["no body", "10 00"],
  ["fixed header flags", "11 0f 0004 4d515454 04 02 003c 0003 616263"],
  ["protocol name past the end", "10 05 0008 4d5154"],
  ["no protocol level", "10 06 0004 4d515454"],
  ["no flags", "10 07 0004 4d515454 04"],
  ["no keep-alive", "10 08 0004 4d515454 04 02"],
  ["half a keep-alive", "10 09 0004 4d515454 04 02 00"],
  ["no client identifier", "10 0a 0004 4d515454 04 02 003c"],
  ["client identifier past the end", "10 0f 0004 4d515454 04 02 003c 0004 616263"],
  ["reserved flag", "10 0f 0004 4d515454 04 03 003c 0003 616263"],
  ["will QoS 3", "10 15 0004 4d515454 04 1e 003c 0003 616263 0001 77 0001 78"],
  ["will QoS without will", "10 0f 0004 4d515454 04 0a 003c 0003 616263"],
  ["will retain without will", "10 0f 0004 4d515454 04 22 003c 0003 616263"],
  ["will topic missing", "10 0f 0004 4d515454 04 06 003c 0003 616263"],
  ["will payload missing", "10 12 0004 4d515454 04 06 003c 0003 616263 0001 77"],
  ["will topic with wildcard", "10 15 0004 4d515454 04 06 003c 0003 616263 0001 23 0001 78"],
  ["will topic empty", "10 14 0004 4d515454 04 06 003c 0003 616263 0000 0001 78"],
  ["password without user name", "10 12 0004 4d515454 04 42 003c 0003 616263 0001 78"],
  ["user name missing", "10 0f 0004 4d515454 04 82 003c 0003 616263"],
  ["password missing", "10 12 0004 4d515454 04 c2 003c 0003 616263 0001 75"],
  ["bytes after the end", "10 10 0004 4d515454 04 02 003c 0003 616263 00"],
  ["client identifier not UTF-8", "10 0e 0004 4d515454 04 02 003c 0002 c328"],
  ["client identifier with U+0000", "10 0f 0004 4d515454 04 02 003c 0003 610062"],
  ["user name not UTF-8", "10 12 0004 4d515454 04 82 003c 0003 616263 0001 ff"],
  ["length of five bytes", "10 ff ff ff ff 01", "malformed"],
  ["length above the limit", "10 ff ff ff 7f", "packet_too_large"],
];

const CONNECTED_WRONG: Wrong[] = [
  ["type 0", "00 00", "protocol_error"],
  ["CONNACK", "20 02 0000", "protocol_error"],
  ["SUBACK", "90 03 0001 00", "protocol_error"],
  ["UNSUBACK", "b0 02 0001", "protocol_error"],
  ["PINGRESP", "d0 00", "protocol_error"],
  ["AUTH", "f0 00", "protocol_error"],
  ["PUBLISH at QoS 3", "36 06 0001 61 0001 78"],
  ["PUBLISH with DUP at QoS 0", "38 04 0001 61 78"],
  ["PUBLISH without body", "30 00"],
  ["PUBLISH with half a topic length", "30 01 00"],
  ["PUBLISH with its topic past the end", "30 04 0003 61 78"],
  ["PUBLISH with an empty topic", "30 03 0000 78"],
  ["PUBLISH to +", "30 04 0001 2b 78"],
  ["PUBLISH to a/#", "30 06 0003 612f23 78"],
  ["PUBLISH to a topic with U+0000", "30 06 0003 610062 78"],
  ["PUBLISH to a topic that is not UTF-8", "30 05 0002 c328 78"],
  ["PUBLISH to a topic with an encoded surrogate", "30 06 0003 eda080 78"],
  ["PUBLISH to a topic in overlong UTF-8", "30 05 0002 c0af 78"],
  ["PUBLISH at QoS 1 without identifier", "32 03 0001 61"],
  ["PUBLISH at QoS 1 with half an identifier", "32 04 0001 61 00"],
  ["PUBLISH at QoS 1 with identifier 0", "32 06 0001 61 0000 78", "protocol_error"],
  ["PUBLISH at QoS 2 with identifier 0", "34 05 0001 61 0000", "protocol_error"],
  ["PUBACK with flags", "41 02 0001"],
  ["PUBACK without identifier", "40 00"],
  ["PUBACK with half an identifier", "40 01 01"],
  ["PUBACK with identifier 0", "40 02 0000", "protocol_error"],
  ["PUBACK of three bytes", "40 03 0001 00"],
  ["PUBREC of three bytes", "50 03 0001 00"],
  ["PUBREL with flags 0", "60 02 0001"],
  ["PUBREL with identifier 0", "62 02 0000", "protocol_error"],
  ["PUBREL of four bytes", "62 04 0001 0000"],
  ["PUBCOMP with flags", "72 02 0001"],
  ["SUBSCRIBE with flags 0", "80 06 0001 0001 61 00"],
  ["SUBSCRIBE with identifier 0", "82 06 0000 0001 61 00"],
  ["SUBSCRIBE without body", "82 00"],
  ["SUBSCRIBE without filter", "82 02 0001"],
  ["SUBSCRIBE without QoS", "82 05 0001 0001 61"],
  ["SUBSCRIBE at QoS 3", "82 06 0001 0001 61 03"],
  ["SUBSCRIBE with reserved option bits", "82 06 0001 0001 61 04"],
  ["SUBSCRIBE with an empty filter", "82 05 0001 0000 00"],
  ["SUBSCRIBE with its filter past the end", "82 06 0001 0002 61 00"],
  ["SUBSCRIBE with half a length behind a filter", "82 07 0001 0001 61 00 00"],
  ["SUBSCRIBE to a+", "82 07 0001 0002 612b 00"],
  ["SUBSCRIBE to #/a", "82 08 0001 0003 232f61 00"],
  ["SUBSCRIBE to a filter that is not UTF-8", "82 06 0001 0001 ff 00"],
  ["SUBSCRIBE to a filter with U+0000", "82 06 0001 0001 00 00"],
  ["a good filter before a wrong one", "82 0a 0001 0001 61 00 0001 ff 00"],
  ["UNSUBSCRIBE with flags 0", "a0 05 0001 0001 61"],
  ["UNSUBSCRIBE with identifier 0", "a2 05 0000 0001 61"],
  ["UNSUBSCRIBE without filter", "a2 02 0001"],
  ["UNSUBSCRIBE from an empty filter", "a2 04 0001 0000"],
  ["UNSUBSCRIBE with its filter past the end", "a2 05 0001 0002 61"],
  ["PINGREQ with flags", "c1 00"],
  ["PINGREQ with a body", "c0 01 00"],
  ["DISCONNECT with flags", "e1 00"],
  ["DISCONNECT with a body", "e0 01 00"],
  ["a length of five bytes", "30 80 80 80 80 01"],
  ["a packet above the limit", "30 fe 88 7a", "packet_too_large"],
];

describe("a malformed CONNECT closes its connection without an answer:", () => {
  for (const [name, bytes, reason = "malformed"] of CONNECT_WRONG) {
    it(name, async () => {
      const broker = new TestBroker();
      const client = broker.open().raw(bytes, "c0 00");
      assert.deepEqual(await client.told(), []);
      assert.ok(client.ended);
      assert.equal(broker.stat(`closed_${reason}`), 1);
      assert.equal(broker.stat("clients"), 0);
    });
  }
});

describe("a malformed packet closes its connection, and only that:", () => {
  for (const [name, bytes, reason = "malformed"] of CONNECTED_WRONG) {
    it(name, async () => {
      const broker = new TestBroker();
      const other = await broker.connect("other");
      other.send(subscribe(1, "#"));
      await other.take();
      const client = await broker.connect("c");
      // What follows in the same chunk must not be taken for the missing rest, nor be handled any more.
      client.raw("c0 00", bytes, mqtt.generate(publish("after")));
      assert.deepEqual(await client.told(), ["pingresp"]);
      assert.ok(client.ended);
      assert.equal(broker.stat(`closed_${reason}`), 1);
      assert.equal(broker.stat("clients"), 1);
      other.send(publish("t", "still here"));
      assert.deepEqual(await other.told(), ["publish t still here"]);
      assert.equal(broker.stat("subscriptions"), 1);
    });
  }
});

describe("what is unusual and still right is served:", () => {
  const right: [name: string, bytes: string, told: string[]][] = [
    ["a length with more bytes than needed", "30 84 80 00 0001 61 78", ["publish a x"]],
    ["U+FFFD in a topic", "30 06 0003 efbfbd 78", ["publish \ufffd x"]],
    ["a byte order mark in a topic (MQTT-1.5.3-3)", "30 07 0004 efbbbf61 78", ["publish \ufeffa x"]],
    ["acknowledgements of nothing", "40 02 0001 70 02 0001 c0 00", ["pingresp"]],
    ["PUBREC of nothing", "50 02 0001", ["pubrel 1"]],
    ["PUBREL of nothing", "62 02 0009", ["pubcomp 9"]],
    ["RETAIN on a PUBLISH without payload", "31 03 0001 61", ["publish a "]],
  ];
  for (const [name, bytes, told] of right) {
    it(name, async () => {
      const client = await new TestBroker().connect("c");
      client.send(subscribe(1, "#"));
      await client.take();
      client.raw(bytes);
      assert.deepEqual(await client.told(), told);
      assert.ok(!client.ended);
    });
  }

  it("MQTT 3.1 repeats with DUP set, and sets flags that it has no use for", async () => {
    const client = new TestBroker().open();
    client.raw("17 0f 0006 4d5149736470 03 02 003c 0001 61");
    client.raw("8a 06 0001 0001 61 02", "6a 02 0001", "aa 05 0002 0001 61");
    client.raw("83 06 0003 0001 61 02", "63 02 0004", "a3 05 0005 0001 61", "c9 00", "4f 02 0001", "ef 00");
    const answers = ["connack 0", "suback 1 [2]", "pubcomp 1", "unsuback 2"];
    assert.deepEqual(await client.told(), [
      ...answers,
      ...["suback 3 [2]", "pubcomp 4", "unsuback 5", "pingresp"],
    ]);
  });

  it("but not a SUBSCRIBE of MQTT 3.1 at QoS 0, which would have no identifier", async () => {
    const broker = new TestBroker();
    const client = broker.open();
    client.raw("10 0f 0006 4d5149736470 03 02 003c 0001 61", "80 06 0001 0001 61 02");
    assert.deepEqual(await client.told(), ["connack 0"]);
    assert.equal(broker.stat("closed_malformed"), 1);
  });
});

describe("the packet size limit", () => {
  it("takes a packet of exactly the limit, and refuses one more byte by its length alone", async () => {
    const broker = new TestBroker({ limits: { packetBytes: 1_000 } });
    const client = await broker.connect("c");
    client.send(subscribe(1, "#"));
    await client.take();
    client.send(publish("t", "x".repeat(994)));
    assert.equal((await client.take()).length, 1);
    client.raw("30 e6 07");
    await settle();
    assert.ok(client.ended);
    assert.equal(broker.stat("closed_packet_too_large"), 1);
  });
});

/** Everything a well-behaved client sends, as bytes. */
const session = Buffer.concat(
  [
    { cmd: "connect", clientId: "c", clean: true, keepalive: 60, protocolVersion: 4 } as const,
    subscribe(1, "a/+", "b/#"),
    publish("a/b", "hello"),
    publish("a/c", "y".repeat(300), { qos: 1, id: 7 }),
    publish("b", "z", { qos: 2, id: 8 }),
    { cmd: "pubrel", messageId: 8 } as const,
    { cmd: "pingreq" } as const,
    unsubscribe(2, "a/+"),
    publish("a/b", "unheard"),
    { cmd: "disconnect" } as const,
  ].map((packet) => mqtt.generate(packet)),
);

const EXPECTED = [
  "connack 0",
  "suback 1 [0,0]",
  "publish a/b hello",
  `publish a/c ${"y".repeat(300)}`,
  "puback 7",
  "publish b z",
  "pubrec 8",
  "pubcomp 8",
  "pingresp",
  "unsuback 2",
];

describe("bytes in any pieces", () => {
  it("mean the same", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(session.length), { maxLength: 40 }), async (cuts) => {
        const client = new TestBroker().open();
        let at = 0;
        for (const cut of [...cuts.sort((x, y) => x - y), session.length]) {
          if (cut > at) client.raw(session.subarray(at, cut));
          at = Math.max(at, cut);
        }
        assert.deepEqual(await client.told(), EXPECTED);
      }),
      { numRuns: 150 },
    );
    const client = new TestBroker().open();
    for (const byte of session) client.raw(Buffer.from([byte]));
    assert.deepEqual(await client.told(), EXPECTED);
  });
});

describe("bytes of any kind", () => {
  /** Random changes to good packets reach deeper than random bytes; both are tried. */
  const change = fc.oneof(
    fc.record({ kind: fc.constant("set" as const), at: fc.nat(), value: fc.nat(255) }),
    fc.record({ kind: fc.constant("flip" as const), at: fc.nat(), value: fc.nat(7) }),
    fc.record({ kind: fc.constant("insert" as const), at: fc.nat(), value: fc.nat(255) }),
    fc.record({ kind: fc.constant("remove" as const), at: fc.nat(), value: fc.constant(0) }),
    fc.record({ kind: fc.constant("cut" as const), at: fc.nat(), value: fc.constant(0) }),
  );
  const mutated = fc.array(change, { minLength: 1, maxLength: 6 }).map((changes) => {
    let bytes = Buffer.from(session);
    for (const { kind, at, value } of changes) {
      if (bytes.length === 0) break;
      const i = at % bytes.length;
      if (kind === "set") bytes[i] = value;
      else if (kind === "flip") bytes[i]! ^= 1 << value;
      else if (kind === "insert")
        bytes = Buffer.concat([bytes.subarray(0, i), Buffer.from([value]), bytes.subarray(i)]);
      else if (kind === "remove") bytes = Buffer.concat([bytes.subarray(0, i), bytes.subarray(i + 1)]);
      else bytes = bytes.subarray(0, i);
    }
    return bytes;
  });
  const random = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes));
  const connected = random.map((bytes) =>
    Buffer.concat([session.subarray(0, session.indexOf("a/+") - 6), bytes]),
  );

  it("never throw, never disturb another client, and leave nothing behind", async () => {
    // Sessions that outlive their connections are no leftovers, but would look like some.
    const broker = new TestBroker({ limits: { packetBytes: 4_096, sessionExpirySeconds: 0 } });
    const other = await broker.connect("the other");
    other.send(subscribe(1, "other"));
    await other.take();
    let turn = 0;
    await fc.assert(
      fc.asyncProperty(fc.oneof(mutated, random, connected), async (bytes) => {
        turn += 1;
        const client = broker.open();
        client.raw(bytes);
        other.send(publish("other", `${turn}`));
        assert.deepEqual(await other.told(), [`publish other ${turn}`]);
        client.stream.destroy();
        await settle();
        assert.equal(broker.stat("closed_internal_error"), 0);
        assert.equal(broker.stat("connections"), 1);
        assert.equal(broker.stat("clients"), 1);
        assert.equal(broker.stat("subscriptions"), 1);
        assert.equal(broker.clock.pending, 0);
      }),
      { numRuns: 1_500 },
    );
  });
});

describe("an exception in a handler", () => {
  it("closes that client only", async () => {
    const broker = new TestBroker({
      uplink: {
        subscribe: () => Promise.resolve(),
        unsubscribe: () => {},
        publish: (message) => {
          if (message.topic === "bad") throw new Error("a bug");
          return undefined;
        },
      },
    });
    const a = await broker.connect("a");
    const b = await broker.connect("b");
    a.send(publish("bad"));
    b.send(subscribe(1, "t"), publish("t"));
    assert.deepEqual(await b.told(), ["publish t x", "suback 1 [0]"]);
    assert.ok((await a.take()).length === 0 && a.ended);
    assert.equal(broker.stat("closed_internal_error"), 1);
  });
});
