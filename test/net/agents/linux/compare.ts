import { seqDiff } from "@topicast/agent/tcp/wire/sequence.js";
import { ACK, PSH, RST, type Segment, SYN } from "@topicast/agent/tcp/wire/tcp.js";
import { type Bases, flagNames, type ScriptSegment, toWire } from "../../../unit/agents/tcp/script.js";

/** How late in ms a segment may come that is expected after `wait` ms (see README). */
export function latest(wait: number): number {
  return 35 + wait * 0.15;
}

export function isInTime(late: number, wait: number): boolean {
  return late >= -(20 + wait * 0.1) && late <= latest(wait);
}

/** Whether `got` is what the script expects, by the rules of the README. */
export function isAsExpected(got: Segment, expected: ScriptSegment, own: Bases, other: Bases): boolean {
  const wanted = toWire(expected, own, other);
  if ((got.flags & ~PSH) !== (wanted.flags & ~PSH)) return false;
  if (got.seq !== wanted.seq || !got.payload.equals(wanted.payload)) return false;
  if (expected.ack !== undefined && got.ack !== wanted.ack) return false;
  if (expected.window !== undefined && (got.window === 0) !== (wanted.window === 0)) return false;
  if (expected.options === undefined) return true;
  return (
    got.mss === wanted.mss &&
    got.windowScale >= 0 === wanted.windowScale >= 0 &&
    got.sackPermitted === wanted.sackPermitted &&
    got.timestamps === wanted.timestamps &&
    (!got.timestamps || got.tsEcr === wanted.tsEcr) &&
    got.sacks.join() === wanted.sacks.join()
  );
}

/** A segment of Linux' in the scripts' language, without what differs from run to run. */
export function describeSegment(segment: Segment, own: Bases, other: Bases): string {
  // A SYN begins the numbers; a RST for a segment without ACK has the number 0 as it stands.
  const isNoNumber = (segment.flags & SYN) !== 0 || ((segment.flags & RST) !== 0 && segment.seq === 0);
  const start = isNoNumber ? 0 : seqDiff(segment.seq, own.sequence);
  const { length } = segment.payload;
  const options = [
    segment.mss > 0 ? `mss ${segment.mss}` : "",
    segment.sackPermitted ? "sackOK" : "",
    segment.timestamps
      ? `TS ecr ${segment.tsEcr === 0 ? "none" : seqDiff(segment.tsEcr, other.timestamp)}`
      : "",
    segment.windowScale >= 0 ? "wscale" : "",
    segment.sacks.length > 0 ? `sack ${segment.sacks.map((e) => seqDiff(e, other.sequence)).join(" ")}` : "",
  ].filter((option) => option !== "");
  return [
    `${flagNames(segment.flags & ~PSH)} ${start}:${start + length}(${length})`,
    (segment.flags & ACK) !== 0 ? `ack ${seqDiff(segment.ack, other.sequence)}` : "",
    segment.window === 0 ? "win 0" : "",
    options.length > 0 ? `<${options.join(",")}>` : "",
  ]
    .filter((part) => part !== "")
    .join(" ");
}
