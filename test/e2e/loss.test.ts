import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Testbed } from "topicast/testbed/testbed";
import { AGENTS, numbered, publisherAt, startSevenSwitches, subscribeAt } from "./support.js";

const MESSAGES = 10_000;
const PER_SECOND = 500;

describe("messages over a fabric that loses", () => {
  let testbed: Testbed;
  before(async () => {
    testbed = await startSevenSwitches();
  });
  after(() => testbed?.stop());

  /** Every agent's host drops this part of the fabric's datagrams that come in, whatever they hold. */
  async function lose(percent: number): Promise<void> {
    for (const host of Object.values(AGENTS)) {
      const drop = `iifname "${host}-eth0" udp dport 1883 numgen random mod 100 < ${percent} counter drop`;
      const chain = `chain in { type filter hook input priority 0; ${drop}; }`;
      const nft = (...words: string[]) => testbed.network.inHost(host, ["nft", ...words]);
      await testbed.run.exec(nft("delete", "table", "inet", "topicast_loss"));
      await testbed.run.output(nft(`table inet topicast_loss {\n${chain}\n}`));
    }
  }

  /** Datagrams that the hosts have dropped since the last `lose`. */
  async function dropped(): Promise<number> {
    let packets = 0;
    for (const host of Object.values(AGENTS)) {
      const list = testbed.network.inHost(host, ["nft", "list", "table", "inet", "topicast_loss"]);
      packets += Number(/counter packets (\d+)/.exec(await testbed.run.output(list))?.[1]);
    }
    return packets;
  }

  for (const percent of [2, 10]) {
    it(`come all, once and in order at every QoS, ${MESSAGES} each, ${percent} % lost`, async () => {
      await lose(percent);
      const streams = await Promise.all(
        ([0, 1, 2] as const).map(async (qos) => {
          const topic = `loss/${percent}/${qos}`;
          const subscribers = [
            await subscribeAt(testbed, "e1", topic, { qos }),
            await subscribeAt(testbed, "e5", topic, { qos }),
          ];
          return { qos, subscribers, publisher: await publisherAt(testbed, "e3", topic, { qos }) };
        }),
      );
      const payloads = numbered(MESSAGES);
      await Promise.all(streams.map(({ publisher }) => publisher.publishAll(payloads, PER_SECOND)));
      for (const { qos, subscribers, publisher } of streams) {
        for (const subscriber of subscribers) {
          await subscriber.has(MESSAGES, 30_000);
          // What is doubled may come late.
          await subscriber.has(MESSAGES + 1, 500);
          assert.deepEqual(
            subscriber.received.map(({ payload }) => payload),
            payloads,
            `QoS ${qos}, ${subscriber.child.name}`,
          );
          await subscriber.stop();
        }
        await publisher.stop();
      }
      assert.ok((await dropped()) > (MESSAGES * 3 * 2 * percent) / 100 / 2, "the network was too good");
    });
  }
});
