/** Sessions that outlive their connections, and those that several clients share. */
import assert from "node:assert/strict";
import { publish, subscribe, subscribeAt } from "../../agents/mqtt/harness.js";
import { Player } from "../stage.js";
import { type Play, persistent, subscribed, texts } from "./play.js";

export const sessions: Play[] = [
  [
    "messages wait for a client that is away, in their order, wherever it comes back",
    async (stage, t) => {
      const p = await stage.connect(stage.here, t("p"));
      for (const where of [stage.there, stage.here]) {
        const c = await stage.connect(stage.there, t("c"), persistent());
        await subscribed(c, subscribeAt(2, 1, t("#")));
        c.leave();
        await stage.quiet();
        for (const qos of [0, 1, 2] as const)
          p.send(publish(t("t"), `${qos}`, { qos, ...(qos > 0 ? { id: qos } : {}) }));
        await p.told();
        const back = await stage.connect(where, t("c"), persistent());
        assert.ok(back.connack.sessionPresent);
        assert.deepEqual(texts(await back.messages()), ["1", "2"]);
        // Its subscription has come along.
        p.send(publish(t("t"), "live"));
        assert.deepEqual(texts(await back.messages()), ["live"]);
        back.leave();
        await stage.quiet();
      }
    },
  ],
  [
    "what was not acknowledged is sent again, with DUP, wherever the client comes back",
    async (stage, t) => {
      const p = await stage.connect(stage.here, t("p"));
      for (const where of [stage.there, stage.here]) {
        const c = await stage.connect(stage.there, t("c"), { ...persistent(), silent: true });
        await subscribed(c, subscribeAt(2, 1, t("#")));
        for (const qos of [1, 2] as const) p.send(publish(t("t"), `${qos}`, { qos, id: qos }));
        const first = await c.messages();
        assert.deepEqual(
          first.map(({ dup, payload }) => `${payload} ${dup}`),
          ["1 false", "2 false"],
        );
        c.leave();
        await stage.quiet();
        const back = await stage.connect(where, t("c"), persistent());
        const again = await back.messages();
        assert.deepEqual(
          again.map(({ dup, payload, messageId }) => `${payload} ${dup} ${messageId}`),
          first.map(({ payload, messageId }) => `${payload} true ${messageId}`),
        );
        back.leave();
        await stage.quiet();
        const third = await stage.connect(where, t("c"), persistent());
        assert.deepEqual(await third.told(), []);
        third.leave();
        await stage.quiet();
        await p.told();
      }
    },
  ],
  [
    "connecting elsewhere takes the session over: 0x8E, one connection at a time",
    async (stage, t) => {
      const first = await stage.connect(stage.here, t("c"), persistent());
      await subscribed(first, subscribe(1, t("t")));
      const second = await stage.connect(stage.there, t("c"), persistent());
      assert.deepEqual(await first.told(), ["disconnect 0x8e"]);
      assert.ok(first.ended && second.connack.sessionPresent);
      const p = await stage.connect(stage.here, t("p"));
      p.send(publish(t("t"), "x"));
      assert.deepEqual(texts(await second.messages()), ["x"]);
      const third = await stage.connect(stage.here, t("c"), { clean: true });
      assert.deepEqual(await second.told(), ["disconnect 0x8e"]);
      assert.ok(!third.connack.sessionPresent);
      p.send(publish(t("t"), "y"));
      assert.deepEqual(await third.told(), []);
    },
  ],
  [
    "an identifier may be as long as a string can be",
    async (stage, t) => {
      const long = t("c").padEnd(65_535, "long");
      const first = await stage.connect(stage.here, long, persistent());
      await subscribed(first, subscribeAt(1, 1, t("t")));
      first.leave();
      const p = await stage.connect(stage.here, t("p"));
      p.send(publish(t("t"), "x", { qos: 1, id: 1 }));
      assert.deepEqual(await p.told(), ["puback 1"]);
      const second = await stage.connect(stage.there, long, persistent());
      assert.ok(second.connack.sessionPresent);
      assert.deepEqual(texts(await second.messages()), ["x"]);
    },
  ],
  [
    "a session ends when it has expired, and DISCONNECT may change when that is",
    async (stage, t) => {
      const connect = async (expiry: number, isPresent: boolean, why: string) => {
        const c = await stage.connect(stage.here, t("c"), persistent(expiry));
        assert.equal(c.connack.sessionPresent === true, isPresent, why);
        return c;
      };
      (await connect(0, false, "none yet")).leave();
      (await connect(5, false, "it has ended at once")).leave();
      await stage.pass(2_000);
      (await connect(5, true, "it is there")).leave();
      await stage.pass(7_000);
      const c = await connect(2, false, "it has expired");
      c.send({ cmd: "disconnect", properties: { sessionExpiryInterval: 8 } });
      await stage.pass(4_000);
      const again = await connect(2, true, "it was to last longer");
      again.send({ cmd: "disconnect", properties: { sessionExpiryInterval: 0 } });
      await stage.quiet();
      const last = await connect(0, false, "it was to end");
      last.send({ cmd: "disconnect", properties: { sessionExpiryInterval: 1 } });
      assert.deepEqual(await last.told(), ["disconnect 0x82"]);
    },
  ],
  [
    "a shared subscription gives each message to one of its members",
    async (stage, t) => {
      const members = [
        await stage.connect(stage.here, t("m1")),
        await stage.connect(stage.there, t("m2")),
        await stage.connect(stage.there, t("m3")),
      ];
      for (const member of members) await subscribed(member, subscribeAt(1, 1, `$share/g/${t("+")}`));
      const plain = await stage.connect(stage.there, t("plain"));
      await subscribed(plain, subscribeAt(1, 1, t("t")));
      await stage.pass(300);
      const p = await stage.connect(stage.here, t("p"));
      const all = Array.from({ length: 12 }, (_, i) => `${i}`);
      for (const [i, text] of all.entries()) p.send(publish(t("t"), text, { qos: 1, id: i + 1 }));
      const got: string[][] = [];
      for (const member of members) got.push(texts(await member.messages()));
      assert.deepEqual(
        got.flat().sort((a, b) => Number(a) - Number(b)),
        all,
      );
      for (const texts of got) assert.ok(texts.length >= 2, `${got.map((g) => g.length)}`);
      assert.deepEqual(texts(await plain.messages()), all);
    },
  ],
  [
    "what a member of a shared subscription leaves when its session ends goes to another one",
    async (stage, t) => {
      const filter = `$share/g/${t("+")}`;
      for (const [i, [first, second]] of [
        [stage.here, stage.there],
        [stage.there, stage.here],
        [stage.there, stage.there],
      ].entries()) {
        const properties = { receiveMaximum: 4 };
        const leaver = await stage.connect(first!, t(`leaver${i}`), { silent: true, properties });
        await subscribed(leaver, subscribeAt(2, 1, filter));
        const p = await stage.connect(stage.here, t("p"));
        const qos = [1, 2, 1, 2, 1, 2] as const;
        for (const [j, each] of qos.entries()) p.send(publish(t("t"), `${j}`, { qos: each, id: j + 1 }));
        assert.deepEqual(texts(await leaver.messages()), ["0", "1", "2", "3"]);
        const heir = await stage.connect(second!, t(`heir${i}`));
        await subscribed(heir, subscribeAt(2, 1, filter));
        await stage.pass(300);
        leaver.drop();
        // Of QoS 2 only what had not been sent.
        const got = (await heir.messages()).map(({ payload, dup }) => `${payload}${dup ? " dup" : ""}`);
        assert.deepEqual(got.sort(), ["0", "2", "4", "5"], `${i}`);
        heir.leave();
        await stage.pass(300);
      }
    },
  ],
  [
    "a member that comes back to its session has what it left there",
    async (stage, t) => {
      const filter = `$share/g/${t("+")}`;
      const keep = { clean: false, properties: { sessionExpiryInterval: 100 } };
      const away = await stage.connect(stage.there, t("away"), { ...keep, silent: true });
      await subscribed(away, subscribeAt(1, 1, filter));
      const p = await stage.connect(stage.here, t("p"));
      for (const id of [1, 2]) p.send(publish(t("t"), `${id}`, { qos: 1, id }));
      assert.deepEqual(texts(await away.messages()), ["1", "2"]);
      const other = await stage.connect(stage.here, t("other"));
      await subscribed(other, subscribeAt(1, 1, filter));
      away.drop();
      await stage.pass(300);
      const back = await stage.connect(stage.here, t("away"), keep);
      assert.deepEqual(texts(await back.messages()), ["1", "2"]);
      assert.deepEqual(await other.messages(), []);
    },
  ],
  [
    "a shared subscription to topics that begin with $ has those of its own server",
    async (stage, t) => {
      const member = await stage.connect(stage.there, t("m"));
      await subscribed(member, subscribeAt(1, 1, `$share/g/$own/${t("#")}`));
      const p = await stage.connect(stage.there, t("p"));
      p.send(publish(`$own/${t("t")}`, "x", { qos: 1, id: 1 }));
      assert.deepEqual(await p.told(), ["puback 1"]);
      assert.deepEqual(texts(await member.messages()), ["x"]);
    },
  ],
  [
    "a member of a shared subscription that moves while messages come loses none",
    async (stage, t) => {
      const keep = { clean: false, properties: { sessionExpiryInterval: 100 } };
      const name = t("mover");
      const first = await stage.connect(stage.here, name, keep);
      await subscribed(first, subscribeAt(2, 1, `$share/g/${t("+")}`));
      const publishers = [
        await stage.connect(stage.here, t("p1")),
        await stage.connect(stage.there, t("p2")),
      ];
      const movers = [first];
      let sent = 0;
      for (let move = 0; move < 6; move++) {
        const where = move % 2 === 0 ? stage.there : stage.here;
        const client = where.open(5).send({
          ...{ cmd: "connect", clientId: name, keepalive: 0, protocolVersion: 5, ...keep },
        });
        movers.push(new Player(stage, client, false));
        for (let i = 0; i < 12; i++) {
          sent += 1;
          const qos = (1 + (i % 2)) as 1 | 2;
          publishers[i % 3 === 0 ? 0 : 1]!.send(publish(t("t"), `${sent}`, { qos, id: sent }));
          await stage.pass(2);
        }
        await stage.quiet();
      }
      const got: string[] = [];
      for (const mover of movers) got.push(...texts(await mover.messages()));
      const all = Array.from({ length: sent }, (_, i) => `${i + 1}`);
      assert.deepEqual(
        all.filter((text) => !got.includes(text)),
        [],
      );
    },
  ],
];
