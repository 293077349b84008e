/** The books of `Allocator`: groups, the sets on them, what they take and what they waste. */

import type { Resource } from "../dataplane/dataplane.js";

/**
 * What a group with these members and publishers (ids, sorted; publishers in no order) takes one of each, repeated where it
 * takes more; undefined where no room would make it possible. Resources are compared by identity.
 */
export type NeedsOf = (
  members: readonly string[],
  publishers: ReadonlySet<string>,
) => readonly Resource[] | undefined;

/** Copies that nobody wants, as a share of those that somebody wants. */
export interface WasteBounds {
  /** Over all groups. */
  readonly total: number;
  /** Of each group. */
  readonly group: number;
}

/** The edges of one or more topics. */
export interface WantedSet {
  readonly key: string;
  /** Ids, sorted, two or more. */
  readonly members: readonly string[];
  /** How many topics. */
  readonly weight: number;
  readonly publishers: ReadonlySet<string>;
  /** Undefined: no group has room for it, copies go by unicast. */
  readonly carrier: Carrier | undefined;
}

/** A group: its members are those of the sets that it carries, or more. */
export interface Carrier {
  readonly key: string;
  /** Ids, sorted. */
  readonly members: readonly string[];
  readonly sets: ReadonlySet<WantedSet>;
  readonly publishers: ReadonlySet<string>;
}

export interface Wanted extends WantedSet {
  weight: number;
  publishers: ReadonlySet<string>;
  carrier: Group | undefined;
}

export interface Group extends Carrier {
  readonly has: ReadonlySet<string>;
  readonly sets: Set<Wanted>;
  publishers: Set<string>;
  needs: readonly Resource[];
  /** How many topics. */
  weight: number;
  /** Copies that somebody wants, and those that nobody does, of one message of each topic. */
  useful: number;
  extra: number;
}

/** Of each limit this share stays free for groups that are on their way from one place to another. */
const RESERVE = 1 / 32;

export function setKey(members: readonly string[]): string {
  return members.join("\n");
}

export class GroupBooks {
  readonly groups = new Map<string, Group>();
  readonly byMember = new Map<string, Set<Group>>();
  private readonly used = new Map<Resource, { count: number; readonly groups: Set<Group> }>();
  /** Groups that waste something. */
  readonly shared = new Set<Group>();
  private asked:
    | { members: readonly string[]; publishers: ReadonlySet<string>; needs: readonly Resource[] | undefined }
    | undefined;
  /** Of those, the ones that waste more than they may, or for one set alone. */
  readonly over = new Set<Group>();
  /** Of all sets that have a group: copies of one message of each topic, for those who want it and for others. */
  useful = 0;
  extra = 0;

  constructor(
    private readonly askNeeds: NeedsOf,
    private readonly waste: WasteBounds,
    private readonly onMoved: (set: Wanted) => void,
  ) {}

  /** What a group would take; asked once for the same members and publishers in a row. */
  needsOf(members: readonly string[], publishers: ReadonlySet<string>): readonly Resource[] | undefined {
    const { asked } = this;
    if (asked?.members === members && asked.publishers === publishers) return asked.needs;
    const needs = this.askNeeds(members, publishers);
    this.asked = { members, publishers, needs };
    return needs;
  }

  /** How many of it are taken. */
  countOf(resource: Resource): number {
    return this.used.get(resource)?.count ?? 0;
  }

  /** The groups that take this. */
  usersOf(resource: Resource): ReadonlySet<Group> {
    return this.used.get(resource)?.groups ?? nobody;
  }

  /** Others come first the next time that `usersOf` is asked. */
  rotate(resource: Resource, count: number): void {
    const groups = this.used.get(resource)?.groups;
    for (const group of [...firstOf(groups ?? nobody, count)]) {
      groups!.delete(group);
      groups!.add(group);
    }
  }

  /** A new group, where there is room; undefined where there is none. */
  openWhereRoom(members: readonly string[], publishers: ReadonlySet<string>): Group | undefined {
    const needs = this.needsOf(members, publishers);
    return needs !== undefined && this.fits(needs) ? this.open(members, publishers) : undefined;
  }

  /** A new group, whether there is room or not. */
  open(members: readonly string[], publishers: ReadonlySet<string>): Group {
    const group: Group = {
      key: setKey(members),
      members,
      has: new Set(members),
      sets: new Set(),
      publishers: new Set(publishers),
      needs: [],
      weight: 0,
      useful: 0,
      extra: 0,
    };
    this.groups.set(group.key, group);
    for (const id of members) add(this.byMember, id, group);
    this.take(group, this.needsOf(members, publishers) ?? []);
    return group;
  }

  join(group: Group, set: Wanted): true {
    group.sets.add(set);
    set.carrier = group;
    this.count(group, set, set.weight);
    if (isMore(set.publishers, group.publishers)) this.extend(group, set.publishers);
    this.onMoved(set);
    return true;
  }

  /** The set has no group any more; one without sets is no more. */
  leave(set: Wanted): Wanted {
    const group = set.carrier;
    if (group === undefined) return set;
    group.sets.delete(set);
    this.count(group, set, -set.weight);
    set.carrier = undefined;
    this.onMoved(set);
    if (group.sets.size > 0) return set;
    this.groups.delete(group.key);
    this.shared.delete(group);
    for (const id of group.members) this.byMember.get(id)?.delete(group);
    this.giveBack(group);
    return set;
  }

  /** Wastes more than it may, or wastes for one set alone, which could have a group of its own. */
  isOver({ sets, useful, extra }: Group): boolean {
    return extra > this.waste.group * useful || (extra > 0 && sets.size === 1);
  }

  /** These publish to the group, too. */
  extend(group: Group, publishers: ReadonlySet<string>): void {
    group.publishers = new Set(publishers);
    for (const set of group.sets) for (const id of set.publishers) group.publishers.add(id);
    this.giveBack(group);
    this.take(group, this.needsOf(group.members, group.publishers) ?? []);
  }

  /** Everything that groups take is to be counted anew. */
  takeNothing(): void {
    this.used.clear();
    this.asked = undefined;
    for (const group of this.groups.values()) group.needs = [];
  }

  weigh(set: Wanted, weight: number): void {
    if (set.carrier !== undefined) this.count(set.carrier, set, weight - set.weight);
    set.weight = weight;
  }

  private count(group: Group, set: Wanted, weight: number): void {
    const useful = weight * set.members.length;
    const extra = weight * (group.members.length - set.members.length);
    group.weight += weight;
    group.useful += useful;
    group.extra += extra;
    this.useful += useful;
    this.extra += extra;
    if (group.extra > 0) this.shared.add(group);
    else this.shared.delete(group);
    if (this.isOver(group)) this.over.add(group);
  }

  take(group: Group, needs: readonly Resource[]): void {
    group.needs = needs;
    for (const resource of needs) {
      let use = this.used.get(resource);
      if (use === undefined) {
        use = { count: 0, groups: new Set() };
        this.used.set(resource, use);
      }
      use.count += 1;
      use.groups.add(group);
    }
  }

  private giveBack(group: Group): void {
    for (const resource of group.needs) {
      const use = this.used.get(resource);
      if (use === undefined) continue;
      use.count -= 1;
      use.groups.delete(group);
    }
    group.needs = [];
  }

  /** There is room for this, where a group that takes `insteadOf` goes. */
  fits(needs: readonly Resource[], insteadOf: readonly Resource[] = []): boolean {
    return this.tight(needs, insteadOf) === undefined;
  }

  /** The first resource that there is not enough of. */
  tight(needs: readonly Resource[], insteadOf: readonly Resource[] = []): Resource | undefined {
    const after = new Map<Resource, number>();
    for (const resource of insteadOf)
      after.set(resource, (after.get(resource) ?? this.countOf(resource)) - 1);
    for (const resource of needs) {
      const count = (after.get(resource) ?? this.countOf(resource)) + 1;
      after.set(resource, count);
      const { limit } = resource;
      if (count > limit - Math.floor(limit * RESERVE)) return resource;
    }
    return undefined;
  }
}

const nobody: ReadonlySet<Group> = new Set();

function add<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, new Set([value]));
  else values.add(value);
}

export function wasteIn(group: Group, set: Wanted): number {
  return (group.members.length - set.members.length) * set.weight;
}

/** True where `a` has something that `b` has not. */
export function isMore(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  if (a === b) return false;
  for (const id of a) if (!b.has(id)) return true;
  return false;
}

export function union(a: ReadonlySet<string>, b: ReadonlySet<string>): Set<string> {
  return new Set([...a, ...b]);
}

export function* firstOf<T>(values: Iterable<T>, count: number): Generator<T> {
  let left = count;
  for (const value of values) {
    if (left-- <= 0) return;
    yield value;
  }
}
