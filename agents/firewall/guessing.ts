import { Buckets, shortName, TRACKED_MAX } from "@topicast/protocol";
import type { GuessingRule, Rules } from "./rules.js";

/** Ends of locks by name, as many as `TRACKED_MAX`: the oldest is forgotten for a new one. */
class Locks {
  private readonly ends = new Map<string, number>();

  constructor(private readonly onForgotten: () => void) {}

  holds(name: string, now: number): boolean {
    const end = this.ends.get(name);
    if (end === undefined) return false;
    if (end > now) return true;
    this.ends.delete(name);
    return false;
  }

  set(name: string, end: number): void {
    this.ends.delete(name);
    if (this.ends.size >= TRACKED_MAX) {
      for (const oldest of this.ends.keys()) {
        this.onForgotten();
        this.ends.delete(oldest);
        break;
      }
    }
    this.ends.set(name, end);
  }
}

/** Failures and locks of addresses, or of users. */
class Account {
  private readonly failures: Buckets;
  private readonly locks: Locks;

  constructor(
    readonly rule: GuessingRule,
    onForgotten: () => void,
  ) {
    this.failures = new Buckets(rule, onForgotten);
    this.locks = new Locks(onForgotten);
  }

  isLocked(name: string, now: number): boolean {
    return this.locks.holds(shortName(name), now);
  }

  lock(short: string, end: number): void {
    this.locks.set(short, end);
  }

  /** One more wrong password; true: it is one too many, and the name is locked. */
  failed(name: string, now: number): boolean {
    if (this.failures.of(name, now).take(1, now)) return false;
    this.failures.forget(name);
    this.locks.set(shortName(name), now + this.rule.lockMs);
    return true;
  }
}

/**
 * Wrong passwords: of one address, whatever the user, and for one user, wherever from. Whoever guesses at a user's password
 * must not lock the user out, so that a user's lock does not hold where the user has logged in from.
 */
export class Guessing {
  private readonly address: Account | undefined;
  private readonly user: Account | undefined;
  /** Source and user that have logged in; in the order of the last time. */
  private readonly known = new Set<string>();

  constructor(
    rules: Rules["guessing"],
    private readonly onForgotten: () => void,
  ) {
    this.address = rules.address && new Account(rules.address, onForgotten);
    this.user = rules.user && new Account(rules.user, onForgotten);
  }

  /** The rule that keeps this user from logging in from this source now. */
  locked(source: string, username: string | undefined, now: number): GuessingRule | undefined {
    if (this.address?.isLocked(source, now)) return this.address.rule;
    if (username === undefined || !this.user?.isLocked(username, now)) return undefined;
    return this.known.has(keyOf(source, username)) ? undefined : this.user.rule;
  }

  /** A login failed; the rules that are broken by that. */
  failed(source: string, username: string | undefined, now: number): GuessingRule[] {
    const broken: GuessingRule[] = [];
    if (this.address?.failed(source, now)) broken.push(this.address.rule);
    if (username !== undefined && this.user?.failed(username, now)) broken.push(this.user.rule);
    return broken;
  }

  /** Locks a user (`shortName`) until then, where users are locked at all. */
  lockUser(user: string, end: number): void {
    this.user?.lock(user, end);
  }

  succeeded(source: string, username: string | undefined): void {
    if (username === undefined || this.user === undefined) return;
    const key = keyOf(source, username);
    this.known.delete(key);
    if (this.known.size >= TRACKED_MAX) {
      for (const oldest of this.known) {
        this.onForgotten();
        this.known.delete(oldest);
        break;
      }
    }
    this.known.add(key);
  }
}

function keyOf(source: string, username: string): string {
  return shortName(`${source} ${username}`);
}
