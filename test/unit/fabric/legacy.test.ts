/** Legacy proxies: bare MQTT over UDP, as the Scapy MQTT proxy sends and takes it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Endpoint, encodePlainPublish, readPlain } from "@topicast/protocol";
import fc from "../../property.js";
import { FORWARDER, SimAgent, SimForwarder, SimNetwork } from "./sim.js";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

/** Byte for byte what the Scapy proxy puts into its datagrams. */
const BYTES = {
  // Its client's SUBSCRIBE, passed on as it is: packet identifier 1, QoS 0.
  SUBSCRIBE: hex("82 0b 00 01 00 06 61 2f 74 65 6d 70 00"),
  // Type 11, which is UNSUBACK's, and a requested QoS behind the end.
  UNSUBSCRIBE: hex("b0 0a 00 01 00 06 61 2f 74 65 6d 70 00"),
  // Its client's PUBLISH, passed on as it is: at QoS 0 and, with a packet identifier, at QoS 1.
  PUBLISH: hex("30 0c 00 06 61 2f 74 65 6d 70 32 31 2e 35"),
  PUBLISH_QOS1: hex("32 0e 00 06 61 2f 74 65 6d 70 00 07 32 31 2e 36"),
};

class PlainProxy {
  readonly got: string[] = [];

  constructor(
    readonly network: SimNetwork,
    readonly endpoint: Endpoint,
  ) {
    network.attach(endpoint.address, (bytes, from) => {
      // It takes what comes from its forwarder.
      assert.deepEqual(from, FORWARDER);
      this.got.push(bytes.toString("hex"));
    });
  }

  send(bytes: Buffer): void {
    this.network.carry(bytes, this.endpoint, FORWARDER);
  }
}

async function setUp() {
  const network = new SimNetwork(1);
  const [one, two, stranger] = [50, 51, 66].map(
    (n) => new PlainProxy(network, { address: `10.0.0.${n}`, port: 1883 }),
  ) as [PlainProxy, PlainProxy, PlainProxy];
  const forwarder = new SimForwarder(network, { legacyProxies: [one.endpoint, two.endpoint] });
  const agents = [101, 102].map((n) => new SimAgent(network, `e${n}`, `10.0.0.${n}`)) as [SimAgent, SimAgent];
  await network.run(4_000, 10);
  return { network, one, two, stranger, forwarder, agents };
}

describe("a legacy proxy", () => {
  it("gets what is published anywhere between its SUBSCRIBE and its UNSUBSCRIBE, in order, as plain PUBLISH", async () => {
    const { network, one, two, agents } = await setUp();
    const [e1, e2] = agents;
    await network.until(e2.subscribe("a/#"));
    const publish = async (from: number, to: number) => {
      for (let i = from; i < to; i++) {
        e1.publish("a/temp", String(i), i % 2 === 0 ? 0 : 1);
        await network.run(5);
      }
    };
    await publish(0, 20);
    one.send(BYTES.SUBSCRIBE);
    await network.run(50);
    await publish(20, 60);
    two.send(BYTES.PUBLISH);
    await network.run(50);
    one.send(BYTES.UNSUBSCRIBE);
    await network.run(50);
    await publish(60, 80);
    await network.run(100);
    const plain = (text: string) =>
      encodePlainPublish({ topic: "a/temp", payload: Buffer.from(text), qos: 0, retain: false }).toString(
        "hex",
      );
    const wanted = Array.from({ length: 40 }, (_, i) => plain(String(i + 20)));
    assert.deepEqual(one.got, [...wanted, BYTES.PUBLISH.toString("hex")]);
    assert.deepEqual(two.got, []);
    const all = Array.from({ length: 80 }, (_, i) => String(i));
    assert.deepEqual(
      e2.texts().filter((t) => t !== "21.5"),
      all,
      "the edges miss nothing over the changes",
    );
    assert.ok(e1.fabric.counters().published_direct! >= 30, "straight again when the proxy has left");
  });

  it("publishes to edges and other proxies, not to itself, at QoS 0 whatever its client asked for", async () => {
    const { network, one, two, agents } = await setUp();
    await network.until(agents[0].subscribe("a/temp"));
    for (const proxy of [one, two]) proxy.send(BYTES.SUBSCRIBE);
    one.send(BYTES.PUBLISH);
    one.send(BYTES.PUBLISH_QOS1);
    await network.run(100);
    assert.deepEqual(
      agents[0].received.map((m) => [m.topic, m.payload.toString(), m.qos, m.retain]),
      [
        ["a/temp", "21.5", 0, false],
        ["a/temp", "21.6", 0, false],
      ],
    );
    assert.deepEqual(one.got, []);
    assert.deepEqual(two.got, [BYTES.PUBLISH.toString("hex"), "300c0006612f74656d7032312e36"]);
  });

  it("is one that is configured: nobody else is listened to, nor reserved topics", async () => {
    const { network, one, stranger, agents, forwarder } = await setUp();
    await network.until(agents[0].subscribe("#"));
    stranger.send(BYTES.PUBLISH);
    stranger.send(BYTES.SUBSCRIBE);
    for (const topic of ["$fabric/route", "$SYS/x", "a/+", ""]) {
      one.send(encodePlainPublish({ topic, payload: Buffer.from("{}"), qos: 0, retain: false }));
    }
    one.send(hex("82 0a 00 01 00 05 24 53 59 53 2f 00"));
    await network.run(100);
    agents[1].publish("a/temp", "x");
    await network.run(100);
    assert.deepEqual(agents[0].texts(), ["x"]);
    assert.deepEqual(stranger.got, []);
    const metrics = new Map([...forwarder.forwarder.metrics()].map((m) => [m.name, m.value]));
    assert.equal(metrics.get("forwarder_plain_strangers_total"), 2);
    assert.equal(metrics.get("forwarder_plain_malformed_total"), 4);
    assert.equal(metrics.get("forwarder_plain_filters_refused_total"), 1);
  });
});

describe("the plain form", () => {
  it("is read as it is sent, and a true UNSUBSCRIBE, too", () => {
    assert.deepEqual(readPlain(BYTES.SUBSCRIBE), [{ type: "subscribe", filters: ["a/temp"] }]);
    const unsubscribe = [{ type: "unsubscribe", filters: ["a/temp"] }];
    assert.deepEqual(readPlain(BYTES.UNSUBSCRIBE), unsubscribe);
    assert.deepEqual(readPlain(BYTES.UNSUBSCRIBE.subarray(0, -1)), unsubscribe);
    assert.deepEqual(readPlain(hex("a2 0a 00 01 00 06 61 2f 74 65 6d 70")), unsubscribe);
    assert.deepEqual(readPlain(Buffer.concat([BYTES.PUBLISH, BYTES.SUBSCRIBE]))?.length, 2);
    assert.deepEqual(readPlain(hex("b0 02 00 01")), [{ type: "other" }], "a true UNSUBACK");
  });

  it("is refused where it is cut or its lengths lie; nothing throws, whatever comes", () => {
    for (const bytes of Object.values(BYTES)) {
      for (let length = 1; length < bytes.length - 1; length++) {
        assert.equal(
          readPlain(bytes.subarray(0, length)),
          undefined,
          bytes.subarray(0, length).toString("hex"),
        );
      }
    }
    for (const text of [
      "",
      "30",
      "30 ff ff ff ff 01",
      "36 0c 00 06 61 2f 74 65 6d 70 00 07 32 31",
      "82 02 00 01",
    ])
      assert.equal(readPlain(hex(text)), undefined, text);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (b) => void readPlain(Buffer.from(b))));
  });

  it("round-trips a PUBLISH of any size", () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, maxLength: 300 }),
        fc.uint8Array({ maxLength: 20_000 }),
        (topic, b) => {
          const message = {
            topic,
            payload: Buffer.from(b),
            qos: 0,
            retain: false,
          } as const;
          assert.deepEqual(readPlain(encodePlainPublish(message)), [{ type: "publish", message }]);
        },
      ),
    );
  });
});
