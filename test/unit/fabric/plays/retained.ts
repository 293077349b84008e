/** Retained messages. */
import assert from "node:assert/strict";
import { publish, subscribe, subscribeAt } from "../../agents/mqtt/harness.js";
import { type Play, persistent, subscribe5, subscribed, texts } from "./play.js";

export const retained: Play[] = [
  [
    "retained messages of each QoS come to new subscribers, with RETAIN, until they are deleted",
    async (stage, t) => {
      const p = await stage.connect(stage.here, t("p"));
      const properties = { userProperties: { a: "2" } };
      for (const qos of [0, 1, 2] as const)
        p.send(
          publish(t(`${qos}`), `${qos}`, { qos, retain: true, ...(qos > 0 ? { id: 1 } : {}), properties }),
        );
      await p.told();
      const s = await stage.connect(stage.there, t("s"));
      s.send(subscribeAt(2, 1, t("+")));
      const got = await s.messages();
      const words = got.map((m) => `${m.payload} q${m.qos} ${m.retain} ${m.properties?.userProperties?.a}`);
      assert.deepEqual(words.sort(), ["0 q0 true 2", "1 q1 true 2", "2 q2 true 2"]);
      for (const qos of [0, 1, 2] as const)
        p.send(publish(t(`${qos}`), "", { qos, retain: true, ...(qos > 0 ? { id: 2 } : {}) }));
      assert.equal((await s.messages()).length, 3, "those who are there are told");
      const late = await stage.connect(stage.there, t("late"));
      late.send(subscribeAt(2, 1, t("+")));
      assert.deepEqual(await late.told(), ["suback 1 [2]"]);
    },
  ],
  [
    "the last retained message counts, whoever published it where",
    async (stage, t) => {
      const [a, b] = [await stage.connect(stage.here, t("a")), await stage.connect(stage.there, t("b"))];
      for (const [i, player] of [a, b, a, b].entries()) {
        player.send(publish(t("t"), `${i}`, { qos: 1, id: 1, retain: true }));
        await player.told();
      }
      for (const where of [stage.here, stage.there]) {
        const s = await stage.connect(where, t("s"));
        s.send(subscribe(1, t("t")));
        assert.deepEqual(await s.told(), ["suback 1 [0]", `publish ${t("t")} 3 retain`]);
      }
    },
  ],
  [
    "retained messages come those of a level before those below it, and go one by one",
    async (stage, t) => {
      const p = await stage.connect(stage.here, t("p"));
      const topics = ["1/2/3/4/5/6/7", "1/2/3/4", "1"];
      for (const topic of topics) p.send(publish(t(topic), "x", { qos: 1, id: 1, retain: true }));
      await p.told();
      while (topics.length > 0) {
        const s = await stage.connect(stage.there, t("s"));
        s.send(subscribe(1, t("#")));
        const got = (await s.messages()).map(({ topic }) => topic);
        assert.deepEqual(got, topics.toReversed().map(t));
        p.send(publish(t(topics.splice(1, 1)[0] ?? topics.pop()!), "", { qos: 1, id: 2, retain: true }));
        await p.told();
      }
    },
  ],
  [
    "Retain As Published keeps the flag, its absence takes it off",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      const p = await stage.connect(stage.here, t("p"));
      for (const rap of [false, true]) {
        await subscribed(s, subscribe5(t(`${rap}`), { rap, qos: 1 }));
        p.send(publish(t(`${rap}`), "0", { qos: 1, id: 1 }));
        p.send(publish(t(`${rap}`), "1", { qos: 1, id: 2, retain: true }));
        assert.deepEqual(
          (await s.messages()).map(({ retain }) => retain),
          [false, rap],
        );
      }
    },
  ],
  [
    "Retain Handling: always, for new subscriptions, never",
    async (stage, t) => {
      const p = await stage.connect(stage.here, t("p"));
      p.send(publish(t("t"), "x", { retain: true, qos: 1, id: 1 }));
      await p.told();
      for (const [rh, first, second] of [
        [0, 1, 1],
        [1, 1, 0],
        [2, 0, 0],
      ] as const) {
        const s = await stage.connect(stage.there, t(`s${rh}`));
        for (const expected of [first, second]) {
          s.send(subscribe5(t("#"), { rh }));
          assert.equal((await s.messages()).length, expected, `${rh}`);
        }
      }
    },
  ],
  [
    "message expiry counts down, in retained messages and in those that wait, and then they are gone",
    async (stage, t) => {
      const away = await stage.connect(stage.there, t("away"), persistent());
      await subscribed(away, subscribeAt(1, 1, t("#")));
      away.leave();
      const p = await stage.connect(stage.here, t("p"));
      for (const [i, messageExpiryInterval] of [2, 14].entries()) {
        const properties = { messageExpiryInterval };
        p.send(publish(t(`${i}`), `${i}`, { qos: 1, id: i + 1, retain: true, properties }));
      }
      await p.told();
      await stage.pass(4_000);
      const back = await stage.connect(stage.there, t("away"), persistent());
      const s = await stage.connect(stage.there, t("s"));
      s.send(subscribe(1, t("#")));
      for (const player of [back, s]) {
        const got = await player.messages();
        assert.deepEqual(texts(got), ["1"]);
        const left = got[0]!.properties!.messageExpiryInterval!;
        assert.ok(left >= 1 && left <= 10, `${left}`);
      }
    },
  ],
];
