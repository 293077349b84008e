import assert from "node:assert/strict";
import { test } from "node:test";
import type { FirewallEvent } from "@topicast/agent/firewall/event.js";
import { LocatedEvents } from "@topicast/agent/firewall/located.js";
import type { SwitchPlace } from "@topicast/protocol";

const AT: SwitchPlace = { dpid: "0000000000000003", port: 2 };
const event = (rule: string, address = "10.0.0.1"): FirewallEvent => ({
  ...{ rule, kind: "topic", answer: "drop", mode: "block", packet: "publish", listener: "tcp" },
  ...{ peer: `${address}:5000`, client: "c", user: undefined, topic: "a/b", detail: "topic is denied" },
});

/** Events with a `locate` that the test answers. */
function setUp() {
  const questions: { address: string; hear: (at: SwitchPlace | undefined) => void }[] = [];
  const told: string[] = [];
  const events = new LocatedEvents(
    (address, hear) => questions.push({ address, hear }),
    ({ event: { rule }, suppressed, time, at }) =>
      told.push(`${rule} ${suppressed} ${time} ${at === undefined ? "nowhere" : `${at.dpid}/${at.port}`}`),
  );
  return { questions, told, events };
}

test("events go on in their order, with the time at which they happened and where their client is", () => {
  const { questions, told, events } = setUp();
  events.add(event("first"), 0, 1_000);
  events.add(event("second", "2001:db8::1"), 7, 2_000);
  events.add(event("third"), 0, 3_000);
  assert.deepEqual(
    questions.map(({ address }) => address),
    ["10.0.0.1", "2001:db8::1", "10.0.0.1"],
  );
  questions[1]!.hear(undefined);
  questions[2]!.hear(AT);
  assert.deepEqual(told, []);
  questions[0]!.hear(AT);
  assert.deepEqual(told, [
    "first 0 1000 0000000000000003/2",
    "second 7 2000 nowhere",
    "third 0 3000 0000000000000003/2",
  ]);
  assert.equal(events.counters.events_unlocated, 1);
});

test("of too many that wait the first goes without, and an answer that comes later changes nothing", () => {
  const { questions, told, events } = setUp();
  for (let n = 0; n <= 1_024; n++) events.add(event(`rule${n}`), 0, n);
  assert.deepEqual(told, ["rule0 0 0 nowhere"]);
  questions[0]!.hear(AT);
  assert.equal(told.length, 1);
  events.close();
  assert.equal(told.length, 1_025);
  assert.equal(told.at(-1), "rule1024 0 1024 nowhere");
  for (const { hear } of questions) hear(AT);
  assert.equal(told.length, 1_025);
});
