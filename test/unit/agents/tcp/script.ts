/**
 * Segment tests as text, in the manner of packetdrill: what the peer sends, what the user does, and what must leave,
 * each at its time. A script is data: whoever can take segments and calls runs it, our stack in virtual time (drill.ts)
 * and Linux' own in real time (test/net/agents/linux).
 *
 *     < S 0:0(0) win 65535 <mss 1460,wscale 7>      a segment comes in
 *     > S. 0:0(0) ack 1 win 65535 <mss 1460>        this segment must leave now
 *     +0.2 < . 1:1(0) ack 1 win 512                 0.2 s later
 *     write 100; close                              one turn of the user
 *
 * Flags are S F R P and . for ACK, `-` for none; what comes in may also have U, E and W (CWR), and `urg N`.
 * Options are `mss N`, `wscale N`, `sackOK`, `TS val N ecr N` and `sack FROM:TO FROM:TO`.
 * Sequence numbers and timestamps count from each side's initial number (an echo without ACK is 0 as it stands).
 * A `>` line names what matters: the flags, range and, where given, ack, win and options must match (`<...>` exactly,
 * and none means none). A segment that leaves and is not expected fails the script. Other lines:
 *
 *     connect             open actively        read N        N bytes are readable, and right
 *     write N             write N bytes        eof           the peer's stream has ended
 *     close | abort       FIN | RST            state X       the connection is in state X, or gone: NONE
 *     hold | resume       stop / go on reading closed REASON the user was told so
 *     counter NAME N      the stack's counter  writable | blocked
 *     mtu MSS SEQ         a router says that SEQ was larger than a segment of MSS takes; `stray-mtu`: and is not believed
 */
import assert from "node:assert/strict";
import { seqAdd } from "@topicast/agent/tcp/wire/sequence.js";
import { ACK, FIN, NO_SACKS, PSH, RST, type Segment, SYN } from "@topicast/agent/tcp/wire/tcp.js";
import { pattern } from "./pattern.js";

const FLAG_LETTERS: ReadonlyArray<readonly [string, number]> = [
  ["S", SYN],
  ["F", FIN],
  ["R", RST],
  ["P", PSH],
  ["U", 0x20],
  ["E", 0x40],
  ["W", 0x80],
  [".", ACK],
];

/** A segment as a script has it: all numbers count from the initial ones. */
export interface ScriptSegment {
  readonly flags: number;
  readonly start: number;
  readonly length: number;
  readonly ack: number | undefined;
  readonly window: number | undefined;
  readonly urgent: number;
  /** Undefined where the line has none at all. */
  readonly options: ScriptOptions | undefined;
}

export interface ScriptOptions {
  /** 0 and -1 where absent. */
  readonly mss: number;
  readonly windowScale: number;
  readonly sackPermitted: boolean;
  readonly timestamps: { readonly val: number; readonly ecr: number } | undefined;
  /** Left and right edge in turn. */
  readonly sacks: readonly number[];
}

const COUNTED = ["write", "read"] as const;
const NAMED = ["state", "closed"] as const;
const PLAIN = ["connect", "close", "abort", "hold", "resume", "eof", "writable", "blocked"] as const;

export type Action =
  | { readonly verb: "inject"; readonly segment: ScriptSegment }
  | { readonly verb: "counter"; readonly name: string; readonly value: number }
  | { readonly verb: "mtu" | "stray-mtu"; readonly mss: number; readonly seq: number }
  | { readonly verb: (typeof COUNTED)[number]; readonly bytes: number }
  | { readonly verb: (typeof NAMED)[number]; readonly name: string }
  | { readonly verb: (typeof PLAIN)[number] };

/** One line: some time passes, then either a segment must leave, or these things happen in one turn. */
export interface Step {
  readonly line: number;
  readonly text: string;
  /** In ms since the line before. */
  readonly after: number;
  readonly expected: ScriptSegment | undefined;
  readonly actions: readonly Action[];
}

export function parseScript(script: string): Step[] {
  return script.split("\n").flatMap((raw, i) => {
    const text = raw.replace(/#.*/, "").trim();
    return text === "" ? [] : [atLine(i + 1, text, () => parseLine(i + 1, text))];
  });
}

/** Says in what line `run` fails. */
export function atLine<T>(line: number, text: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    assert(error instanceof Error);
    throw new Error(`line ${line} "${text}": ${error.message}`, { cause: error });
  }
}

function parseLine(line: number, text: string): Step {
  const timed = /^\+([0-9.]+)\s+(.*)$/.exec(text);
  const after = timed === null ? 0 : Number(timed[1]) * 1000;
  const rest = timed === null ? text : timed[2]!;
  const isExpected = rest.startsWith(">");
  return {
    line,
    text,
    after,
    expected: isExpected ? parseSegment(rest.slice(1).trim()) : undefined,
    actions: isExpected ? [] : rest.split(";").map((action) => parseAction(action.trim())),
  };
}

function parseAction(action: string): Action {
  const [word, ...args] = action.split(/\s+/) as [string, ...string[]];
  const one = args.length === 1 ? args[0]! : "";
  if (word === "<") return { verb: "inject", segment: parseSegment(args.join(" ")) };
  if (word === "counter" && args.length === 2)
    return { verb: "counter", name: args[0]!, value: Number(args[1]) };
  if ((word === "mtu" || word === "stray-mtu") && args.length === 2)
    return { verb: word, mss: Number(args[0]), seq: Number(args[1]) };
  for (const verb of COUNTED) if (word === verb && /^\d+$/.test(one)) return { verb, bytes: Number(one) };
  for (const verb of NAMED) if (word === verb && one !== "") return { verb, name: one };
  for (const verb of PLAIN) if (word === verb && args.length === 0) return { verb };
  return assert.fail(`unknown action ${action}`);
}

function parseSegment(text: string): ScriptSegment {
  const parsed =
    /^([SFRPUEW.]+|-) (-?\d+):(-?\d+)\((\d+)\)(?: ack (-?\d+))?(?: win (\d+))?(?: urg (\d+))?(?: <([^>]*)>)?$/.exec(
      text,
    );
  if (parsed === null) assert.fail("cannot be parsed");
  const [, letters, start, end, length, ack, win, urgent, options] = parsed;
  assert.equal(Number(end) - Number(start), Number(length), "end and length disagree");
  return {
    flags: FLAG_LETTERS.reduce((sum, [letter, flag]) => sum | (letters!.includes(letter) ? flag : 0), 0),
    start: Number(start),
    length: Number(length),
    ack: ack === undefined ? undefined : Number(ack),
    window: win === undefined ? undefined : Number(win),
    urgent: Number(urgent ?? 0),
    options: options === undefined ? undefined : parseOptions(options),
  };
}

function parseOptions(text: string): ScriptOptions {
  const options = new Map(
    text.split(",").map((option) => {
      const [name, ...rest] = option.trim().split(" ");
      return [name!, rest.join(" ")];
    }),
  );
  const ts = /^val (-?\d+) ecr (-?\d+)$/.exec(options.get("TS") ?? "");
  const sacks = options.get("sack")?.split(/[ :]/);
  return {
    mss: Number(options.get("mss") ?? 0),
    windowScale: Number(options.get("wscale") ?? -1),
    sackPermitted: options.has("sackOK"),
    timestamps: ts === null ? undefined : { val: Number(ts[1]), ecr: Number(ts[2]) },
    sacks: sacks?.map(Number) ?? NO_SACKS,
  };
}

/** What a side's numbers count from on the wire. */
export interface Bases {
  readonly sequence: number;
  readonly timestamp: number;
}

/** The segment on the wire: `own` are the bases of the side that sends it, `other` those of the side that gets it. */
export function toWire(segment: ScriptSegment, own: Bases, other: Bases): Segment {
  const { options, flags } = segment;
  const ts = options?.timestamps;
  return {
    seq: seqAdd(own.sequence, segment.start),
    ack: segment.ack === undefined ? 0 : seqAdd(other.sequence, segment.ack),
    flags,
    window: segment.window ?? 0,
    mss: options?.mss ?? 0,
    windowScale: options?.windowScale ?? -1,
    timestamps: ts !== undefined,
    tsVal: ts === undefined ? 0 : seqAdd(own.timestamp, ts.val),
    tsEcr: ts === undefined ? 0 : seqAdd((flags & ACK) !== 0 ? other.timestamp : 0, ts.ecr),
    sackPermitted: options?.sackPermitted ?? false,
    sacks: (options?.sacks ?? NO_SACKS).map((edge) => seqAdd(other.sequence, edge)),
    payload: pattern(segment.start - 1, segment.length),
  };
}

/** Sets the urgent pointer in a whole frame without VLAN tags or IP options, checksum included. */
export function setUrgent(frame: Buffer, tcpAt: number, urgent: number): void {
  const sum = (~frame.readUInt16BE(tcpAt + 16) & 0xffff) + urgent;
  frame.writeUInt16BE(urgent, tcpAt + 18);
  frame.writeUInt16BE(~(sum + (sum >>> 16)) & 0xffff, tcpAt + 16);
}

export function flagNames(flags: number): string {
  const names = FLAG_LETTERS.filter(([, flag]) => (flags & flag) !== 0).map(([letter]) => letter);
  return names.length === 0 ? "-" : names.join("");
}
