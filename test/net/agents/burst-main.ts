/**
 * A capture whose owner takes 1 ms for each frame, so that frames always wait: burst-main.js INTERFACE PORT MAX-BURST. Prints `ready`, and
 * on SIGTERM the longest time without a timer in ms, and the counters, as JSON.
 */
import { Capture } from "@topicast/agent/capture/capture.js";
import { captureFilter } from "@topicast/agent/capture/filter.js";
import { readInterface } from "@topicast/agent/capture/interface.js";

const [name, port, maxBurst] = process.argv.slice(2) as [string, string, string];
const facts = await readInterface(name);
let frames = 0;
const capture = Capture.open({
  interface: name,
  filter: captureFilter(facts, Number(port)),
  onFrame: () => {
    frames += 1;
    for (const end = performance.now() + 1; performance.now() < end; );
  },
  onWarning: () => {},
  maxBurst: Number(maxBurst),
});
let last = performance.now();
let longest = 0;
const beat = setInterval(() => {
  longest = Math.max(longest, performance.now() - last);
  last = performance.now();
}, 5);
process.once("SIGTERM", () => {
  clearInterval(beat);
  capture.close();
  console.log(JSON.stringify({ longest: Math.round(longest), frames, ...capture.counters }));
});
console.log("ready");
