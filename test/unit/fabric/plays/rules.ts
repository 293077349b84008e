/** What the server asks of its clients, and what it tells those who do otherwise. */
import assert from "node:assert/strict";
import type { IConnackPacket } from "mqtt-packet";
import { publish, subscribe, subscribeAt } from "../../agents/mqtt/harness.js";
import { type Play, subscribed, texts } from "./play.js";

export const rules: Play[] = [
  [
    "a client without an identifier is given one of its own, where its session ends with it",
    async (stage, t) => {
      const ids = new Set<string>();
      for (const where of [stage.here, stage.there]) {
        const { connack } = await stage.connect(where, "");
        ids.add(connack.properties!.assignedClientIdentifier!);
        const resumes = where.open(5).raw("10 0d 0004 4d515454 05 00 0000 00 0000");
        const old = await stage.connect(where, "", { protocolVersion: 4 });
        await subscribed(old, subscribe(1, t("t")));
        const refused = where.open(4).raw("10 0c 0004 4d515454 04 00 0000 0000");
        await stage.quiet();
        assert.deepEqual(await refused.told(), ["connack 2"]);
        assert.ok(refused.ended);
        const [answer] = (await resumes.take()) as [IConnackPacket];
        ids.add(answer.properties!.assignedClientIdentifier!);
      }
      assert.equal(ids.size, 4);
    },
  ],
  [
    "a CONNECT of another protocol is refused, and anything else before CONNECT",
    async (stage) => {
      for (const [bytes, told] of [
        ["10 0d 0004 4d515454 06 02 000a 0001 70", ["connack 132"]],
        ["10 0d 0004 4d515454 03 02 000a 0001 70", ["connack 132"]],
        ["10 0b 0002 686a 04 02 000a 0001 70", []],
        ["c0 00", []],
        ["30 04 0001 74 78", []],
      ] as const) {
        const client = stage.here.open(5).raw(bytes);
        await stage.quiet();
        assert.deepEqual(await client.told(), told, bytes);
        assert.ok(client.ended, bytes);
      }
    },
  ],
  [
    "who breaks the protocol is told why, and nobody else notices",
    async (stage, t) => {
      const other = await stage.connect(stage.there, t("other"));
      await subscribed(other, subscribeAt(1, 1, t("#")));
      const p = await stage.connect(stage.here, t("p"));
      const hex = (topic: string) => {
        const bytes = Buffer.from(topic);
        return `${bytes.length.toString(16).padStart(4, "0")} ${bytes.toString("hex")}`;
      };
      const wrong: [what: string, bytes: string, code: string][] = [
        ["a second CONNECT", "10 0e 0004 4d515454 05 02 000a 00 0001 70", "0x82"],
        ["topic alias 0", "30 07 0001 74 03 230000", "0x94"],
        ["topic alias 11", "30 07 0001 74 03 23000b", "0x94"],
        ["an alias that stands for nothing", "30 06 0000 03 230001", "0x82"],
        ["a wildcard in a topic", "30 04 0001 2b 00", "0x81"],
        ["U+0000 in a topic", "30 04 0001 00 00", "0x81"],
        ["QoS 3", "36 06 0001 74 0001 00", "0x81"],
        ["identifier 0", "32 06 0001 74 0000 00", "0x82"],
        ["SUBSCRIBE without a filter", "82 03 0001 00", "0x81"],
        ["a shared subscription without a filter", `82 0e 0001 00 ${hex("$share/g")} 00`, "0x82"],
        ["a packet for servers", "20 03 00 00 00", "0x82"],
        ["AUTH", "f0 00", "0x82"],
        ["a packet that is too large", "30 ff ff ff 7f", "0x95"],
      ];
      for (const [i, [what, bytes, code]] of wrong.entries()) {
        const client = await stage.connect(stage.here, t("c"));
        client.client.raw(bytes, "c0 00");
        assert.deepEqual(await client.told(), [`disconnect ${code}`], what);
        assert.ok(client.ended, what);
        p.send(publish(t("t"), `${i}`, { qos: 1, id: 1 }));
        assert.deepEqual(await p.told(), ["puback 1"]);
      }
      assert.deepEqual(
        texts(await other.messages()),
        wrong.map((_, i) => `${i}`),
      );
    },
  ],
  [
    "a client may have twenty messages unacknowledged, and as many as it likes one after the other",
    async (stage, t) => {
      const s = await stage.connect(stage.there, t("s"));
      await subscribed(s, subscribeAt(2, 1, t("t")));
      const p = await stage.connect(stage.here, t("p"));
      assert.equal(p.connack.properties?.receiveMaximum, 20);
      const ids = Array.from({ length: 60 }, (_, i) => i + 1);
      p.send(...ids.map((id) => publish(t("t"), `${id}`, { qos: 1, id })));
      assert.deepEqual(
        await p.told(),
        ids.map((id) => `puback ${id}`),
      );
      assert.equal((await s.messages()).length, 60);
      // All of these stand in the stream before the first PUBREL.
      p.send(...ids.slice(0, 21).map((id) => publish(t("t"), `${id}`, { qos: 2, id })));
      assert.equal((await p.told()).at(-1), "disconnect 0x93");
      assert.equal((await s.messages()).length, 20);
    },
  ],
];
