import type { Network } from "@topicast/protocol";
import type { ValidateFunction } from "ajv";
import type { ContentSettings } from "./content/settings.js";

/** Where a listener has the firewall: nowhere, only watching, or acting. */
export const MODES = ["off", "detect", "block"] as const;
export type Mode = (typeof MODES)[number];

/** What follows when a rule is broken, from the mildest on; README.md, "What the answers do". */
export const ANSWERS = ["log", "drop", "disconnect", "quarantine"] as const;
export type Answer = (typeof ANSWERS)[number];

/** Something that can be broken. */
export interface Rule {
  /** Unique among the rules; in events and counters. */
  readonly id: string;
  readonly answer: Answer;
}

export const RATED = ["connections", "messages", "bytes", "subscriptions"] as const;
export const RATED_BY = ["address", "client", "user", "topic"] as const;

/** So many at once after a rest, and so many a second. */
export interface Limit {
  readonly perSecond: number;
  readonly burst: number;
}

/** How much one address, client, user or topic may take. */
export interface RateRule extends Rule, Limit {
  readonly of: (typeof RATED)[number];
  readonly per: (typeof RATED_BY)[number];
  /** Messages and bytes: counts those on topics that one of these filters matches; undefined: all. */
  readonly topics: readonly string[] | undefined;
}

/** Which topics may be published on or subscribed to. */
export interface TopicRule extends Rule {
  readonly publish: boolean;
  readonly subscribe: boolean;
  /** Filters, perhaps with %u and %c: nothing else may be; undefined: anything may. */
  readonly allow: readonly string[] | undefined;
  /** Filters likewise: none of it may be. */
  readonly deny: readonly string[];
}

export const PAYLOAD_TYPES = ["json", "text", "number", "any"] as const;

/** What messages on some topics have to look like. */
export interface PayloadRule extends Rule {
  readonly topics: readonly string[];
  readonly maxBytes: number | undefined;
  readonly type: (typeof PAYLOAD_TYPES)[number];
  /** Checks what the JSON says; `type` is json then. */
  readonly schema: ValidateFunction | undefined;
  /** Whether an empty message may be, which takes a retained one away. */
  readonly allowsEmpty: boolean;
}

/** Wrong passwords of one address, or for one user. */
export interface GuessingRule extends Rule, Limit {
  /** How long nobody gets further, in milliseconds. */
  readonly lockMs: number;
}

/** Connections that end because their client broke the protocol, of one address. */
export interface ProtocolRule extends Rule, Limit {}

/** Somebody connects with the identifier of a client that is connected: another user, or from another address. */
export interface TakeOverRule extends Rule {
  readonly by: "user" | "address";
}

/** What is done with an engine's verdicts. */
export interface ContentRule extends Rule {
  /** Where the engine has no verdict: busy, crashed, too slow. */
  readonly failed: "pass" | "refuse";
  /** Filters of the topics whose messages are looked at. */
  readonly topics: readonly string[];
  /** The engine's own. */
  readonly engine: Partial<ContentSettings>;
  /** Built in, not asked for: where the engine is not installed it is done without. */
  readonly isOptional: boolean;
}

export interface Rules {
  readonly rates: readonly RateRule[];
  readonly topics: readonly TopicRule[];
  /** A SUBSCRIBE to all there is: a filter without a level of its own. */
  readonly subscribeAll: Rule | undefined;
  readonly payloads: readonly PayloadRule[];
  readonly guessing: { readonly address: GuessingRule | undefined; readonly user: GuessingRule | undefined };
  readonly protocol: ProtocolRule | undefined;
  readonly takeOver: TakeOverRule | undefined;
  readonly content: ContentRule | undefined;
  readonly quarantineMs: number;
  /** Never refused because of who they are. */
  readonly safe: readonly Network[];
  /** A message that is dropped before MQTT 5. */
  readonly mqtt3: "acknowledge" | "disconnect";
  readonly events: Limit;
}
