import { type Clock, formatIPv4, parseIPv4, type Timer } from "@topicast/protocol";
import type { Carriage, Dataplane } from "../dataplane/dataplane.js";
import type { AgentClaim } from "./agents.js";
import type { RoutedTopic } from "./topics.js";

/**
 * What is on its way when the last publisher has left a group needs the rules, and so do the heartbeats behind it, 400 ms long:
 * they alone tell that the last message was lost.
 */
const LINGER_MS = 500;

export interface GroupOptions {
  readonly clock: Clock;
  readonly dataplane: Dataplane;
  /** Nobody uses the group any more. */
  readonly onRetired: (group: Group) => void;
  /** The range's first address (u32) and how many there are. */
  readonly range: { readonly base: number; readonly size: number };
  /** The UDP port that group datagrams are sent to; a member that listens elsewhere is reached by unicast only. */
  readonly port: number;
}

/** One distinct edge set in use and its multicast address. */
export interface Group {
  readonly address: string;
  /** As they last registered. */
  members: readonly AgentClaim[];
  readonly topics: Set<RoutedTopic>;
  carriage: Carriage;
  /** Resolves with the carriage when the rules are there, or are known not to be. */
  ready: Promise<Carriage>;
}

interface Entry extends Group {
  readonly key: string;
  users: number;
  /** Runs while there are none. */
  linger: Timer | undefined;
}

/** Edge sets ↔ multicast addresses. */
export class GroupTable {
  private readonly byKey = new Map<string, Entry>();
  private readonly byAddress = new Map<string, Entry>();
  /** Addresses that the switches held before, by the members' IPv4 addresses: the same set gets the same one again. */
  private readonly adopted = new Map<string, string>();
  /** Those addresses: only the same set may get them. */
  private readonly inSwitches = new Set<string>();
  /** Addresses that publishers still use from before: only who hints at one may get it. */
  private readonly inUse = new Set<string>();
  private readonly retiring = new Set<string>();
  private readonly freed: string[] = [];
  private nextIndex = 1;

  readonly stats = { exhausted: 0 };

  constructor(private readonly options: GroupOptions) {}

  get size(): number {
    return this.byKey.size;
  }

  /** Takes over what the switches hold from an earlier run: address → members' IPv4 addresses. */
  adopt(found: ReadonlyMap<string, readonly string[]>): void {
    for (const [address, members] of found) {
      if (!this.inRange(address)) continue;
      this.adopted.set([...members].sort().join(), address);
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
    this.inSwitches.clear();
    this.inUse.clear();
  }

  /**
   * The group of this edge set, made where there is none; counts one user more. Undefined where every address of the
   * range is taken. `hint` is the address that a publisher already uses.
   */
  acquire(members: readonly AgentClaim[], hint: string | undefined): Group | undefined {
    // An edge that has come back at another address is another member: its rules and copies differ.
    const key = members.map((m) => `${m.id} ${m.address}:${m.port} ${m.mac}`).join("\n");
    const known = this.byKey.get(key);
    if (known !== undefined) {
      known.members = members;
      known.users += 1;
      known.linger?.cancel();
      return known;
    }
    const address = this.allocate(members, hint);
    if (address === undefined) {
      this.stats.exhausted += 1;
      return undefined;
    }
    const group: Entry = {
      key,
      address,
      members,
      topics: new Set(),
      carriage: "unicast",
      ready: Promise.resolve("unicast"),
      users: 1,
      linger: undefined,
    };
    this.byKey.set(key, group);
    this.byAddress.set(address, group);
    this.realise(group);
    return group;
  }

  release(group: Group): void {
    const entry = group as Entry;
    entry.users -= 1;
    if (entry.users === 0) entry.linger = this.options.clock.setTimer(LINGER_MS, () => this.retire(entry));
  }

  /** The data plane carries the group otherwise than before; returns it where it is in use. */
  onCarriage(address: string, carriage: Carriage): Group | undefined {
    const group = this.byAddress.get(address);
    if (group === undefined || group.carriage === carriage) return undefined;
    group.carriage = carriage;
    return group;
  }

  private realise(group: Entry): void {
    // A datagram to the one edge itself takes the same links, and no rules.
    if (group.members.length === 1) return;
    if (group.members.some((m) => m.port !== this.options.port)) return;
    group.ready = this.options.dataplane
      .want({ address: group.address, members: group.members.map((m) => m.id) })
      .then((carriage) => {
        group.carriage = carriage;
        return carriage;
      });
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
