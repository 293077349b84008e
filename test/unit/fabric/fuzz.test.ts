/** What anybody may send to a fabric port: agents and forwarder live through it, and go on. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  agentNumber,
  type Endpoint,
  encodeFabricJson,
  encodeHeader,
  encodePacket,
  encodePublish,
  type FabricTopic,
  type Header,
  Kind,
  FabricTopic as topics,
} from "@topicast/protocol";
import fc from "../../property.js";
import { FORWARDER, simFabric } from "./sim.js";

const AGENTS = ["e1", "e2", "e3"];
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const source = fc.oneof(fc.constantFrom(0, ...AGENTS.map(agentNumber)), u32);
const small = fc.oneof(fc.integer({ min: 0, max: 8 }), u32);

/** MQTT packets as the fabric has them, with contents that are nearly right. */
const text = fc.oneof(
  fc.constantFrom("t", "a/b", "+/#", "$share/g/t", "", "\u0000"),
  fc.string({ maxLength: 20 }),
);
const json = fc.oneof(
  fc.jsonValue(),
  fc.record({
    topic: text,
    group: fc.oneof(text, fc.constant("239.192.0.1"), fc.constant(null)),
    to: fc.array(text),
  }),
  fc.record({
    group: fc.constant("239.192.0.1"),
    edges: fc.array(fc.record({ agent: small, at: fc.constantFrom("10.0.0.101:1883", "x"), epoch: small })),
  }),
  fc.record({ agent: source, epoch: small }),
  fc.record({ client: text, number: small, at: small, clean: fc.boolean(), from: source, to: source }),
);
const reserved = fc.constantFrom<(typeof FabricTopic)[keyof typeof FabricTopic]>(...Object.values(topics));
const bytes = fc.uint8Array({ maxLength: 80 }).map((b) => Buffer.from(b));
const packet = fc.oneof(
  fc.tuple(reserved, json).map(([topic, body]) => encodeFabricJson(topic, body)),
  fc
    .tuple(reserved, bytes)
    .map(([topic, payload]) => encodePublish({ topic, payload, qos: 0, retain: false })),
  fc
    .tuple(text, bytes, fc.constantFrom<0 | 1 | 2>(0, 1, 2), fc.boolean())
    .map(([topic, payload, qos, retain]) => encodePublish({ topic, payload, qos, retain })),
  fc.constantFrom(
    encodePacket({ cmd: "pingreq" }),
    encodePacket({ cmd: "disconnect", reasonCode: 0 }),
    encodePacket({ cmd: "connack", reasonCode: 0, sessionPresent: false }),
    encodePacket({ cmd: "puback", messageId: 1, reasonCode: 0 }),
    encodePacket({ cmd: "subscribe", messageId: 7, subscriptions: [{ topic: "#", qos: 0 }] }),
  ),
);
const ranges = fc.uint8Array({ minLength: 4, maxLength: 4 + 8 * 64 }).map((b) => Buffer.from(b));
const payload = fc.oneof(packet, fc.array(packet, { maxLength: 3 }).map(Buffer.concat), bytes, ranges);

const header = fc.record<Header>({
  kind: fc.constantFrom<Kind>(...(Object.values(Kind) as Kind[])),
  flags: fc.integer({ min: 0, max: 31 }),
  source,
  epoch: small,
  stream: fc.oneof(fc.constantFrom(0, 0xefc0_0001), small),
  number: small,
});
const datagram = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(header, payload).map(([h, p]) => Buffer.concat([encodeHeader(h), p])) },
  { weight: 1, arbitrary: bytes },
  { weight: 1, arbitrary: packet },
);

/** From anywhere: strangers, and forged addresses of everybody. */
const from = fc.constantFrom<Endpoint>(
  { address: "10.0.9.9", port: 1883 },
  FORWARDER,
  ...AGENTS.map((_, i) => ({ address: `10.0.0.${101 + i}`, port: 1883 })),
);
const to = fc.constantFrom(FORWARDER.address, ...AGENTS.map((_, i) => `10.0.0.${101 + i}`));

describe("garbage at the fabric ports", () => {
  it("ends nobody: when it is over whoever was registered serves on", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(datagram, from, to), { minLength: 50, maxLength: 150 }),
        async (sent) => {
          const { network, agents, forwarder } = await simFabric(1, AGENTS.length);
          const [e1, e2] = agents as [(typeof agents)[0], (typeof agents)[0]];
          void e1.subscribe("plant/+");
          await network.run(50);
          for (const [datagramBytes, sender, address] of sent) {
            network.carry(datagramBytes, sender, { address, port: 1883 });
            await network.run(2, 2);
          }
          // Registrations that a forged word has ended are made anew within seconds.
          await network.run(15_000, 20);
          assert.deepEqual(
            agents.map((a) => a.fabric.state),
            agents.map(() => "registered"),
          );
          await network.until(e1.subscribe("plant/x"));
          const before = e1.texts("plant/x").length;
          e2.publish("plant/x", "after");
          e2.publish("plant/x", "after all");
          await network.run(3_000, 5);
          assert.deepEqual(e1.texts("plant/x").slice(before), ["after", "after all"]);
          for (const agent of agents) agent.kill();
          forwarder.kill();
        },
      ),
      { numRuns: Number(process.env.TOPICAST_FUZZ_RUNS ?? 40) },
    );
  });
});
