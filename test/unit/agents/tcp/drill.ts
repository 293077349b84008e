/**
 * Segment tests as text, in the manner of packetdrill: a table of what the peer sends, what the user does, and what must
 * leave, each at its time. The whole stack runs underneath, frames and all, in virtual time.
 *
 *     < S 0:0(0) win 65535 <mss 1460,wscale 7>      a segment comes in
 *     > S. 0:0(0) ack 1 win 65535 <mss 1460>        this segment must leave now
 *     +0.2 < . 1:1(0) ack 1 win 512                 0.2 s later
 *     write 100; close                              one turn of the user
 *
 * Options are `mss N`, `wscale N`, `sackOK`, `TS val N ecr N` and `sack FROM:TO FROM:TO`.
 * Sequence numbers and timestamps count from each side's initial number (an echo without ACK is 0 as it stands).
 * A `>` line names what matters: the flags, range and, where given, ack, win and options must match (`<...>` exactly, and none means none). A segment that leaves and is not
 * expected fails the script. Other lines:
 *
 *     connect             open actively        read N        N bytes are readable, and right
 *     write N             write N bytes        eof           the peer's stream has ended
 *     close | abort       FIN | RST            state X       the connection is in state X, or gone: NONE
 *     hold | resume       stop / go on reading closed REASON the user was told so
 *     counter NAME N      the stack's counter  writable | blocked
 *     mtu MSS SEQ         a router says that SEQ was larger than a segment of MSS takes; `stray-mtu`: and is not believed
 */
import assert from "node:assert/strict";
import type { TcpConfig } from "@topicast/agent/tcp/config.js";
import type { CloseReason } from "@topicast/agent/tcp/connection.js";
import { StackRunner } from "@topicast/agent/tcp/runner.js";
import type { StackConnection } from "@topicast/agent/tcp/stack.js";
import { Frame } from "@topicast/agent/tcp/wire/frame.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { seqAdd, seqDiff } from "@topicast/agent/tcp/wire/sequence.js";
import { ACK, FIN, PSH, RST, type Segment, SYN, segmentLength } from "@topicast/agent/tcp/wire/tcp.js";
import { SimClock } from "@topicast/protocol";
import { pattern, patternAt } from "./pattern.js";

const FLAG_LETTERS: ReadonlyArray<readonly [string, number]> = [
  ["S", SYN],
  ["F", FIN],
  ["R", RST],
  ["P", PSH],
  [".", ACK],
];
/** Tolerance in ms: times in scripts are decimal fractions. */
const SAME_TIME = 0.5;

interface Sent {
  at: number;
  segment: Segment;
}

export interface DrillOptions {
  config?: Partial<TcpConfig>;
  /** Initial sequence numbers; scripts run with several, so that wrapping is met everywhere. */
  iss: number;
  irs: number;
}

export function drill(script: string, options: DrillOptions): void {
  const run = new Drill(options);
  const lines = script.split("\n").map((line) => line.replace(/#.*/, "").trim());
  lines.forEach((line, i) => {
    if (line === "") return;
    try {
      run.line(line);
    } catch (error) {
      assert(error instanceof Error);
      throw new Error(`line ${i + 1} "${line}": ${error.message}`, { cause: error });
    }
  });
  run.expectNothingMore();
}

class Drill {
  private readonly clock = new SimClock();
  private readonly runner: StackRunner;
  private readonly deferred: Array<() => void> = [];
  private readonly sent: Sent[] = [];
  private readonly frame = new Frame();
  private readonly toStack: Path;
  private readonly wire = Buffer.alloc(70_000);
  private connection: StackConnection | undefined;
  private closed: CloseReason | undefined;
  private holding = false;
  private received = 0;
  private checked = 0;
  private written = 0;
  private drained = false;

  constructor(private readonly options: DrillOptions) {
    const mac = Buffer.from("020000000001", "hex");
    this.toStack = Path.between({
      localMac: Buffer.from("020000000002", "hex"),
      remoteMac: mac,
      local: "10.0.0.2",
      localPort: 50_000,
      remote: "10.0.0.1",
      remotePort: 1883,
    });
    this.runner = new StackRunner(
      { mac, ipv4: ["10.0.0.1"] },
      {
        clock: this.clock,
        defer: (fn) => this.deferred.push(fn),
        send: (bytes, length) => this.onSent(bytes, length),
      },
      options.config,
      () => options.iss,
    );
    this.runner.stack.listen(1883, (connection) => this.attach(connection));
  }

  line(text: string): void {
    const timed = /^\+([0-9.]+)\s+(.*)$/.exec(text);
    if (timed !== null) this.clock.advance(Number(timed[1]) * 1000);
    const rest = timed === null ? text : timed[2]!;
    if (rest.startsWith(">")) {
      this.expectSegment(rest.slice(1).trim());
      return;
    }
    this.expectNothingMore();
    for (const action of rest.split(";")) this.act(action.trim());
    for (let fn = this.deferred.shift(); fn !== undefined; fn = this.deferred.shift()) fn();
  }

  expectNothingMore(): void {
    const [extra] = this.sent;
    if (extra !== undefined) assert.fail(`not expected: > ${this.describe(extra.segment)} at ${extra.at} ms`);
  }

  private act(action: string): void {
    const [word, ...args] = action.split(/\s+/) as [string, ...string[]];
    const { connection } = this;
    if (word === "<") this.inject(args.join(" "));
    else if (word === "connect") this.connect();
    else if (word === "state") assert.equal(this.stateName, args[0]);
    else if (word === "closed") assert.equal(this.closed, args[0]);
    else if (word === "counter")
      assert.equal(this.runner.stack.counters[args[0] as "frames_in"], Number(args[1]), args[0]);
    else {
      assert(connection !== undefined, "no connection yet");
      if (word === "write") this.write(connection, Number(args[0]));
      else if (word === "close") connection.shutdown();
      else if (word === "abort") connection.abort();
      else if (word === "mtu" || word === "stray-mtu") {
        const seq = seqAdd(this.options.iss, Number(args[1]));
        assert.equal(
          connection.onPathMtu(Number(args[0]), seq, this.clock.now()),
          word === "mtu",
          "believed",
        );
      } else if (word === "hold") this.holding = true;
      else if (word === "resume") {
        this.holding = false;
        this.drain(connection);
      } else if (word === "read") this.expectRead(Number(args[0]));
      else if (word === "eof") assert(connection.isEnded, "the peer's stream has not ended");
      else if (word === "blocked") assert(!connection.isWritable, "writable");
      else if (word === "writable") assert(connection.isWritable && this.drained, "not writable");
      else assert.fail(`unknown action ${word}`);
    }
  }

  private get stateName(): string {
    const { size } = this.runner.stack;
    return size.open + size.timeWait === 0 ? "NONE" : (this.connection?.state ?? "SYN-RECEIVED");
  }

  private connect(): void {
    const path = Path.between({
      localMac: Buffer.from("020000000001", "hex"),
      remoteMac: Buffer.from("020000000002", "hex"),
      local: "10.0.0.1",
      localPort: 1883,
      remote: "10.0.0.2",
      remotePort: 50_000,
    });
    this.attach(this.runner.stack.connect(path, this.clock.now()));
  }

  private attach(connection: StackConnection): void {
    this.connection = connection;
    this.closed = undefined;
    connection.handler = {
      onReadable: () => {
        if (!this.holding) this.drain(connection);
      },
      onDrained: () => {
        this.drained = true;
      },
      onClosed: (reason) => {
        this.closed = reason;
      },
    };
  }

  private write(connection: StackConnection, length: number): void {
    connection.write(pattern(this.written, length));
    this.written += length;
  }

  private drain(connection: StackConnection): void {
    for (let chunk = connection.read(); chunk !== undefined; chunk = connection.read()) {
      assert(chunk.equals(pattern(this.received, chunk.length)), "received bytes are not those sent");
      this.received += chunk.length;
    }
  }

  private expectRead(length: number): void {
    assert.equal(this.received - this.checked, length);
    this.checked = this.received;
  }

  private inject(text: string): void {
    const segment = this.parse(text, this.options.irs, this.options.iss);
    const length = this.toStack.write(segment, this.wire);
    this.runner.receive(this.wire, length);
  }

  private onSent(bytes: Buffer, length: number): void {
    assert.equal(this.frame.parse(bytes, length), undefined, "the stack sent a faulty frame");
    const { segment } = this.frame;
    this.sent.push({ at: this.clock.now(), segment: { ...segment, payload: Buffer.from(segment.payload) } });
  }

  private expectSegment(text: string): void {
    const next = this.sent.shift();
    if (next === undefined) assert.fail("nothing was sent");
    const late = next.at - this.clock.now();
    assert(Math.abs(late) < SAME_TIME, `> ${this.describe(next.segment)} left ${-late} ms before`);
    const wanted = this.parse(text, this.options.iss, this.options.irs);
    const got = next.segment;
    const actual = this.describe(got);
    assert.equal(flagNames(got.flags), flagNames(wanted.flags), actual);
    assert.equal(got.seq, wanted.seq, `sequence number of ${actual}`);
    assert.equal(got.payload.length, wanted.payload.length, `length of ${actual}`);
    if (/\back\b/.test(text)) assert.equal(got.ack, wanted.ack, `ack of ${actual}`);
    if (/\bwin\b/.test(text)) assert.equal(got.window, wanted.window, `window of ${actual}`);
    if (text.includes("<")) {
      assert.equal(got.mss, wanted.mss, `mss of ${actual}`);
      assert.equal(got.windowScale, wanted.windowScale, `wscale of ${actual}`);
      assert.equal(got.sackPermitted, wanted.sackPermitted, `sackOK of ${actual}`);
      assert.equal(got.timestamps, wanted.timestamps, `timestamps of ${actual}`);
      if (wanted.timestamps) assert.deepEqual([got.tsVal, got.tsEcr], [wanted.tsVal, wanted.tsEcr], actual);
      assert.deepEqual(got.sacks, wanted.sacks, `SACK blocks of ${actual}`);
    }
    assert(got.payload.equals(wanted.payload), `payload of ${actual}`);
  }

  private parse(text: string, base: number, peerBase: number): Segment {
    const parsed =
      /^([SFRP.]+|-) (-?\d+):(-?\d+)\((\d+)\)(?: ack (-?\d+))?(?: win (\d+))?(?: <([^>]*)>)?$/.exec(text);
    if (parsed === null) assert.fail("cannot be parsed");
    const [, letters, start, end, length, ack, win, optionText] = parsed;
    assert.equal(Number(end) - Number(start), Number(length), "end and length disagree");
    const flags = FLAG_LETTERS.reduce(
      (sum, [letter, flag]) => sum | (letters!.includes(letter) ? flag : 0),
      0,
    );
    const options = new Map(
      (optionText ?? "").split(",").map((option) => {
        const [name, ...rest] = option.trim().split(" ");
        return [name!, rest.join(" ")];
      }),
    );
    const ts = /^val (-?\d+) ecr (-?\d+)$/.exec(options.get("TS") ?? "");
    const acknowledges = (flags & ACK) !== 0;
    const sacks = options.get("sack")?.split(/[ :]/) ?? [];
    return {
      seq: seqAdd(base, Number(start)),
      ack: ack === undefined ? 0 : seqAdd(peerBase, Number(ack)),
      flags,
      window: Number(win ?? 0),
      mss: Number(options.get("mss") ?? 0),
      windowScale: Number(options.get("wscale") ?? -1),
      timestamps: ts !== null,
      tsVal: ts === null ? 0 : seqAdd(base, Number(ts[1])),
      tsEcr: ts === null ? 0 : seqAdd(acknowledges ? peerBase : 0, Number(ts[2])),
      sackPermitted: options.has("sackOK"),
      sacks: sacks.map((edge) => seqAdd(peerBase, Number(edge))),
      payload: pattern(Number(start) - 1, Number(length)),
    };
  }

  private describe(segment: Segment): string {
    const start = seqDiff(segment.seq, this.options.iss);
    const length = segment.payload.length;
    return (
      `${flagNames(segment.flags)} ${start}:${start + length}(${length})` +
      ` ack ${seqDiff(segment.ack, this.options.irs)} win ${segment.window}` +
      (segment.mss > 0 ? ` mss ${segment.mss}` : "") +
      (segment.windowScale >= 0 ? ` wscale ${segment.windowScale}` : "") +
      (segment.sackPermitted ? " sackOK" : "") +
      (segment.timestamps
        ? ` TS val ${seqDiff(segment.tsVal, this.options.iss)} ecr ${seqDiff(segment.tsEcr, this.options.irs)}`
        : "") +
      (segment.sacks.length > 0
        ? ` sack ${segment.sacks.map((edge) => seqDiff(edge, this.options.irs)).join(" ")}`
        : "") +
      (segmentLength(segment) > 0 && length > 0 && segment.payload[0] !== patternAt(start - 1)
        ? " (bad bytes)"
        : "")
    );
  }
}

function flagNames(flags: number): string {
  const names = FLAG_LETTERS.filter(([, flag]) => (flags & flag) !== 0).map(([letter]) => letter);
  return names.length === 0 ? "-" : names.join("");
}
