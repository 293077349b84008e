import type { Endpoint } from "../addresses.js";
import type { Clock, Timer } from "../clock.js";
import { ASK, BEGIN, type Datagram, END, type Header, Kind, serialDistance } from "./header.js";
import { type Edge, type Member, Members, SILENT_MS } from "./members.js";
import { OutQueue, type Unsent } from "./out-queue.js";
import type { Kept, SendHistory, Sent } from "./send-history.js";
import { encodeHeartbeat, type Fence, RANGES_MAX, type Range } from "./status.js";

/** Silence before each heartbeat while acknowledgements are awaited; the last one repeats. */
const BEATS_MS = [10, 40, 200, 1_000] as const;
/**
 * The same where nobody is awaited: the first is late enough not to fall between messages that follow one another, the last
 * one early enough for what it tells of to be here still. A group's rules outlive its last route by the first four.
 */
const LOOSE_BEATS_MS = [30, 70, 100, 200, 1_000] as const;
/** Datagrams that leave one stream in a millisecond: about 90 MB/s of large messages. */
const BURST = 64;
const BURST_MS = 1;
/** So many messages, and one more each millisecond, have a datagram each; more share those of an event-loop turn. */
const CALM_MAX = 64;
const CALM_PER_MS = 1;
/** Pinned datagrams on their way before the next one waits for reports; every so many ask for one. */
const WINDOW = 512;
const ASK_EVERY = 64;
/** Pinned datagrams of one stream that stalled edges lack before its publishers wait for them after all. */
const LACKING_MAX = 4_096;
/** Bytes of QoS 0 that wait for the window of one stream. */
const LOOSE_QUEUE_BYTES_MAX = 4 * 1024 * 1024;
/** A number is sent again to the same edge at most this often... */
const REPAIR_MS = 5;
/** ...and to all edges when a second one asks within this time. */
const GROUP_REPAIR_MS = 10;
/** Datagrams that one STATUS may have sent again. */
const REPAIRS_MAX = 256;
const EVERYONE = -1;

export interface StreamContext {
  readonly clock: Clock;
  /** The agent's number and the epoch of its streams. */
  readonly source: number;
  readonly epoch: number;
  readonly payloadBytes: number;
  /** Puts one datagram on the wire to each destination; may lose it. */
  readonly transmit: (header: Header, payload: Buffer, to: readonly Endpoint[]) => void;
  /** Calls `fn` when what is going on now has ended: what is sent until then shares datagrams. */
  readonly defer: (fn: () => void) => void;
  readonly history: SendHistory;
  readonly stats: SenderStats;
  /** Whether one more datagram may be pinned. */
  readonly mayPin: () => boolean;
}

export type SenderStats = ReturnType<typeof newSenderStats>;

export function newSenderStats() {
  return {
    datagrams: 0,
    repairs: 0,
    group_repairs: 0,
    gone_told: 0,
    heartbeats: 0,
    statuses: 0,
    bad_statuses: 0,
    strangers: 0,
    queue_drops: 0,
    edges_given_up: 0,
  };
}

export interface SendOptions {
  readonly to: readonly Endpoint[];
  /** Called when every edge of the group has it; without it the message is QoS 0. */
  readonly done?: (() => void) | undefined;
  /** With `done`: called for each edge that is away and will not get it here. */
  readonly onAbsent?: ((edge: number) => void) | undefined;
  /** What goes before it on other streams; said once. */
  readonly fences?: readonly Fence[];
}

/** Somebody waits until everyone has everything before `number`. */
interface Wait extends Pick<SendOptions, "onAbsent"> {
  /** Nothing of the message is before the datagram before this one. */
  readonly first: number;
  readonly number: number;
  readonly done: () => void;
}

/**
 * One stream: (this agent, its epoch, one group). Numbers what it sends, repairs what is asked for, and tells when every
 * edge of the group has what somebody waits for: protocol/README.md, section "Data". Here numbers do not wrap.
 */
export class StreamSender {
  /** The number of the next datagram that leaves. */
  private next = 0;
  private readonly queue: OutQueue;
  private readonly kept: Kept = new Map();
  private readonly members = new Members();
  private to: readonly Endpoint[] = [];
  /** Who waits until everyone has everything before `number`, in its order. */
  private readonly waits: Wait[] = [];
  /** Edges of the group that are away: messages are for them all the same. */
  private absent: readonly number[] = [];
  /** Who waits until one edge has everything before `number`. */
  private edgeWaits: Array<{ readonly edge: number; readonly number: number; readonly done: () => void }> =
    [];
  /** Pinned datagrams on their way that somebody lacks, and how many of them the moving members have. */
  private readonly pinned: Sent[] = [];
  private pumping = false;
  private burst = 0;
  private calm = CALM_MAX;
  private calmAt = 0;
  private burstAt = Number.NEGATIVE_INFINITY;
  private lastSentAt = 0;
  private waitingSince = 0;
  private beat = 0;
  private beatTimer: Timer | undefined;
  private pumpTimer: Timer | undefined;
  private sinceAsked = 0;
  private closed = false;

  constructor(
    private readonly group: number,
    private readonly context: StreamContext,
  ) {
    this.queue = new OutQueue(context.payloadBytes);
  }

  /** Everything so far is before this number (u32). */
  get position(): number {
    return this.queue.end >>> 0;
  }

  /** Everyone who is to be waited for has everything before this number (u32), as far as they have said. */
  hasEverywhere(number: number): boolean {
    return this.members.size > 0 && this.members.floor >= this.unwrap(number);
  }

  /** Of the edges that it goes to. */
  addresses(): string[] {
    return [...this.members.values()].map((m) => m.endpoint.address);
  }

  /** Those of the group, and of them those that are away. */
  setEdges(edges: readonly Edge[], absent: readonly number[] = []): void {
    this.absent = absent;
    const others = edges.filter((e) => e.number !== this.context.source);
    // Whoever is not among them any more, in that life, may have gone.
    const epochs = new Map(others.map(({ number, epoch }) => [number, epoch]));
    for (const member of this.members.values())
      if (epochs.get(member.number) !== member.epoch && !member.given) this.tellAbsent(member);
    this.members.set(others, this.queue.end, this.context.clock.now());
    this.settle();
  }

  /** Whether that edge of the group is away, or given up, and messages are for it all the same. */
  isAbsent(edge: number): boolean {
    return this.absent.includes(edge) || this.members.get(edge)?.given === true;
  }

  /** That life of an edge has ended; `isAbsent`: what it lacks, and what comes now, is for it all the same. */
  removeEdge(number: number, epoch: number, isAbsent: boolean): void {
    const member = this.members.get(number);
    if (member?.epoch !== epoch) return;
    this.members.delete(number);
    if (isAbsent) {
      this.absent = [...this.absent.filter((edge) => edge !== number), number];
      if (!member.given) this.tellAbsent(member);
    }
    this.settle();
  }

  /** Sends one encoded packet, or drops it and returns false: QoS 0 beyond what may wait. */
  send(packet: Buffer, { to, done, onAbsent, fences }: SendOptions): boolean {
    if (this.closed) return false;
    if (done === undefined && this.queue.bytes > LOOSE_QUEUE_BYTES_MAX) {
      this.context.stats.queue_drops += 1;
      return false;
    }
    this.to = to;
    const unsaid = this.queue.unsaid(fences);
    // Whoever comes back late must find the fence: it stays until everyone has it, as QoS 1 and 2 do.
    const pinned = done !== undefined || unsaid.length > 0;
    const first = this.queue.end;
    // A datagram has one fence: those before the last one have datagrams without packets.
    for (const fence of unsaid.slice(0, -1)) this.queue.add(Buffer.alloc(0), pinned, fence);
    this.queue.add(packet, pinned, unsaid.at(-1));
    if (pinned) this.wait(done ?? (() => {}), onAbsent, first);
    if (onAbsent !== undefined) for (const edge of this.lost()) onAbsent(edge);
    if (this.pumping) return true;
    this.pumping = true;
    if (this.isCalm()) this.pump();
    else this.context.defer(() => this.pump());
    return true;
  }

  /** Those that are away, or given up. */
  private lost(): readonly number[] {
    return this.members.hasGiven ? [...this.absent, ...this.members.given()] : this.absent;
  }

  /** Calls `done` when every edge that is alive has all that was sent so far. */
  whenEverywhere(done: () => void): void {
    if (this.members.floor >= this.queue.end || this.closed) return done();
    this.wait(done);
    this.restartBeats();
    this.armBeat();
  }

  /** Calls `done` when that edge has all that was sent so far, or belongs to the group no more, or is given up. */
  whenAt(edge: number, done: () => void): void {
    const number = this.queue.end;
    if (this.closed || this.hasAll(edge, number)) return done();
    if (!this.isAwaited) this.waitingSince = this.context.clock.now();
    this.edgeWaits.push({ edge, number, done });
    this.restartBeats();
    this.armBeat();
  }

  private hasAll(edge: number, number: number): boolean {
    const member = this.members.get(edge);
    return member === undefined || member.given || member.position >= number;
  }

  private get isAwaited(): boolean {
    return this.waits.length > 0 || this.edgeWaits.length > 0;
  }

  /** Lets everyone go who waits. */
  close(): void {
    this.closed = true;
    this.beatTimer?.cancel();
    this.pumpTimer?.cancel();
    for (const { done } of [...this.waits.splice(0), ...this.edgeWaits.splice(0)]) done();
  }

  /** Few datagrams have left lately: the next one need not be shared. */
  private isCalm(): boolean {
    const now = this.context.clock.now();
    this.calm = Math.min(this.calm + (now - this.calmAt) * CALM_PER_MS, CALM_MAX);
    this.calmAt = now;
    if (this.calm < 1) return false;
    this.calm -= 1;
    return true;
  }

  /** What the member has not reported to have does not come to it any more. */
  private tellAbsent({ number, position }: Member): void {
    for (const wait of [...this.waits]) if (wait.number > position) wait.onAbsent?.(number);
  }

  private wait(done: () => void, onAbsent?: (edge: number) => void, first = this.queue.end): void {
    if (!this.isAwaited) this.waitingSince = this.context.clock.now();
    this.waits.push({ first, number: this.queue.end, done, onAbsent });
  }

  // --- new datagrams ---

  private pump(): void {
    this.pumping = true;
    const { clock } = this.context;
    for (let unsent = this.queue.peek(); unsent !== undefined && !this.closed; unsent = this.queue.peek()) {
      const full = unsent.pinned && (this.pinned.length >= WINDOW || !this.context.mayPin());
      if ((full && !this.makeRoom()) || !this.inBurst(clock.now())) break;
      this.queue.shift();
      this.transmitNew(unsent);
    }
    this.pumping = false;
    this.armBeat();
  }

  /** Not more than so many datagrams a millisecond: what is left follows then. */
  private inBurst(now: number): boolean {
    if (now - this.burstAt >= BURST_MS) {
      this.burstAt = now;
      this.burst = 0;
    }
    this.burst += 1;
    if (this.burst <= BURST) return true;
    this.pumpTimer ??= this.context.clock.setTimer(BURST_MS, () => {
      this.pumpTimer = undefined;
      this.pump();
    });
    return false;
  }

  private transmitNew({ flags, parts, pinned }: Unsent): void {
    const { clock, history, stats, transmit } = this.context;
    const number = this.next++;
    const payload = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    // A large packet asks at its end, and on its way often enough for the window to move.
    this.sinceAsked += 1;
    const ask = pinned && ((flags & END) !== 0 || this.sinceAsked >= ASK_EVERY);
    if (ask) this.sinceAsked = 0;
    const sent: Sent = {
      number,
      flags: ask ? flags | ASK : flags,
      payload,
      sentAt: clock.now(),
      pinned: pinned && this.members.floor <= number,
      repairedAt: Number.NEGATIVE_INFINITY,
      repairedTo: EVERYONE,
    };
    history.add(sent, this.kept);
    if (sent.pinned) this.pinned.push(sent);
    stats.datagrams += 1;
    this.lastSentAt = sent.sentAt;
    this.restartBeats();
    transmit(this.header(Kind.DATA, sent.flags, number), payload, this.to);
    if (pinned && !sent.pinned) this.settle();
  }

  private header(kind: Kind, flags: number, number: number): Header {
    const { source, epoch } = this.context;
    return { kind, flags, source, epoch, stream: this.group, number: number >>> 0 };
  }

  // --- who has what ---

  /** Lets go of what everyone has. */
  private settle(): void {
    const floor = Math.min(this.members.floor, this.next);
    let held = 0;
    for (; held < this.pinned.length && this.pinned[held]!.number < floor; held++) {
      this.context.history.remove(this.pinned[held]!, this.kept);
    }
    if (held > 0) this.pinned.splice(0, held);
    let settled = 0;
    while (settled < this.waits.length && this.waits[settled]!.number <= floor) settled += 1;
    for (const { done } of settled === 0 ? [] : this.waits.splice(0, settled)) done();
    if (this.edgeWaits.length > 0) this.settleEdges();
    if (this.queue.length > 0 && !this.pumping && this.pumpTimer === undefined) this.pump();
  }

  private settleEdges(): void {
    const waits = this.edgeWaits;
    this.edgeWaits = waits.filter(({ edge, number }) => !this.hasAll(edge, number));
    for (const { edge, number, done } of waits) if (this.hasAll(edge, number)) done();
  }

  /** Whether the window has room when those who do not move are not waited for. */
  private makeRoom(): boolean {
    const oldest = this.pinned[0];
    if (oldest === undefined) return true;
    if (this.pinned.length >= LACKING_MAX || !this.context.mayPin()) return false;
    const floor = this.members.floorOfMoving(oldest.sentAt, this.context.clock.now());
    const lacking = this.pinned.length - lowerBound(this.pinned, floor);
    return lacking < WINDOW;
  }

  /** A STATUS about this stream. */
  onStatus(datagram: Datagram, missing: readonly Range[], from: Endpoint): void {
    const { clock, stats } = this.context;
    const now = clock.now();
    stats.statuses += 1;
    const asked = Math.max(0, this.unwrap(datagram.number));
    const member = this.memberAt(datagram, asked, from, now);
    if (member === undefined) {
      stats.strangers += 1;
      // It was never promised anything: its stream begins where it came in, and nothing is sent again.
      const begins = (datagram.flags & BEGIN) !== 0;
      this.heartbeat(begins ? BEGIN : 0, begins ? Math.min(asked, this.next) : this.next, [], [from]);
      return;
    }
    if ((datagram.flags & BEGIN) !== 0) {
      member.heardAt = now;
      this.heartbeat(BEGIN, member.position, [], [member.endpoint]);
      return;
    }
    this.members.report(member, Math.min(asked, this.next), now);
    this.repair(missing, member, now);
    this.settle();
  }

  private memberAt(
    { source, epoch }: Datagram,
    asked: number,
    from: Endpoint,
    now: number,
  ): Member | undefined {
    const member = this.members.get(source);
    if (member === undefined) return undefined;
    if (member.endpoint.address !== from.address || member.endpoint.port !== from.port) return undefined;
    const age = serialDistance(member.epoch, epoch);
    if (age < 0) return undefined;
    if (age > 0) {
      // It has started anew, which the forwarder has yet to say: it begins where it came in.
      const { endpoint, number } = member;
      const begin = Math.min(asked, this.next);
      // A datagram may hold the end of one message and the next one.
      for (const wait of [...this.waits])
        if (wait.number > member.position && wait.first <= begin) wait.onAbsent?.(number);
      const others = [...this.members.values()].filter((m) => m !== member);
      this.members.set([...others, { number, endpoint, epoch }], begin, now);
      this.settle();
      return this.members.get(number);
    }
    return member;
  }

  private repair(missing: readonly Range[], member: Member, now: number): void {
    if (missing.length === 0) return;
    const gone: Range[] = [];
    let left = REPAIRS_MAX;
    for (const range of missing) {
      const first = Math.max(this.unwrap(range.first), 0);
      const end = Math.min(first + range.count, this.next);
      for (let number = first; number < end && left > 0; number++, left--) {
        const sent = number < member.from ? undefined : this.kept.get(number);
        if (sent !== undefined) this.sendAgain(sent, member, now);
        else addTo(gone, number);
      }
    }
    if (gone.length > 0 || missing.some((r) => this.unwrap(r.first) >= this.next)) {
      this.context.stats.gone_told += gone.length;
      const ranges = gone.map(({ first, count }) => ({ first: first >>> 0, count }));
      this.heartbeat(0, Math.max(this.oldest(), member.from), ranges, [member.endpoint]);
    }
  }

  /**
   * To who asks; to all when a second one asks within a moment, because then it was lost on the way they share and
   * others will ask, too.
   */
  private sendAgain(sent: Sent, member: Member, now: number): void {
    const { stats, transmit } = this.context;
    const age = now - sent.repairedAt;
    const another = sent.repairedTo !== member.number;
    if (age < REPAIR_MS && (sent.repairedTo === EVERYONE || !another)) return;
    const shared = another && sent.repairedTo !== EVERYONE && age < GROUP_REPAIR_MS && this.members.size > 2;
    sent.repairedAt = now;
    sent.repairedTo = shared ? EVERYONE : member.number;
    if (shared) stats.group_repairs += 1;
    else stats.repairs += 1;
    transmit(
      this.header(Kind.DATA, sent.flags, sent.number),
      sent.payload,
      shared ? this.to : [member.endpoint],
    );
  }

  // --- heartbeats ---

  /** Nothing before it will be sent again. */
  private oldest(): number {
    for (const number of this.kept.keys()) return number;
    return this.next;
  }

  private heartbeat(flags: number, oldest: number, gone: readonly Range[], to: readonly Endpoint[]): void {
    const { stats, transmit } = this.context;
    stats.heartbeats += to.length;
    const payload = encodeHeartbeat({ oldest: oldest >>> 0, gone });
    transmit(this.header(Kind.HEARTBEAT, flags, this.next), payload, to);
  }

  private restartBeats(): void {
    if (this.beat === 0) return;
    this.beat = 0;
    this.beatTimer?.cancel();
    this.beatTimer = undefined;
  }

  private armBeat(): void {
    if (this.beatTimer !== undefined || this.closed || this.next === 0) return;
    const waiting = this.isAwaited;
    const after = waiting ? BEATS_MS[Math.min(this.beat, BEATS_MS.length - 1)] : LOOSE_BEATS_MS[this.beat];
    if (after === undefined) return;
    this.beatTimer = this.context.clock.setTimer(after, () => {
      this.beatTimer = undefined;
      this.onBeat(after);
    });
  }

  private onBeat(after: number): void {
    const { clock } = this.context;
    const now = clock.now();
    if (this.isAwaited) this.giveUpSilent(now);
    const waiting = this.isAwaited;
    // Where datagrams follow each other the next one tells as much.
    if (this.beat > 0 || now - this.lastSentAt >= after) {
      this.tellEnd(waiting);
      this.beat += 1;
    }
    if (this.queue.length > 0 && this.pumpTimer === undefined) this.pump();
    this.armBeat();
  }

  /** The first time everyone; then, where acknowledgements are awaited, those who have not given theirs. */
  private tellEnd(waiting: boolean): void {
    if (!waiting) return this.heartbeat(0, this.oldest(), [], this.to);
    if (this.beat === 0) return this.heartbeat(ASK, this.oldest(), [], this.to);
    const lagging = [...this.members.values()].filter((m) => m.position < this.next);
    for (const m of lagging) this.heartbeat(ASK, Math.max(this.oldest(), m.from), [], [m.endpoint]);
  }

  private giveUpSilent(now: number): void {
    const since = this.waitingSince;
    const silent = [...this.members.values()].filter(
      (m) => !m.given && m.position < this.next && now - Math.max(since, m.heardAt) >= SILENT_MS,
    );
    for (const member of silent) {
      this.context.stats.edges_given_up += 1;
      this.tellAbsent(member);
      this.members.giveUp(member);
    }
    if (silent.length > 0) this.settle();
  }

  /** The full number that a u32 of this stream stands for: the one nearest to those of now. */
  private unwrap(number: number): number {
    return this.next + serialDistance(this.next >>> 0, number);
  }
}

/** Adds a number to the last range or begins another; beyond the most ranges it is left to the next question. */
function addTo(ranges: Range[], number: number): void {
  const last = ranges.at(-1);
  if (last !== undefined && last.first + last.count === number) {
    ranges[ranges.length - 1] = { first: last.first, count: last.count + 1 };
  } else if (ranges.length < RANGES_MAX) {
    ranges.push({ first: number, count: 1 });
  }
}

/** How many of the datagrams, ordered by number, come before `number`. */
function lowerBound(sent: readonly Sent[], number: number): number {
  let low = 0;
  let high = sent.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sent[middle]!.number < number) low = middle + 1;
    else high = middle;
  }
  return low;
}
