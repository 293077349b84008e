import { seqDiff } from "./wire/sequence.js";

/**
 * How long a peer has kept data waiting behind a small or shut window. It answers every probe, so it is alive, and RFC 9293
 * (section 3.8.6.1) would wait for ever; RFC 6429 allows to end such a connection, for that is also how an attacker
 * keeps others' memory full (CVE-2008-4609). A peer that takes a segment's worth in time is only slow.
 */
export class Persist {
  private from: number;
  private since: number;

  constructor(una: number, now: number) {
    this.from = una;
    this.since = now;
  }

  /** The peer has acknowledged what lies before `una`: it is only slow where these are `enough` bytes. */
  advanced(una: number, enough: number, now: number): void {
    if (seqDiff(una, this.from) < enough) return;
    this.from = una;
    this.since = now;
  }

  /** Milliseconds since the peer last took so many. */
  waited(now: number): number {
    return now - this.since;
  }
}
