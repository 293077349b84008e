/** Wills. */
import assert from "node:assert/strict";
import { subscribeAt } from "../../agents/mqtt/harness.js";
import { type Play, persistent, subscribed, texts } from "./play.js";

const gone = (topic: string) => ({ topic, payload: Buffer.from("gone"), qos: 1 as const, retain: false });

export const wills: Play[] = [
  [
    "a will is published when its client breaks or asks for it, not when it goes in order",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribeAt(2, 1, t("will")));
      const userProperties = { a: "2", c: "3" };
      for (const [how, isTold] of [
        ["drop", true],
        ["leave", false],
        ["with will", true],
        ["malformed", true],
      ] as const) {
        const will = { ...gone(t("will")), properties: { userProperties } };
        const c = await stage.connect(stage.here, t("c"), { will });
        if (how === "drop") c.drop();
        else if (how === "leave") c.leave();
        else if (how === "malformed") c.client.raw("00 00");
        else c.send({ cmd: "disconnect", reasonCode: 4 });
        const got = await s.messages();
        assert.deepEqual(texts(got), isTold ? ["gone"] : [], how);
        if (isTold) assert.deepEqual({ ...got[0]!.properties?.userProperties }, userProperties);
      }
    },
  ],
  [
    "a will is published when its client is silent for one and a half keep-alives",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribeAt(2, 1, t("will")));
      await stage.connect(stage.here, t("c"), { keepalive: 5, will: gone(t("will")) });
      await stage.pass(4_000);
      assert.deepEqual(await s.told(), []);
      await stage.pass(4_000);
      assert.deepEqual(texts(await s.messages()), ["gone"]);
    },
  ],
  [
    "a will waits for its delay or its session's end, whichever is first, and not for a client that is back",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribeAt(2, 1, t("will")));
      const connect = (sessionExpiryInterval: number, willDelayInterval: number) =>
        stage.connect(stage.here, t("c"), {
          clean: false,
          properties: { sessionExpiryInterval },
          will: { ...gone(t("will")), properties: { willDelayInterval } },
        });
      for (const [expiry, delay] of [
        [20, 8],
        [8, 20],
      ] as const) {
        (await connect(expiry, delay)).drop();
        await stage.pass(4_000);
        assert.deepEqual(await s.told(), []);
        await stage.pass(6_000);
        assert.deepEqual(texts(await s.messages()), ["gone"], `${expiry} ${delay}`);
      }
      (await connect(0, 20)).drop();
      assert.deepEqual(texts(await s.messages()), ["gone"]);
      for (const where of [stage.here, stage.there]) {
        for (const clean of [false, true]) {
          (await connect(20, 6)).drop();
          await stage.pass(2_000);
          const back = await stage.connect(where, t("c"), { ...persistent(), clean });
          await stage.pass(8_000);
          assert.deepEqual(await s.told(), []);
          back.leave();
        }
      }
    },
  ],
  [
    "a retained will stays",
    async (stage, t) => {
      const c = await stage.connect(stage.here, t("c"), { will: { ...gone(t("will")), retain: true } });
      c.drop();
      await stage.quiet();
      const s = await stage.connect(stage.there, t("s"));
      s.send(subscribeAt(1, 1, t("will")));
      assert.deepEqual(await s.told(), ["suback 1 [1]", `publish ${t("will")} gone q1 retain`]);
    },
  ],
];
