import { type Clock, formatIPv4, parseIPv4, type Timer } from "@topicast/protocol";
import type { Carriage, Dataplane } from "../dataplane/dataplane.js";
import type { AgentClaim } from "./agents.js";
import type { Allocator } from "./allocation.js";
import { type EdgeSet, EdgeSets } from "./edge-sets.js";
import type { NeedsOf, WasteBounds } from "./group-books.js";
import type { RoutedTopic } from "./topics.js";

/**
 * What is on its way when the last publisher has left a group needs the rules, and so do the heartbeats behind it, 400 ms long:
 * they alone tell that the last message was lost.
 */
const LINGER_MS = 500;
/** A publisher that has left a group may come back: for so long its rules stay. */
const PUBLISHER_LINGER_MS = 30_000;

export interface GroupOptions {
  readonly clock: Clock;
  readonly dataplane: Dataplane;
  /** The agent of that id, as it last registered; undefined where it is not. */
  readonly claimOf: (id: string) => AgentClaim | undefined;
  /** Likewise the one at that IPv4 address. */
  readonly claimAt: (address: string) => AgentClaim | undefined;
  /** What may be wasted to do with fewer groups; `defaultWaste` where absent. */
  readonly waste?: WasteBounds | undefined;
  /** The topic has to be acquired a group anew: the one of its edges is another than before. */
  readonly onMoved: (topic: RoutedTopic) => void;
  /** Nobody uses the group any more. */
  readonly onRetired: (group: Group) => void;
  /** The range's first address (u32) and how many there are. */
  readonly range: { readonly base: number; readonly size: number };
  /** The UDP port that group datagrams are sent to; a member that listens elsewhere is reached by unicast only. */
  readonly port: number;
}

/** A single group may waste so many times what all may on average. */
const GROUP_WASTE = 2.5;

/** @param percent of the copies that somebody wants, over all groups */
export function wasteOf(percent: number): WasteBounds {
  return { total: percent / 100, group: (percent / 100) * GROUP_WASTE };
}

export const defaultWaste: WasteBounds = wasteOf(10);

/** The edges that share a stream: those of one edge set, or of several where switches have no room; and its multicast address. */
export interface Group {
  readonly address: string;
  /** As they last registered. */
  members: readonly AgentClaim[];
  readonly topics: Set<RoutedTopic>;
  carriage: Carriage;
}

/** A group that is used for the edges that a topic wants. */
export interface Use {
  readonly group: Group;
  /** Undefined: one edge, or one that no group reaches. */
  readonly set: EdgeSet | undefined;
}

interface Entry extends Group {
  readonly key: string;
  /** It has a place in the switches. */
  readonly isCarried: boolean;
  users: number;
  /** Runs while there are none. */
  linger: Timer | undefined;
  /** By agent id: how many users it publishes for, and where none is left, until when its rules stay. */
  readonly publishers: Map<string, { users: number; until: number }>;
  /** The publishers that the last wish was for, and those of the last one that has been answered. */
  wished: ReadonlySet<string>;
  answered: ReadonlySet<string>;
  /** Resolves when the last wish has been answered; `isBegun`: it has been made. */
  ready: Promise<void>;
  isBegun: boolean;
  /** The timer that looks for publishers whose time is over is running. */
  isSweeping: boolean;
}

/** Edge sets ↔ multicast addresses. */
export class GroupTable {
  private readonly byKey = new Map<string, Entry>();
  private readonly byAddress = new Map<string, Entry>();
  /** Addresses that the switches held before, by the members' IPv4 addresses: the same set gets the same one again. */
  private readonly adopted = new Map<string, string>();
  /** The same by address. */
  private readonly adoptedMembers = new Map<string, readonly string[]>();
  /** Those addresses: only the same set may get them. */
  private readonly inSwitches = new Set<string>();
  /** Addresses that publishers still use from before: only who hints at one may get it. */
  private readonly inUse = new Set<string>();
  private readonly retiring = new Set<string>();
  private readonly freed: string[] = [];
  private nextIndex = 1;

  private readonly sets: EdgeSets;

  readonly stats = { exhausted: 0 };

  constructor(private readonly options: GroupOptions) {
    const { dataplane, waste = defaultWaste, onMoved } = options;
    const needs: NeedsOf = (members, publishers) => dataplane.needs(members, publishers);
    this.sets = new EdgeSets({ needs, waste, onMoved });
  }

  get allocator(): Allocator {
    return this.sets.allocator;
  }

  get size(): number {
    return this.byKey.size;
  }

  /** Takes over what the switches hold from an earlier run: address → members' IPv4 addresses. */
  adopt(found: ReadonlyMap<string, readonly string[]>): void {
    for (const [address, members] of found) {
      if (!this.inRange(address)) continue;
      this.adopted.set([...members].sort().join(), address);
      this.adoptedMembers.set(address, members);
      this.inSwitches.add(address);
    }
  }

  /** A publisher goes on sending to this address until it has another route. */
  reserve(address: string): void {
    this.inUse.add(address);
  }

  /** Every publisher has its route: what was reserved and not taken is free. */
  endReservations(): void {
    this.adopted.clear();
    this.adoptedMembers.clear();
    this.allocator.recovered();
    this.inSwitches.clear();
    this.inUse.clear();
  }

  get(address: string): Group | undefined {
    return this.byAddress.get(address);
  }

  /** An edge is no more: groups that have it, and need not, go over to others. */
  onGone(id: string): void {
    this.allocator.removeEdge(id);
  }

  /** An edge has come back, maybe at another address: groups that have it for nothing go over, too. */
  onReplaced(id: string): void {
    if (this.allocator.sizes.shared === 0) return;
    for (const { members, topics } of this.byKey.values()) {
      if (members.some((m) => m.id === id)) for (const topic of topics) this.options.onMoved(topic);
    }
  }

  /**
   * The group for these edges, made where there is none; counts one user more, and its `publishers` (agent ids).
   * Undefined where every address of the range is taken. `hint` is the address that a publisher already uses.
   */
  acquire(
    topic: RoutedTopic,
    wanted: readonly AgentClaim[],
    publishers: readonly string[],
    hint: string | undefined,
  ): Use | undefined {
    const { set, members, isCarried } = this.carrierOf(topic, wanted, publishers, hint);
    const entry = this.entryOf(members, isCarried, publishers, hint);
    if (entry !== undefined) return { group: entry, set };
    if (set !== undefined) this.sets.leave(topic, set);
    return undefined;
  }

  /** Who gets what is sent to these edges, and whether that is by a group in the switches. */
  private carrierOf(
    topic: RoutedTopic,
    wanted: readonly AgentClaim[],
    publishers: readonly string[],
    hint: string | undefined,
  ): { set: EdgeSet | undefined; members: readonly AgentClaim[]; isCarried: boolean } {
    // A datagram to the one edge itself takes the same links, and no rules.
    if (wanted.length === 1 || wanted.some((m) => m.port !== this.options.port)) {
      return { set: undefined, members: wanted, isCarried: false };
    }
    const ids = wanted.map((m) => m.id);
    const { set, carrier } = this.sets.enter(topic, ids, publishers, this.homeOf(ids, hint));
    const members = carrier === undefined ? undefined : this.claimsOf(carrier);
    return { set, members: members ?? wanted, isCarried: members !== undefined };
  }

  /** The members of the group that the switches hold at that address, where these are among them and all are here. */
  private homeOf(ids: readonly string[], hint: string | undefined): readonly string[] | undefined {
    const addresses = hint === undefined ? undefined : this.adoptedMembers.get(hint);
    if (addresses === undefined || addresses.length <= ids.length) return undefined;
    const home = addresses.map((address) => this.options.claimAt(address)?.id);
    if (!home.every((id) => id !== undefined) || !ids.every((id) => home.includes(id))) return undefined;
    return home.sort();
  }

  private claimsOf(ids: readonly string[]): AgentClaim[] | undefined {
    const claims = ids.map((id) => this.options.claimOf(id));
    return claims.every((claim) => claim !== undefined) ? claims : undefined;
  }

  private entryOf(
    members: readonly AgentClaim[],
    isCarried: boolean,
    publishers: readonly string[],
    hint: string | undefined,
  ): Entry | undefined {
    // An edge that has come back at another address is another member: its rules and copies differ.
    const edges = members.map((m) => `${m.id} ${m.address}:${m.port} ${m.mac}`);
    const key = [isCarried ? "carried" : "unicast", ...edges].join("\n");
    let entry = this.byKey.get(key);
    if (entry === undefined) {
      const address = this.allocate(members, hint);
      if (address === undefined) {
        this.stats.exhausted += 1;
        return undefined;
      }
      entry = newEntry(key, address, members, isCarried);
      this.byKey.set(key, entry);
      this.byAddress.set(address, entry);
    }
    entry.members = members;
    entry.users += 1;
    entry.linger?.cancel();
    for (const id of publishers) {
      const publisher = entry.publishers.get(id);
      if (publisher === undefined) entry.publishers.set(id, { users: 1, until: 0 });
      else publisher.users += 1;
    }
    if (publishers.some((id) => !entry.wished.has(id))) this.wish(entry);
    return entry;
  }

  /** Resolves when the rules for these publishers are there, or are known not to be: `Group.carriage` tells. */
  async ready(group: Group, publishers: readonly string[]): Promise<void> {
    const entry = group as Entry;
    if (publishers.some((id) => !entry.answered.has(id))) await entry.ready;
  }

  /** Gives back what was acquired for the topic with these publishers; it has `next` now. */
  release(topic: RoutedTopic, use: Use, publishers: readonly string[], next: Use | undefined): void {
    const { clock } = this.options;
    if (use.set !== undefined && use.set !== next?.set) this.sets.leave(topic, use.set);
    const entry = use.group as Entry;
    entry.users -= 1;
    for (const id of publishers) {
      const publisher = entry.publishers.get(id)!;
      publisher.users -= 1;
      publisher.until = clock.now() + PUBLISHER_LINGER_MS;
      if (publisher.users === 0) this.sweepLater(entry);
    }
    if (entry.users === 0) entry.linger = clock.setTimer(LINGER_MS, () => this.retire(entry));
  }

  /** The data plane carries the group otherwise than before; returns it where it is in use. */
  onCarriage(address: string, carriage: Carriage): Group | undefined {
    const group = this.byAddress.get(address);
    if (group === undefined || group.carriage === carriage) return undefined;
    group.carriage = carriage;
    return group;
  }

  /** What the group at that address carries; undefined where it is in no switch. */
  loadOf(address: string): { sets: number; topics: number; waste: number } | undefined {
    const members = this.byAddress.get(address)?.members.map((m) => m.id);
    return members && this.allocator.loadOf(members);
  }

  /** Tells the data plane who publishes: one wish at a time, and whoever comes meanwhile is in the next. */
  private wish(entry: Entry): void {
    const { address } = entry;
    if (!entry.isCarried || !entry.isBegun) return;
    entry.isBegun = false;
    entry.ready = entry.ready.then(async () => {
      entry.isBegun = true;
      const publishers = [...entry.publishers.keys()].sort();
      entry.wished = new Set(publishers);
      entry.answered = new Set(publishers.filter((id) => entry.answered.has(id)));
      if (this.byAddress.get(address) !== entry) return;
      entry.carriage = await this.options.dataplane.want({
        ...{ address, publishers },
        members: entry.members.map((m) => m.id),
      });
      entry.answered = new Set(publishers);
    });
  }

  private sweepLater(entry: Entry): void {
    if (entry.isSweeping) return;
    entry.isSweeping = true;
    this.options.clock.setTimer(PUBLISHER_LINGER_MS, () => this.sweep(entry));
  }

  /** Forgets the publishers that have been away for long; their rules go with the next wish. */
  private sweep(entry: Entry): void {
    entry.isSweeping = false;
    if (this.byAddress.get(entry.address) !== entry) return;
    const now = this.options.clock.now();
    const before = entry.publishers.size;
    for (const [id, { users, until }] of entry.publishers) {
      if (users > 0) continue;
      if (until <= now) entry.publishers.delete(id);
      else this.sweepLater(entry);
    }
    if (entry.users > 0 && entry.publishers.size < before) this.wish(entry);
  }

  private retire(entry: Entry): void {
    this.byKey.delete(entry.key);
    this.byAddress.delete(entry.address);
    this.options.onRetired(entry);
    this.retiring.add(entry.address);
    void this.options.dataplane.drop(entry.address).then(() => this.free(entry.address));
  }

  /** An address may be used for another set only when no switch holds rules for it any more. */
  private free(address: string): void {
    if (this.options.dataplane.holds(address)) {
      this.options.clock.setTimer(1_000, () => this.free(address));
      return;
    }
    this.retiring.delete(address);
    this.freed.push(address);
  }

  private allocate(members: readonly AgentClaim[], hint: string | undefined): string | undefined {
    const memberKey = members
      .map((m) => m.address)
      .sort()
      .join();
    const adopted = this.adopted.get(memberKey);
    if (adopted !== undefined && this.isFree(adopted)) return adopted;
    // Where the switches hold the hinted address they hold it for another set: it must not change under its users.
    const taken = hint === undefined || this.inSwitches.has(hint) || !this.inRange(hint);
    if (!taken && this.isFree(hint)) return hint;
    // Fresh addresses first: one that was just given up may still be in some datagram or stale route.
    while (this.nextIndex < this.options.range.size) {
      const address = formatIPv4(this.options.range.base + this.nextIndex++);
      if (this.isFree(address) && !this.isReserved(address)) return address;
    }
    for (let left = this.freed.length; left > 0; left--) {
      const address = this.freed.shift()!;
      if (this.isFree(address) && !this.isReserved(address)) return address;
    }
    return undefined;
  }

  private isFree(address: string): boolean {
    return !this.byAddress.has(address) && !this.retiring.has(address);
  }

  private isReserved(address: string): boolean {
    return this.inSwitches.has(address) || this.inUse.has(address);
  }

  private inRange(address: string): boolean {
    const { base, size } = this.options.range;
    const offset = (parseIPv4(address) ?? 0) - base;
    return offset > 0 && offset < size;
  }
}

function newEntry(key: string, address: string, members: readonly AgentClaim[], isCarried: boolean): Entry {
  return {
    ...{
      key,
      isCarried,
      address,
      members,
      topics: new Set(),
      carriage: "unicast",
      users: 0,
      linger: undefined,
      publishers: new Map(),
    },
    ...{ wished: new Set(), answered: new Set(), ready: Promise.resolve(), isBegun: true, isSweeping: false },
  };
}
