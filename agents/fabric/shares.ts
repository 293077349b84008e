import {
  type Clock,
  type Edge,
  encodeFabricJson,
  encodePublish,
  FabricTopic,
  FilterTrie,
  type GoneEdge,
  Mark,
  type Message,
  parseIPv4Endpoint,
  type ShareMembers,
  type SharesUpdate,
  type StreamSender,
  type StreamSenders,
  type Timer,
  Turns,
  topicFilterOf,
  withMark,
} from "@topicast/protocol";
import type { Deferrals } from "./deferrals.js";
import type { Registration } from "./registration.js";

/** Members that connect or go are told to the forwarder together, so often. */
const TELL_MS = 100;
/**
 * A message that finds no member at an edge is sent on so often: at QoS 0 at once, otherwise each time this much later than the
 * time before, because where members are may not have been heard yet. So many wait at a time.
 */
const HOPS_MAX = 8;
const SEND_ON_MS = 50;
const SENDING_ON_MAX = 10_000;
/** The longest that a SUBACK waits for all agents to know of a new shared subscription, as with any other. */
const BARRIER_MS = 8_000;
/** Characters of names in one `$fabric/members`. */
const BATCH_CHARACTERS = 16 * 1024;
/** The first stream to one edge: in 240.0.0.0/4, where no group is. */
const FIRST_STREAM = 0xf0000000;

interface Candidate extends Edge {
  readonly id: number;
  readonly connected: number;
}

interface Share {
  readonly name: string;
  /** Connected members here; undefined: there is no member here. */
  local: number | undefined;
  others: readonly Candidate[];
  /** Edges that are away and have members that outlive that; where nobody else has any. */
  absent: readonly number[];
  /** Told since the registration began. */
  isTold: boolean;
  readonly turns: Turns;
}

/** A message on its way to a member elsewhere. */
interface Sent {
  readonly share: Share;
  readonly message: Message;
  readonly hops: number;
  readonly to: Candidate;
  readonly done: () => void;
}

export interface SharesOptions {
  readonly clock: Clock;
  /** This agent's number. */
  readonly number: number;
  readonly registration: Registration;
  readonly streams: StreamSenders;
  readonly deferrals: Deferrals;
  /** Gives a message to a member here; false where none can take it. */
  readonly deliver: (share: string, message: Message) => boolean;
}

/**
 * Shared subscriptions over all edges: the publishing agent chooses an edge for each message, by its members, and sends it
 * there alone. Who has members where is told by the forwarder, and holds while it is away.
 */
export class Shares {
  private readonly byName = new Map<string, Share>();
  private readonly trie = new FilterTrie<Share>();
  /** The stream to each edge that something was sent to. */
  private readonly streamsTo = new Map<string, { readonly edge: Edge; readonly stream: StreamSender }>();
  private nextStream = FIRST_STREAM;
  private readonly onTheirWay = new Set<Sent>();
  /** Who waits for the answer, by number. */
  private readonly asked = new Map<number, () => void>();
  private lastNumber = 0;
  private readonly changed = new Set<string>();
  private timer: Timer | undefined;
  /** Messages that wait to be sent on. */
  private readonly sendingOn = new Set<Timer>();

  readonly stats = {
    shared_here: 0,
    shared_sent: 0,
    shared_sent_on: 0,
    shared_dropped: 0,
    shared_deferred: 0,
    share_timeouts: 0,
  };

  constructor(private readonly options: SharesOptions) {}

  get size(): number {
    return this.byName.size;
  }

  /**
   * This agent's members of a shared subscription from now on, as far as they are connected; undefined: it has none.
   * @returns for a new one, what its SUBACK waits for; never rejects
   */
  set(name: string, connected: number | undefined): Promise<void> | undefined {
    const share = this.byName.get(name) ?? (connected === undefined ? undefined : this.add(name));
    if (share === undefined || share.local === connected) return undefined;
    const isNew = share.local === undefined;
    const isGone = connected === undefined;
    share.local = connected;
    if (isGone) this.dropIfEmpty(share);
    const { registered, state } = this.options.registration;
    if (isNew) return registered ? this.ask(name) : state === "connecting" ? this.barrier() : undefined;
    if (registered && isGone) {
      this.changed.delete(name);
      this.tell([{ share: name, connected: null }]);
    } else if (registered) this.tellSoon(name);
    return undefined;
  }

  /** Gives a message of a client here to one member of each that matches; the promise, at QoS 1 and 2, as for `publish`. */
  publish(message: Message): Promise<void> | undefined {
    const matching = this.trie.match(message.topic);
    if (matching.length === 0) return undefined;
    const waits: Promise<void>[] = [];
    for (const share of matching) {
      if (message.qos === 0) this.dispatch(share, message, 0, nothing);
      else waits.push(new Promise((done) => this.dispatch(share, message, 0, done)));
    }
    return waits.length === 0 ? undefined : Promise.all(waits).then(nothing);
  }

  /** A message that a member here had and has not taken goes to another one. */
  passOn(name: string, message: Message): void {
    const share = this.byName.get(name);
    if (share === undefined) this.drop(nothing);
    else this.dispatch(share, message, 0, nothing);
  }

  /** A message that another agent, or the forwarder, has sent here for a member; `mark` is the value of its mark. */
  receive(message: Message, mark: string): void {
    const cut = mark.indexOf(" ");
    const hops = Number(mark.slice(0, cut));
    const name = mark.slice(cut + 1);
    if (this.deliverHere(name, message)) return;
    if (!(hops < HOPS_MAX)) this.drop(nothing);
    else this.sendOn(name, message, hops + 1);
  }

  /** `$fabric/shares` */
  onShares({ shares, complete }: SharesUpdate): void {
    for (const { share: name, edges, absent = [] } of shares) {
      const share = this.byName.get(name) ?? this.add(name);
      const others: Candidate[] = [];
      for (const { agent, at, epoch, connected } of edges) {
        const endpoint = parseIPv4Endpoint(at);
        if (agent !== this.options.number && endpoint !== undefined)
          others.push({ id: agent, number: agent, endpoint, epoch, connected });
      }
      share.others = others;
      share.absent = absent;
      share.isTold = true;
      this.dropIfEmpty(share);
    }
    if (!complete) return;
    for (const share of [...this.byName.values()]) {
      if (share.isTold) continue;
      share.others = [];
      share.absent = [];
      this.dropIfEmpty(share);
    }
  }

  /** `$fabric/joined`: all agents know of it. */
  onJoined(number: number): void {
    this.asked.get(number)?.();
    this.asked.delete(number);
  }

  /** `$fabric/gone`: what was on its way there goes to other members. To be called before the streams hear of it. */
  onGone({ agent, epoch, absent = false }: GoneEdge): void {
    for (const share of [...this.byName.values()]) {
      const left = share.others.filter((edge) => edge.number !== agent || edge.epoch !== epoch);
      // Until the forwarder says whether it has members that outlive this.
      if (absent && left.length < share.others.length) share.absent = [...share.absent, agent];
      share.others = left;
      this.dropIfEmpty(share);
    }
    for (const sent of [...this.onTheirWay]) {
      if (sent.to.number !== agent || sent.to.epoch !== epoch) continue;
      this.onTheirWay.delete(sent);
      this.dispatch(sent.share, sent.message, sent.hops, sent.done);
    }
    // Should it come back in the same life, it finds another stream.
    for (const [key, { edge }] of this.streamsTo) {
      if (edge.number === agent && edge.epoch === epoch) this.streamsTo.delete(key);
    }
  }

  /** Tells a new registration all that is here, as fast as it takes it; resolves with false when it has ended. */
  async tellAll(): Promise<boolean> {
    const { registration } = this.options;
    this.changed.clear();
    for (const share of this.byName.values()) share.isTold = false;
    let batch: ShareMembers[] = [];
    let characters = 0;
    for (const share of [...this.byName.values()]) {
      if (share.local === undefined) continue;
      batch.push({ share: share.name, connected: share.local });
      characters += share.name.length;
      if (characters < BATCH_CHARACTERS) continue;
      await registration.ready();
      this.tell(batch);
      batch = [];
      characters = 0;
    }
    if (batch.length === 0 && this.asked.size === 0) return registration.registered;
    // Those who wait since before the registration wait for this one's answer, which comes last.
    const waiting = [...this.asked.values()];
    this.asked.clear();
    this.lastNumber += 1;
    this.asked.set(this.lastNumber, () => {
      for (const done of waiting) done();
    });
    this.tell(batch, this.lastNumber);
    return registration.registered;
  }

  close(): void {
    this.timer?.cancel();
    for (const timer of this.sendingOn) timer.cancel();
    for (const done of this.asked.values()) done();
    for (const { done } of this.onTheirWay) done();
  }

  // --- messages ---

  private dispatch(
    share: Share,
    message: Message,
    hops: number,
    done: () => void,
    isElsewhere = false,
  ): void {
    const { number } = this.options;
    const { local, others } = share;
    const here = { id: number, connected: local ?? 0 };
    const candidates: Array<Candidate | typeof here> = [...others];
    if (local !== undefined && !isElsewhere) candidates.push(here);
    const picked = share.turns.next(candidates, message.qos);
    if (picked === undefined) return this.defer(share, message, hops, done);
    if (!("endpoint" in picked)) {
      if (this.deliverHere(share.name, message)) return done();
      if (others.length > 0) return this.dispatch(share, message, hops, done, true);
      return this.defer(share, message, hops, done);
    }
    this.send(share, message, hops, picked, done);
  }

  /** Nobody is there who can take it: it is kept for one who is away, if there is any. */
  private defer(share: Share, message: Message, hops: number, done: () => void): void {
    const [edge, ...others] = share.absent;
    if (edge === undefined || message.qos === 0) return this.drop(done);
    share.absent = [...others, edge];
    this.stats.shared_deferred += 1;
    this.options.deferrals.defer([edge], packetOf(share, message, hops), done);
  }

  /** There is no member here: another edge has one. */
  private sendOn(name: string, message: Message, hops: number): void {
    const send = () => {
      const share = this.byName.get(name);
      if (share === undefined || !hasMembers(share)) {
        if (hops < HOPS_MAX && message.qos > 0) this.sendOn(name, message, hops + 1);
        else this.drop(nothing);
        return;
      }
      this.stats.shared_sent_on += 1;
      this.dispatch(share, message, hops, nothing);
    };
    if (message.qos === 0) return send();
    if (this.sendingOn.size >= SENDING_ON_MAX) return this.drop(nothing);
    const timer = this.options.clock.setTimer(hops * SEND_ON_MS, () => {
      this.sendingOn.delete(timer);
      send();
    });
    this.sendingOn.add(timer);
  }

  private deliverHere(name: string, message: Message): boolean {
    if (!this.options.deliver(name, message)) return false;
    this.stats.shared_here += 1;
    return true;
  }

  private drop(done: () => void): void {
    this.stats.shared_dropped += 1;
    done();
  }

  private send(share: Share, message: Message, hops: number, edge: Candidate, done: () => void): void {
    const stream = this.streamTo(edge);
    const packet = packetOf(share, message, hops);
    const to = [edge.endpoint];
    this.stats.shared_sent += 1;
    if (message.qos === 0) {
      if (!stream.send(packet, { to })) this.stats.shared_dropped += 1;
      return done();
    }
    const sent: Sent = { share, message, hops, to: edge, done };
    this.onTheirWay.add(sent);
    // Where it went to another member meanwhile, that one's arrival counts.
    stream.send(packet, { to, done: () => this.onTheirWay.delete(sent) && done() });
  }

  private streamTo(edge: Edge): StreamSender {
    const { number, epoch, endpoint } = edge;
    const key = `${number} ${epoch} ${endpoint.address}:${endpoint.port}`;
    const known = this.streamsTo.get(key);
    if (known !== undefined) return known.stream;
    const stream = this.options.streams.getOrAdd(this.nextStream++);
    stream.setEdges([edge]);
    this.streamsTo.set(key, { edge, stream });
    return stream;
  }

  // --- the forwarder ---

  private add(name: string): Share {
    const share: Share = {
      ...{ name, local: undefined, others: [], absent: [], isTold: false, turns: new Turns() },
    };
    this.byName.set(name, share);
    this.trie.add(topicFilterOf(name), share);
    return share;
  }

  private dropIfEmpty(share: Share): void {
    if (hasMembers(share)) return;
    if (this.byName.delete(share.name)) this.trie.remove(topicFilterOf(share.name), share);
  }

  private ask(name: string): Promise<void> {
    const joined = this.barrier();
    this.tell([{ share: name, connected: this.byName.get(name)!.local! }], this.lastNumber);
    return joined;
  }

  /** Resolves with the answer to the number that it takes, or when there is none for too long. */
  private barrier(): Promise<void> {
    this.lastNumber += 1;
    const number = this.lastNumber;
    return new Promise((resolve) => {
      const timer = this.options.clock.setTimer(BARRIER_MS, () => {
        this.stats.share_timeouts += 1;
        this.asked.delete(number);
        resolve();
      });
      this.asked.set(number, () => {
        timer.cancel();
        resolve();
      });
    });
  }

  private tellSoon(name: string): void {
    this.changed.add(name);
    this.timer ??= this.options.clock.setTimer(TELL_MS, () => {
      this.timer = undefined;
      const shares: ShareMembers[] = [];
      for (const changed of this.changed) {
        const local = this.byName.get(changed)?.local;
        if (local !== undefined) shares.push({ share: changed, connected: local });
      }
      this.changed.clear();
      if (shares.length > 0 && this.options.registration.registered) this.tell(shares);
    });
  }

  private tell(shares: readonly ShareMembers[], number = 0): void {
    void this.options.registration.send(encodeFabricJson(FabricTopic.MEMBERS, { number, shares }));
  }
}

/** Here or elsewhere. */
function hasMembers({ local, others, absent }: Share): boolean {
  return local !== undefined || others.length > 0 || absent.length > 0;
}

function packetOf({ name }: Share, message: Message, hops: number): Buffer {
  return encodePublish(withMark(message, Mark.SHARE, `${hops} ${name}`));
}

function nothing(): void {}
