import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { oneUser } from "../unit/agents/mqtt/harness.js";
import { type SocketBroker, socketBroker } from "../unit/agents/mqtt/socket-broker.js";

const script = new URL("../../../test/net/paho_client.py", import.meta.url).pathname;

interface Received {
  topic: string;
  payload: string;
  qos: number;
  retain: boolean | number;
  user?: [string, string][];
  ids?: number[];
}

describe("Debian's python3-paho-mqtt over kernel sockets", () => {
  let server: SocketBroker;

  before(async () => {
    server = await socketBroker({ authority: oneUser("u", "p") });
  });
  after(() => server.close());

  for (const protocol of [3, 4, 5]) {
    it(`protocol ${protocol}: retained, then every QoS, in order, with their properties`, async () => {
      const args = [script, String(server.port), String(protocol)];
      const { stdout } = await promisify(execFile)("/usr/bin/python3", args, { timeout: 30_000 });
      const [kept, ...rest] = JSON.parse(stdout) as Received[];
      // Paho hands a QoS 2 message over at its PUBREL: order holds within a QoS.
      const live = [0, 1, 2].flatMap((qos) =>
        rest.filter((message) => message.qos === qos && message.payload !== ""),
      );
      assert.deepEqual([kept?.payload, Boolean(kept?.retain)], ["retained", true]);
      assert.deepEqual(
        live.map(({ topic, payload, qos }) => [topic, payload, qos]),
        Array.from({ length: 30 }, (_, i) => 3 * (i % 10) + Math.floor(i / 10)).map((n) => [
          `paho/${protocol}/${n}`,
          `${n}`,
          n % 3,
        ]),
      );
      if (protocol !== 5) return;
      for (const { payload, user, ids } of live) {
        assert.deepEqual(user, [
          ["b", payload],
          ["a", "x"],
          ["b", "again"],
        ]);
        assert.deepEqual(ids, [5]);
      }
    });
  }
});
