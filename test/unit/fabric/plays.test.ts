/** One MQTT server, however many edges: every play is acted at one agent, and by clients of two. */
import { before, describe, it } from "node:test";
import { messages } from "./plays/messages.js";
import { retained } from "./plays/retained.js";
import { rules } from "./plays/rules.js";
import { sessions } from "./plays/sessions.js";
import { wills } from "./plays/wills.js";
import { Stage } from "./stage.js";

const PLAYS = [...messages, ...retained, ...wills, ...sessions, ...rules];

const PLACES: [where: string, open: () => Stage | Promise<Stage>][] = [
  ["at one agent", () => Stage.alone()],
  ["at two edges", () => Stage.apart(1)],
  [
    "at two edges whose datagrams are lost, repeated and reordered",
    () => Stage.apart(2, { loss: 0.1, repeat: 0.1, delay: [0.1, 8] }),
  ],
];

for (const [where, open] of PLACES) {
  describe(where, () => {
    let stage: Stage;
    before(async () => {
      stage = await open();
    });
    for (const [i, [name, act]] of PLAYS.entries()) {
      // Each play has topics and clients of its own.
      it(name, () => act(stage, (topic) => `play${i}/${topic}`));
    }
  });
}
