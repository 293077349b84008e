import type { IPublishPacket } from "mqtt-packet";
import { z } from "zod";
import { parseSource } from "../sources.js";
import { fabricJson } from "./packets.js";

/** Sources that one message names at most. */
export const QUARANTINE_BATCH = 256;
/** A week, in seconds. */
export const QUARANTINE_SECONDS_MAX = 604_800;

/** A source that is shut out, and for how much longer. */
export interface ShutOut {
  /** As `sourceOf` says it. */
  readonly source: string;
  /** The rule that was broken, or what somebody says of it. */
  readonly rule: string;
  readonly seconds: number;
}

/** `$fabric/quarantine` from an agent: whom it has shut out. */
export interface QuarantineReport {
  /** It says what it knows, after a registration; otherwise what has just happened. */
  readonly again: boolean;
  readonly shut: readonly ShutOut[];
}

/** `$fabric/quarantine` from the forwarder: who is shut out everywhere from now on, and who is not any more. */
export interface QuarantineUpdate {
  readonly shut: readonly ShutOut[];
  readonly free: readonly string[];
}

/** What follows from wrong passwords, as the agent that saw them has it: so many at once, and so many a second. */
export interface GuessLimit {
  readonly rule: string;
  readonly burst: number;
  readonly perSecond: number;
  /** How long the quarantine, or the user's lock, lasts. */
  readonly seconds: number;
}

/** Whose wrong passwords: those from a source, or for a user (`shortName`). */
export type Guessed = { readonly source: string } | { readonly user: string };

/** `$fabric/lock`: a user's password was guessed at too often at all edges together. */
export interface UserLock {
  /** As `shortName` says it. */
  readonly user: string;
  readonly rule: string;
  readonly seconds: number;
}

/** `$fabric/guesses`: wrong passwords that an agent has seen since its last one. */
export interface GuessReport extends GuessLimit {
  readonly failures: readonly (Guessed & { readonly count: number })[];
}

const source = z.string().transform((text, context) => {
  const one = parseSource(text);
  if (one === text) return one;
  context.addIssue("not a source");
  return z.NEVER;
});
const shut = z
  .array(
    z.object({
      source,
      rule: z.string().max(256),
      seconds: z.number().positive().max(QUARANTINE_SECONDS_MAX),
    }),
  )
  .max(QUARANTINE_BATCH);
const positive = z.number().positive().max(1e9);
const seconds = z.number().positive().max(QUARANTINE_SECONDS_MAX);
const user = z.string().min(1).max(256);
const count = z.int().min(1).max(1_000_000);
const lock = z.object({ user, rule: z.string().max(256), seconds });
const guesses = z.object({
  ...{ rule: z.string().max(256), burst: positive, perSecond: positive },
  seconds,
  failures: z.array(z.union([z.object({ source, count }), z.object({ user, count })])).max(QUARANTINE_BATCH),
});
const report = z.object({ again: z.boolean(), shut });
const update = z.object({ shut, free: z.array(source).max(QUARANTINE_BATCH) });

/** Undefined where it is malformed. */
export function readQuarantineReport(packet: IPublishPacket): QuarantineReport | undefined {
  return report.safeParse(fabricJson(packet)).data;
}

/** Undefined where it is malformed. */
export function readQuarantineUpdate(packet: IPublishPacket): QuarantineUpdate | undefined {
  return update.safeParse(fabricJson(packet)).data;
}

/** Undefined where it is malformed. */
export function readGuesses(packet: IPublishPacket): GuessReport | undefined {
  return guesses.safeParse(fabricJson(packet)).data;
}

/** Undefined where it is malformed. */
export function readUserLock(packet: IPublishPacket): UserLock | undefined {
  return lock.safeParse(fabricJson(packet)).data;
}

/** The same in as many parts as the bound asks for. */
export function* batchesOf<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += QUARANTINE_BATCH) yield all.slice(at, at + QUARANTINE_BATCH);
}
