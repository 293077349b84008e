/** Runs scripts (script.ts) on our own stack: the whole of it, frames and all, in virtual time. */
import assert from "node:assert/strict";
import type { TcpConfig } from "@topicast/agent/tcp/config.js";
import type { CloseReason } from "@topicast/agent/tcp/connection.js";
import { StackRunner } from "@topicast/agent/tcp/runner.js";
import type { StackConnection } from "@topicast/agent/tcp/stack.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Frame } from "@topicast/agent/tcp/wire/frame.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { seqAdd, seqDiff } from "@topicast/agent/tcp/wire/sequence.js";
import { type Segment, segmentLength } from "@topicast/agent/tcp/wire/tcp.js";
import { SimClock } from "@topicast/protocol";
import { pattern, patternAt } from "./pattern.js";
import {
  type Action,
  atLine,
  type Bases,
  flagNames,
  parseScript,
  type ScriptSegment,
  type Step,
  setUrgent,
  toWire,
} from "./script.js";
import { cut } from "./wire/cut.js";

/** Tolerance in ms: times in scripts are decimal fractions. */
const SAME_TIME = 0.5;
/** TCP's offset in an untagged frame, by version of IP. */
const TCP_AT = { IPv4: 34, IPv6: 54 } as const;
const ADDRESSES = {
  IPv4: { stack: "10.0.0.1", peer: "10.0.0.2" },
  IPv6: { stack: "fd00::1", peer: "fd00::2" },
} as const;
const STACK_MAC = parseMac("02:00:00:00:00:01");
const PEER_MAC = parseMac("02:00:00:00:00:02");

interface Sent {
  at: number;
  segment: Segment;
}

/** What carries the segments to the stack; its own always go whole. */
export type Carriage = "IPv4" | "IPv6" | "IPv6 fragments";

export interface DrillOptions {
  config?: Partial<TcpConfig>;
  /** IPv4 where undefined. */
  carriage?: Carriage;
  /** Initial sequence numbers; scripts run with several, so that wrapping is met everywhere. */
  iss: number;
  irs: number;
}

export function drill(script: string, options: DrillOptions): void {
  const run = new Drill(options);
  for (const step of parseScript(script)) atLine(step.line, step.text, () => run.step(step));
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
  private readonly version: "IPv4" | "IPv6";
  private identification = 0;
  private readonly ours: Bases;
  private readonly theirs: Bases;

  constructor(private readonly options: DrillOptions) {
    this.ours = { sequence: options.iss, timestamp: options.iss };
    this.theirs = { sequence: options.irs, timestamp: options.irs };
    this.version = (options.carriage ?? "IPv4") === "IPv4" ? "IPv4" : "IPv6";
    const { stack, peer } = ADDRESSES[this.version];
    this.toStack = Path.between({
      localMac: PEER_MAC,
      remoteMac: STACK_MAC,
      local: peer,
      localPort: 50_000,
      remote: stack,
      remotePort: 1883,
    });
    // Over IPv6 the largest segment is 20 bytes smaller, which the scripts need not know.
    const mss = (options.config?.mss ?? 1460) + (this.version === "IPv4" ? 0 : 20);
    this.runner = new StackRunner(
      { mac: STACK_MAC, ipv4: [ADDRESSES.IPv4.stack], ipv6: [ADDRESSES.IPv6.stack] },
      {
        clock: this.clock,
        defer: (fn) => this.deferred.push(fn),
        send: (bytes, length) => this.onSent(bytes, length),
      },
      { ...options.config, mss },
      () => options.iss,
    );
    this.runner.stack.listen(1883, (connection) => this.attach(connection));
  }

  step({ after, expected, actions }: Step): void {
    if (after > 0) this.clock.advance(after);
    if (expected !== undefined) {
      this.expectSegment(expected);
      return;
    }
    this.expectNothingMore();
    for (const action of actions) this.act(action);
    for (let fn = this.deferred.shift(); fn !== undefined; fn = this.deferred.shift()) fn();
  }

  expectNothingMore(): void {
    const [extra] = this.sent;
    if (extra !== undefined) assert.fail(`not expected: > ${this.describe(extra.segment)} at ${extra.at} ms`);
  }

  private act(action: Action): void {
    if (action.verb === "inject") this.inject(action.segment);
    else if (action.verb === "connect") this.connect();
    else if (action.verb === "state") assert.equal(this.stateName, action.name);
    else if (action.verb === "closed") assert.equal(this.closed, action.name);
    else if (action.verb === "counter")
      assert.equal(this.runner.stack.counters[action.name as "frames_in"], action.value, action.name);
    else {
      assert(this.connection !== undefined, "no connection yet");
      this.use(this.connection, action);
    }
  }

  private use(connection: StackConnection, action: Action): void {
    switch (action.verb) {
      case "write":
        return this.write(connection, action.bytes);
      case "close":
        return connection.shutdown();
      case "abort":
        return connection.abort();
      case "mtu":
      case "stray-mtu": {
        const seq = seqAdd(this.options.iss, action.seq);
        const believed = connection.onPathMtu(action.mss, seq, this.clock.now());
        return assert.equal(believed, action.verb === "mtu", "believed");
      }
      case "hold":
        this.holding = true;
        return;
      case "resume":
        this.holding = false;
        return this.drain(connection);
      case "read":
        return this.expectRead(action.bytes);
      case "eof":
        return assert(connection.isEnded, "the peer's stream has not ended");
      case "blocked":
        return assert(!connection.isWritable, "writable");
      case "writable":
        return assert(connection.isWritable && this.drained, "not writable");
    }
  }

  private get stateName(): string {
    const { size } = this.runner.stack;
    return size.open + size.timeWait === 0 ? "NONE" : (this.connection?.state ?? "SYN-RECEIVED");
  }

  private connect(): void {
    const { stack, peer } = ADDRESSES[this.version];
    const path = Path.between({
      localMac: STACK_MAC,
      remoteMac: PEER_MAC,
      local: stack,
      localPort: 1883,
      remote: peer,
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

  private inject(segment: ScriptSegment): void {
    const length = this.toStack.write(toWire(segment, this.theirs, this.ours), this.wire);
    const tcpAt = TCP_AT[this.version];
    if (segment.urgent > 0) setUrgent(this.wire, tcpAt, segment.urgent);
    if (this.options.carriage !== "IPv6 fragments" || length - tcpAt <= 24) {
      this.runner.receive(this.wire, length);
      return;
    }
    this.identification += 1;
    const [first, rest] = cut(this.wire.subarray(0, length), [24], this.identification);
    for (const each of [rest!, first!]) this.runner.receive(each, each.length);
  }

  private onSent(bytes: Buffer, length: number): void {
    assert.equal(this.frame.parse(bytes, length), undefined, "the stack sent a faulty frame");
    const { segment } = this.frame;
    this.sent.push({ at: this.clock.now(), segment: { ...segment, payload: Buffer.from(segment.payload) } });
  }

  private expectSegment(expected: ScriptSegment): void {
    const next = this.sent.shift();
    if (next === undefined) assert.fail("nothing was sent");
    const late = next.at - this.clock.now();
    assert(Math.abs(late) < SAME_TIME, `> ${this.describe(next.segment)} left ${-late} ms before`);
    const wanted = toWire(expected, this.ours, this.theirs);
    const got = next.segment;
    const actual = this.describe(got);
    assert.equal(flagNames(got.flags), flagNames(wanted.flags), actual);
    assert.equal(got.seq, wanted.seq, `sequence number of ${actual}`);
    assert.equal(got.payload.length, wanted.payload.length, `length of ${actual}`);
    if (expected.ack !== undefined) assert.equal(got.ack, wanted.ack, `ack of ${actual}`);
    if (expected.window !== undefined) assert.equal(got.window, wanted.window, `window of ${actual}`);
    if (expected.options !== undefined) {
      assert.equal(got.mss, wanted.mss, `mss of ${actual}`);
      assert.equal(got.windowScale, wanted.windowScale, `wscale of ${actual}`);
      assert.equal(got.sackPermitted, wanted.sackPermitted, `sackOK of ${actual}`);
      assert.equal(got.timestamps, wanted.timestamps, `timestamps of ${actual}`);
      if (wanted.timestamps) assert.deepEqual([got.tsVal, got.tsEcr], [wanted.tsVal, wanted.tsEcr], actual);
      assert.deepEqual(got.sacks, wanted.sacks, `SACK blocks of ${actual}`);
    }
    assert(got.payload.equals(wanted.payload), `payload of ${actual}`);
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
