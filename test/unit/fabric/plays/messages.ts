/** Messages from publishers to subscribers. */
import assert from "node:assert/strict";
import {
  type PublishOptions,
  publish,
  subscribe,
  subscribeAt,
  unsubscribe,
} from "../../agents/mqtt/harness.js";
import { type Play, persistent, subscribe5, subscribed, texts } from "./play.js";

export const messages: Play[] = [
  [
    "messages come at the lesser of both QoS, and publishers are acknowledged",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      const p = await stage.connect(stage.here, t("p"));
      for (const qos of [0, 1, 2] as const) {
        await subscribed(s, subscribeAt(qos, 1, t("t")));
        for (const sent of [0, 1, 2] as const) {
          p.send(publish(t("t"), `${sent}`, { qos: sent, ...(sent > 0 ? { id: 7 } : {}) }));
          assert.deepEqual(await p.told(), [[], ["puback 7"], ["pubcomp 7"]][sent]);
          const least = Math.min(qos, sent);
          assert.deepEqual(await s.told(), [`publish ${t("t")} ${sent}${least > 0 ? ` q${least}` : ""}`]);
        }
      }
    },
  ],
  [
    "messages of MQTT 3.1.1 and of 5 come to clients of both",
    async (stage, t) => {
      const version = { protocolVersion: 4 } as const;
      const old = await stage.connect(stage.there, t("old"), version);
      const s = await stage.connect(stage.there, t("s"));
      for (const player of [old, s]) await subscribed(player, subscribeAt(1, 1, t("#")));
      const publishers = [
        await stage.connect(stage.here, t("p4"), version),
        await stage.connect(stage.here, t("p5")),
      ];
      for (const [i, p] of publishers.entries()) {
        p.send(publish(t("t"), `${i}`, { qos: 1, id: 1 }));
        assert.deepEqual(await p.told(), ["puback 1"]);
        for (const player of [old, s]) assert.deepEqual(await player.told(), [`publish ${t("t")} ${i} q1`]);
      }
    },
  ],
  [
    "messages of one publisher keep their order at each QoS, and come once",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribeAt(2, 1, t("#")));
      const p = await stage.connect(stage.here, t("p"));
      for (const qos of [0, 1, 2] as const) {
        const expected = Array.from({ length: 19 }, (_, i) => `${qos}.${i}`);
        for (const [i, text] of expected.entries())
          p.send(publish(t("t"), text, { qos, ...(qos > 0 ? { id: i + 1 } : {}) }));
        assert.deepEqual(texts(await s.messages()), expected);
        await p.told();
      }
    },
  ],
  [
    "filters match as written",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      const cases: [filter: string, topic: string, isMatch: boolean][] = [
        ["a/+", "a/b", true],
        ["a/+", "a", false],
        ["a/+", "a/b/c", false],
        ["a/#", "a", true],
        ["a/#", "a/b/c", true],
        ["+/b", "a/b", true],
        ["+/+", "/b", true],
        ["/+", "/b", true],
        ["/+", "b", false],
        ["a//b", "a//b", true],
        ["a/b/", "a/b", false],
        ["A/b", "a/b", false],
        ["a b/ü\u{2a6d4}", "a b/ü\u{2a6d4}", true],
      ];
      const p = await stage.connect(stage.here, t("p"));
      for (const [filter, topic, isMatch] of cases) {
        await subscribed(s, subscribe(1, t(filter)));
        p.send(publish(t(topic), "x"));
        assert.deepEqual(texts(await s.messages()), isMatch ? ["x"] : [], `${filter} ${topic}`);
        s.send(unsubscribe(2, t(filter)));
        await s.told();
      }
    },
  ],
  [
    "topics that begin with $ do not match wildcards in front",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribe(1, "#", `+/${t("t")}`, `$own/${t("none")}`));
      await s.told();
      const p = await stage.connect(stage.here, t("p"));
      p.send(publish(`$own/${t("t")}`, "x", { qos: 1, id: 1 }));
      assert.match((await p.told()).join(), /^puback 1/);
      assert.deepEqual(await s.told(), []);
      s.send(unsubscribe(2, "#"));
      await s.told();
    },
  ],
  [
    "UNSUBSCRIBE ends delivery of its filter only",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribe(1, t("0"), t("1"), t("2")));
      s.send(unsubscribe(2, t("0"), t("none")));
      assert.deepEqual(await s.told(), ["unsuback 2 [0,17]"]);
      const p = await stage.connect(stage.here, t("p"));
      for (const name of ["0", "1", "2"]) p.send(publish(t(name), name, { qos: 1, id: 1 + Number(name) }));
      assert.deepEqual(texts(await s.messages()), ["1", "2"]);
    },
  ],
  [
    "overlapping subscriptions: one copy, at the greatest QoS, with all identifiers",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribe5(t("#"), { qos: 2 }, 2));
      await subscribed(s, subscribe5(t("+"), { qos: 1 }, 456_789));
      await subscribed(s, subscribe5(t("t"), { qos: 0 }));
      const p = await stage.connect(stage.here, t("p"));
      p.send(publish(t("t"), "x", { qos: 2, id: 1 }));
      const [message, ...more] = await s.messages();
      assert.deepEqual([message?.qos, more.length], [2, 0]);
      const ids = [message!.properties!.subscriptionIdentifier!].flat();
      assert.deepEqual(
        ids.sort((a, b) => a - b),
        [2, 456_789],
      );
      await subscribed(s, subscribe5(t("#"), { qos: 2 }));
      await subscribed(s, subscribe5(t("+"), { qos: 1 }));
      p.send(publish(t("t"), "x"));
      assert.equal((await s.messages())[0]!.properties?.subscriptionIdentifier, undefined);
    },
  ],
  [
    "No Local: others' messages, not one's own",
    async (stage, t) => {
      const own = await stage.connect(stage.here, t("own"));
      const other = await stage.connect(stage.there, t("other"));
      for (const player of [own, other]) await subscribed(player, subscribe5(t("t"), { nl: true }));
      own.send(publish(t("t"), "x"));
      assert.deepEqual(texts(await other.messages()), ["x"]);
      assert.deepEqual(await own.told(), []);
      other.send(publish(t("t"), "y"));
      assert.deepEqual(texts(await own.messages()), ["y"]);
      assert.deepEqual(await other.told(), []);
    },
  ],
  [
    "properties come as they were sent",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribeAt(2, 1, t("t")));
      const p = await stage.connect(stage.here, t("p"));
      const properties = {
        payloadFormatIndicator: true,
        contentType: "My name",
        responseTopic: t("answer"),
        correlationData: Buffer.from("334"),
        userProperties: { a: ["2", "1"], c: "3" },
      };
      for (const qos of [0, 1, 2] as const) {
        p.send(publish(t("t"), "", { qos, ...(qos > 0 ? { id: 1 } : {}), properties }));
        const [message] = await s.messages();
        const { userProperties, ...rest } = message!.properties!;
        const { userProperties: sent, ...others } = properties;
        assert.deepEqual(rest, others);
        assert.deepEqual({ ...userProperties }, sent);
      }
    },
  ],
  [
    "a request is answered",
    async (stage, t) => {
      const asks = await stage.connect(stage.here, t("asks"));
      const answers = await stage.connect(stage.there, t("answers"));
      await subscribed(asks, subscribe5(t("answer"), { qos: 1 }));
      await subscribed(answers, subscribe5(t("ask"), { qos: 1 }));
      const properties = { responseTopic: t("answer"), correlationData: Buffer.from("7") };
      asks.send(publish(t("ask"), "how much?", { qos: 1, id: 1, properties }));
      const [request] = await answers.messages();
      const { responseTopic, correlationData } = request!.properties!;
      answers.send(
        publish(responseTopic!, "42", {
          qos: 1,
          id: 1,
          properties: { correlationData: correlationData! },
        }),
      );
      const [response] = await asks.messages();
      assert.equal(response!.payload.toString(), "42");
      assert.deepEqual(response!.properties?.correlationData, Buffer.from("7"));
    },
  ],
  [
    "topic aliases of a client stand for its topics wherever they go, and end with the connection",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribe(1, t("#")));
      const alias = { properties: { topicAlias: 1 } };
      const p = await stage.connect(stage.here, t("p"));
      p.send(publish(t("1"), "a", alias), publish("", "b", alias), publish(t("2"), "c", alias));
      p.send(publish("", "d", alias));
      const got = (await s.messages()).map(({ topic, payload }) => `${topic} ${payload}`);
      assert.deepEqual(got, [`${t("1")} a`, `${t("1")} b`, `${t("2")} c`, `${t("2")} d`]);
      p.leave();
      const again = await stage.connect(stage.here, t("p"));
      again.send(publish("", "e", alias));
      assert.deepEqual(await again.told(), ["disconnect 0x82"]);
    },
  ],
  [
    "topic aliases of the server, for clients that take them",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"), { properties: { topicAliasMaximum: 1 } });
      await subscribed(s, subscribeAt(2, 1, t("#")));
      const p = await stage.connect(stage.here, t("p"));
      for (const qos of [0, 1, 2] as const)
        p.send(publish(t("t"), "x", { qos, ...(qos > 0 ? { id: 1 } : {}) }));
      p.send(publish(t("u"), "x"));
      const got = (await s.messages()).map((m) => [m.topic, m.properties?.topicAlias]);
      assert.deepEqual(got.slice(0, 3), [
        [t("t"), 1],
        ["", 1],
        ["", 1],
      ]);
      assert.deepEqual(got[3], [t("u"), undefined]);
    },
  ],
  [
    "messages that are larger than a client takes are kept from it, and nothing else",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"), { properties: { maximumPacketSize: 64 } });
      await subscribed(s, subscribeAt(1, 1, t("t")));
      const p = await stage.connect(stage.here, t("p"));
      p.send(publish(t("t"), "y".repeat(64), { qos: 1, id: 1 }), publish(t("t"), "z".repeat(30)));
      assert.match((await p.told()).join(), /^puback 1$/);
      assert.deepEqual(texts(await s.messages()), ["z".repeat(30)]);
    },
  ],
  [
    "large messages come whole",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribeAt(1, 1, t("t")));
      const p = await stage.connect(stage.here, t("p"));
      const text = "0123456789".repeat(10_000);
      p.send(publish(t("t"), text, { qos: 1, id: 1 }));
      assert.deepEqual(await p.told(), ["puback 1"]);
      assert.deepEqual(texts(await s.messages()), [text]);
    },
  ],
  [
    "a client gets as many messages at a time as it takes",
    async (stage, t) => {
      const options = { silent: true, properties: { receiveMaximum: 2 } };
      const s = await stage.connect(stage.there, t("s"), options);
      await subscribed(s, subscribeAt(2, 1, t("t")));
      const p = await stage.connect(stage.here, t("p"));
      for (let i = 1; i <= 4; i++) p.send(publish(t("t"), `${i}`, { qos: 1, id: i }));
      const first = await s.messages();
      assert.deepEqual(texts(first), ["1", "2"]);
      s.send({ cmd: "puback", messageId: first[0]!.messageId! });
      assert.deepEqual(texts(await s.messages()), ["3"]);
      s.send({ cmd: "puback", messageId: first[1]!.messageId! });
      assert.deepEqual(texts(await s.messages()), ["4"]);
    },
  ],
  [
    "a publisher is told when nobody hears it, and only then",
    async (stage, t) => {
      const p = await stage.connect(stage.here, t("p"));
      const acknowledged = async (options: PublishOptions = {}): Promise<string[]> => {
        p.send(publish(t("t"), "x", { qos: 1, id: 7, ...options }));
        return p.told();
      };
      for (let i = 0; i < 3; i++) assert.deepEqual(await acknowledged(), ["puback 7 0x10"], `${i}`);
      assert.deepEqual(await acknowledged({ retain: true }), ["puback 7 0x10"]);
      assert.deepEqual(await acknowledged({ qos: 2 }), ["pubcomp 7"]);
      const s = await stage.connect(stage.there, t("s"));
      for (const filter of [t("t"), `$share/g/${t("t")}`]) {
        await subscribed(s, subscribe(1, filter));
        await s.told();
        for (let i = 0; i < 3; i++) assert.deepEqual(await acknowledged(), ["puback 7"], filter);
        s.send(unsubscribe(2, filter));
        await s.told();
        await stage.pass(3_000);
        assert.deepEqual(await acknowledged(), ["puback 7 0x10"], filter);
      }
    },
  ],
  [
    "who publishes and goes in one breath is acknowledged, and heard",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribeAt(1, 1, t("t")));
      for (const how of ["disconnect", "half-close"]) {
        const p = await stage.connect(stage.here, t(how), { protocolVersion: 4 });
        p.send(publish(t("t"), how, { qos: 1, id: 1 }));
        if (how === "disconnect") p.send({ cmd: "disconnect" });
        else p.client.stream.end();
        assert.deepEqual(await p.told(), ["puback 1"], how);
        assert.ok(p.ended);
        assert.deepEqual(texts(await s.messages()), [how]);
      }
    },
  ],
  [
    "a QoS 2 message that is repeated comes once, over a reconnection here or elsewhere",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribeAt(2, 1, t("t")));
      const message = (dup: boolean) => publish(t("t"), "x", { qos: 2, id: 7, dup });
      for (const where of [stage.here, stage.there]) {
        const p = await stage.connect(stage.here, t("p"), persistent());
        p.send(message(false));
        p.drop();
        const back = await stage.connect(where, t("p"), persistent());
        assert.ok(back.connack.sessionPresent);
        back.send(message(true));
        assert.deepEqual(await back.told(), ["pubcomp 7"]);
        assert.deepEqual(texts(await s.messages()), ["x"]);
        back.leave();
      }
    },
  ],
];
