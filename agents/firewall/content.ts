/** What one MQTT packet says, as content inspection sees it. One request a packet; a PUBLISH has one topic. */
export interface ContentRequest {
  readonly kind: "connect" | "publish" | "subscribe" | "unsubscribe";
  /** Topics of a PUBLISH (one) or of a CONNECT's will (one or none), or the filters of a SUBSCRIBE or UNSUBSCRIBE. */
  readonly topics: readonly string[];
  readonly clientId: string;
  readonly username: string | undefined;
  /** The client's address, without its port. */
  readonly peer: string;
  /**
   * The application message of a PUBLISH or of a CONNECT's will, otherwise empty. A view of what the connection has read,
   * which stays as it is: an engine that keeps it past its verdict copies it.
   */
  readonly payload: Buffer;
  /** MQTT 5's Content Type, where the sender gave one. */
  readonly contentType: string | undefined;
  /** What else receivers are given of the sender's words: User Properties, and the Response Topic by that name. */
  readonly properties: readonly (readonly [name: string, value: string])[];
}

/** One rule that matched. All of it may hold what an attacker wrote: the firewall cuts and escapes it for its log. */
export interface ContentRule {
  readonly id: number;
  readonly message: string;
  /** The part of the request that matched. */
  readonly matched: string;
  /** As the rule says it: `CRITICAL`, `WARNING` … */
  readonly severity: string;
}

/** `failed`: no verdict. The policy for that (let pass or refuse) is the firewall's, not the engine's. */
export type ContentVerdict =
  | {
      readonly clean: true;
      /** Rules that matched without refusing it: they only log, or their score is below the threshold. */
      readonly noted?: readonly ContentRule[];
    }
  | { readonly clean: false; readonly rules: readonly ContentRule[]; readonly score: number }
  | { readonly failed: "busy" | "crashed" | "timeout" | "oversize" };

/** Counters since the start, and gauges of this moment. */
export interface ContentStats {
  /** Requests: each ends in exactly one of the next seven. */
  readonly requests: number;
  /** Answered from remembered verdicts. */
  readonly remembered: number;
  readonly clean: number;
  readonly matched: number;
  readonly busy: number;
  readonly crashed: number;
  readonly timeout: number;
  readonly oversize: number;
  /** Times a worker has been started again. */
  readonly restarts: number;
  /** Requests that wait for a worker or are with one. */
  readonly waiting: number;
}

/**
 * Judges content. Bounded: what it cannot take is `busy` or `oversize` at once. Never throws and never rejects but from `reload`: what
 * goes wrong inside it is a `failed` verdict.
 */
export interface ContentEngine {
  /** The verdict itself where it is known without the engine, which saves the packet a turn of the event loop. */
  inspect(request: ContentRequest): ContentVerdict | Promise<ContentVerdict>;
  /** Reads its rule files again. Rejects with a UserError that names file and line; then the old rules stay. */
  reload(): Promise<void>;
  /** Ends its workers. Requests that are open end as `crashed`. */
  close(): Promise<void>;
  readonly stats: ContentStats;
}
