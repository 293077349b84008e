/**
 * Edge sets → groups, where switches hold only so many. Pure: sets and their weights come in, which group carries which
 * set goes out, the same for the same order of events.
 */
import type { Resource } from "../dataplane/dataplane.js";
import {
  type Carrier,
  firstOf,
  type Group,
  GroupBooks,
  isMore,
  type NeedsOf,
  setKey,
  union,
  type Wanted,
  type WantedSet,
  type WasteBounds,
  wasteIn,
} from "./group-books.js";

export interface AllocatorOptions {
  readonly needs: NeedsOf;
  readonly waste: WasteBounds;
  /** A set is carried by another group than before, or by none. Not called within `update` for the set updated. */
  readonly onMoved: (set: WantedSet) => void;
}

/** Sets enter a shared group up to this share of the bounds, so that a topic more or less moves nothing. */
const ENTER = 0.8;
/** Shared groups are taken apart again where this share of the limits is free. */
const AMPLE = 1 / 8;
/** Groups that are looked at to find one near to a set, and to find one that is worth less than a set. */
const NEAR_MAX = 256;
const LIGHT_MAX = 16;
/** Of the near ones so many are tried. */
const PLANS_MAX = 8;
/** A set may take a group's place when it is worth so many times as much. */
const WORTH = 2;
/** Topics that may be moved to make one group of two. */
const MOVED_MAX = 256;
/** Sets without a group that are tried again when one group has gone, and shared ones that may be taken apart. */
const RETRIES = 8;
const SPLITS = 2;

export class Allocator {
  private readonly sets = new Map<string, Wanted>();
  private readonly books: GroupBooks;
  /** Sets without a group, the one tried longest ago first. */
  private readonly waiting = new Set<Wanted>();
  /** Sets are coming home. */
  private recovering = false;
  /** The set that `update` is about, and the edge that `removeEdge` is. */
  private updated: Wanted | undefined;
  private leaving: string | undefined;

  readonly stats = { merges: 0, splits: 0, evictions: 0 };

  constructor(private readonly options: AllocatorOptions) {
    this.books = new GroupBooks(options.needs, options.waste, (set) => {
      if (set !== this.updated) options.onMoved(set);
    });
  }

  /** Numbers of now: sets, the groups that carry them, those that waste copies, sets without a group. */
  get sizes() {
    const { sets, books, waiting } = this;
    const { groups, shared } = books;
    return { sets: sets.size, groups: groups.size, shared: shared.size, waiting: waiting.size };
  }

  /** Copies of one message of each topic that go to edges which want it, and to others. */
  get copies(): { readonly useful: number; readonly extra: number } {
    const { useful, extra } = this.books;
    return { useful, extra };
  }

  carriers(): IterableIterator<Carrier> {
    return this.books.groups.values();
  }

  /** How many of it groups take. */
  usedOf(resource: Resource): number {
    return this.books.countOf(resource);
  }

  /** Of the group with these members: sets, topics, and the share of copies that it wastes. */
  loadOf(members: readonly string[]): { sets: number; topics: number; waste: number } | undefined {
    const group = this.books.groups.get(setKey(members));
    if (group === undefined) return undefined;
    const { sets, weight, useful, extra } = group;
    return { sets: sets.size, topics: weight, waste: useful === 0 ? 0 : extra / useful };
  }

  get(members: readonly string[]): WantedSet | undefined {
    return this.sets.get(setKey(members));
  }

  /**
   * So many topics want this set from now on (0: none), published by these agents (not changed afterwards). `home`: the
   * members of the group that carries it in the switches since before this run; bounds of waste then wait for `recovered`.
   */
  update(
    members: readonly string[],
    weight: number,
    publishers: ReadonlySet<string>,
    home?: readonly string[],
  ): WantedSet {
    if (home !== undefined) this.recovering = true;
    const key = setKey(members);
    const set = this.sets.get(key) ?? { key, members, weight: 0, publishers, carrier: undefined };
    this.updated = set;
    if (weight > 0) this.sets.set(key, set);
    const group = set.carrier;
    const before = set.weight;
    this.books.weigh(set, weight);
    const morePublishers = group !== undefined && isMore(publishers, group.publishers);
    set.publishers = publishers;
    if (weight === 0) this.forget(set);
    else if (group === undefined) {
      // One that has become much heavier may now be worth the place of another.
      if (before === 0 || Math.clz32(weight) !== Math.clz32(before)) this.place(set, home);
    } else if (morePublishers) {
      if (this.reaches(group, set)) this.books.extend(group, publishers);
      else this.place(this.books.leave(set), undefined);
    }
    this.settle();
    this.updated = undefined;
    return set;
  }

  /** This edge is no more: groups that have it although their sets do not want it are left. */
  removeEdge(id: string): void {
    this.leaving = id;
    for (const group of [...(this.books.byMember.get(id) ?? [])]) {
      for (const set of [...group.sets])
        if (!set.members.includes(id)) this.place(this.books.leave(set), undefined);
    }
    this.settle();
    this.leaving = undefined;
  }

  /** All sets have come home. */
  recovered(): void {
    this.recovering = false;
    this.settle();
  }

  /** What groups need is different, or limits are. Groups stay where they still find room. */
  refresh(): void {
    const { books } = this;
    books.takeNothing();
    for (const group of [...this.books.groups.values()]) {
      const needs = this.books.needsOf(group.members, group.publishers);
      if (needs !== undefined && books.fits(needs)) books.take(group, needs);
      else for (const set of [...group.sets]) this.waiting.add(this.books.leave(set));
    }
    for (const set of [...this.waiting]) this.place(set, undefined);
    this.settle();
  }

  // --- sets find groups ---

  private place(set: Wanted, home: readonly string[] | undefined): void {
    this.waiting.delete(set);
    if (!this.enter(set, home) && !this.displace(set)) this.waiting.add(set);
  }

  private enter(set: Wanted, home: readonly string[] | undefined): boolean {
    const group = (home && this.atHome(set, home)) ?? this.own(set);
    return group === undefined ? this.share(set) : this.books.join(group, set);
  }

  /** However much it wastes there: nothing is to be moved before all sets have come home. */
  private atHome(set: Wanted, home: readonly string[]): Group | undefined {
    const has = new Set(home);
    if (!set.members.every((id) => has.has(id))) return undefined;
    const group = this.books.groups.get(setKey(home));
    if (group === undefined) return this.books.openWhereRoom(home, set.publishers);
    return this.reaches(group, set) ? group : undefined;
  }

  private own(set: Wanted): Group | undefined {
    const group = this.books.groups.get(set.key);
    if (group === undefined) return this.books.openWhereRoom(set.members, set.publishers);
    return this.reaches(group, set) ? group : undefined;
  }

  /** Puts the set on the group that wastes least by it, as it is or with the set's members added. */
  private share(set: Wanted): boolean {
    let plans = PLANS_MAX;
    for (const { group, more, cost } of this.near(set).sort((a, b) => a.cost - b.cost)) {
      if (!this.mayWaste(set, cost) || plans-- <= 0) return false;
      if (more === 0 ? !this.reaches(group, set) : !this.mayMerge(group, set)) continue;
      this.stats.merges += 1;
      return this.books.join(more === 0 ? group : this.widen(group, set), set);
    }
    return false;
  }

  /** Groups that nearly have the set's members, with the copies that sharing would waste. */
  private near(set: Wanted): { group: Group; more: number; cost: number }[] {
    const lists = set.members.map((id) => this.books.byMember.get(id) ?? new Set<Group>());
    // What has all members but one is in one of any two lists.
    const [first, second] = lists.sort((a, b) => a.size - b.size);
    const found: { group: Group; more: number; cost: number }[] = [];
    const seen = new Set<Group>();
    const most = this.options.waste.group * ENTER;
    for (const list of [first!, second!]) {
      for (const group of list) {
        if (seen.size >= NEAR_MAX) return found;
        if (seen.has(group) || this.isDoomed(group, set)) continue;
        seen.add(group);
        let common = 0;
        for (const id of set.members) if (group.has.has(id)) common += 1;
        const more = set.members.length - common;
        const cost = more * group.weight + (group.members.length - common) * set.weight;
        const useful = group.useful + set.weight * set.members.length;
        if (group.extra + cost <= most * useful) found.push({ group, more, cost });
      }
    }
    return found;
  }

  /** Has an edge that is no more, and that the set does not want. */
  private isDoomed(group: Group, set: Wanted): boolean {
    const { leaving } = this;
    return leaving !== undefined && group.has.has(leaving) && !set.members.includes(leaving);
  }

  /** The set's publishers reach the group, or there is room for that. */
  private reaches(group: Group, set: Wanted): boolean {
    if (!isMore(set.publishers, group.publishers)) return true;
    const needs = this.books.needsOf(group.members, union(group.publishers, set.publishers));
    return needs !== undefined && this.books.fits(needs, group.needs);
  }

  private mayMerge(group: Group, set: Wanted): boolean {
    if (group.weight > MOVED_MAX) return false;
    const members = merged(group.members, set.members);
    if (this.books.groups.has(setKey(members))) return false;
    const needs = this.books.needsOf(members, union(group.publishers, set.publishers));
    return needs !== undefined && this.books.fits(needs, group.needs);
  }

  private mayWaste(set: Wanted, cost: number): boolean {
    const { useful, extra } = this.books;
    const after = useful + set.weight * set.members.length;
    return extra + cost <= ENTER * this.options.waste.total * after;
  }

  /** The group with the set's members added: another one, to which its sets move. */
  private widen(group: Group, set: Wanted): Group {
    const publishers = union(group.publishers, set.publishers);
    const sets = [...group.sets];
    for (const moving of sets) this.books.leave(moving);
    const members = merged(group.members, set.members);
    const wide = this.books.open(members, publishers);
    for (const moving of sets) this.books.join(wide, moving);
    return wide;
  }

  /** Takes the place of a group that is worth much less. */
  private displace(set: Wanted): boolean {
    const needs = this.books.needsOf(set.members, set.publishers);
    const tight = needs && this.books.tight(needs);
    if (needs === undefined || tight === undefined) return false;
    let lightest: Group | undefined;
    let looked = 0;
    const worth = worthOf(set);
    for (const group of this.books.usersOf(tight)) {
      if (looked++ >= LIGHT_MAX) break;
      if (WORTH * worthOfGroup(group) > worth || !this.books.fits(needs, group.needs)) continue;
      if (lightest === undefined || worthOfGroup(group) < worthOfGroup(lightest)) lightest = group;
    }
    if (lightest === undefined) {
      this.books.rotate(tight, LIGHT_MAX);
      return false;
    }
    this.stats.evictions += 1;
    const losers = [...lightest.sets];
    for (const loser of losers) this.books.leave(loser);
    this.books.join(this.books.open(set.members, set.publishers), set);
    for (const loser of losers) if (!this.share(loser)) this.waiting.add(loser);
    return true;
  }

  // --- keeping the bounds ---

  /** A change is complete: what it has brought beyond the bounds of waste is taken apart. */
  private settle(): void {
    if (this.recovering) return;
    const { books } = this;
    const { waste } = this.options;
    while (books.over.size > 0 || books.extra > waste.total * books.useful) {
      for (const group of books.over) {
        while (books.isOver(group)) this.eject(group);
        books.over.delete(group);
      }
      if (books.extra <= waste.total * books.useful) continue;
      let worst: Group | undefined;
      for (const other of books.shared) if (worst === undefined || other.extra > worst.extra) worst = other;
      if (worst === undefined) return;
      // What stays there may now waste more than its share: it is over then, too.
      this.eject(worst);
    }
  }

  /** The set that wastes most in a group leaves it. */
  private eject(group: Group): void {
    let worst: Wanted | undefined;
    for (const set of group.sets)
      if (worst === undefined || wasteIn(group, set) > wasteIn(group, worst)) worst = set;
    if (worst === undefined) return;
    this.stats.splits += 1;
    this.place(this.books.leave(worst), undefined);
  }

  private forget(set: Wanted): void {
    this.sets.delete(set.key);
    this.waiting.delete(set);
    if (set.carrier === undefined) return;
    const groups = this.books.groups.size;
    this.books.leave(set);
    if (this.books.groups.size < groups) this.fill();
  }

  /** Room has come: for sets that have no group, then for those that share one. */
  private fill(): void {
    for (const set of [...firstOf(this.waiting, RETRIES)]) {
      this.waiting.delete(set);
      if (!this.enter(set, undefined)) this.waiting.add(set);
    }
    if (this.waiting.size > 0) return;
    for (const group of [...firstOf(this.books.shared, SPLITS)]) {
      // Looked at: others are first the next time.
      this.books.shared.delete(group);
      this.books.shared.add(group);
      const set = [...group.sets].find((s) => wasteIn(group, s) > 0);
      const needs = set && this.books.needsOf(set.members, set.publishers);
      if (needs?.every((r) => this.usedOf(r) + 1 <= r.limit * (1 - AMPLE)) !== true) continue;
      this.stats.splits += 1;
      this.books.leave(set!);
      this.books.join(
        this.books.groups.get(set!.key) ?? this.books.open(set!.members, set!.publishers),
        set!,
      );
    }
  }
}

/** Copies that a publisher is spared by a group. */
function worthOf({ weight, members }: WantedSet): number {
  return weight * (members.length - 1);
}

function worthOfGroup(group: Group): number {
  let worth = 0;
  for (const set of group.sets) worth += worthOf(set);
  return worth;
}

/** Both, sorted, without repetition. */
function merged(a: readonly string[], b: readonly string[]): string[] {
  return [...new Set([...a, ...b])].sort();
}
