/**
 * A bad stretch of cable between two interfaces: relay-main.js A B SEED LOSS REORDER DELAY-MS. Of the frames in each
 * direction the share LOSS is dropped, and the share REORDER held back for up to DELAY-MS while others pass; chosen by
 * SEED. Prints `ready`, and on SIGTERM what it did, as JSON.
 */
import { Capture } from "@topicast/agent/capture/capture.js";
import { random } from "../../unit/agents/tcp/link.js";

const [a, b, seed, loss, reorder, delay] = process.argv.slice(2) as [string, string, ...string[]];
const next = random(Number(seed));
const counts = { carried: 0, dropped: 0, held: 0 };

function open(name: string, to: () => Capture): Capture {
  return Capture.open({
    interface: name,
    filter: "",
    onFrame: (frame, length) => carry(frame, length, to()),
    onWarning: () => {},
  });
}

function carry(frame: Buffer, length: number, to: Capture): void {
  if (next() < Number(loss)) {
    counts.dropped += 1;
  } else if (next() < Number(reorder)) {
    counts.held += 1;
    const kept = Buffer.from(frame.subarray(0, length));
    setTimeout(() => to.send(kept, length), next() * Number(delay));
  } else {
    counts.carried += 1;
    to.send(frame, length);
  }
}

const left: Capture = open(a, () => right);
const right: Capture = open(b, () => left);
process.once("SIGTERM", () => {
  left.close();
  right.close();
  console.log(JSON.stringify(counts));
});
console.log("ready");
