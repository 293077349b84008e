import type { TcpCounters } from "./counters.js";
import type { Parts, State } from "./parts.js";
import { seqAdd, seqAfter, seqBefore } from "./wire/sequence.js";
import { ACK, FIN, RST, type Segment, SYN, segmentLength } from "./wire/tcp.js";

/**
 * What becomes of a segment that came for a connection (RFC 9293 section 3.10.7):
 *
 * - `accept`: its acknowledgement, payload and FIN count;
 * - `syn`, `syn-ack`: the peer's SYN in SYN-SENT, without or with the acknowledgement of ours;
 * - `crossed`: the peer's SYN again, now with the acknowledgement of ours (simultaneous open);
 * - `repeat-syn`: the peer has not seen our SYN;
 * - `answer`: not acceptable, but the peer is to hear where we stand; `answer-fin`: so is its FIN in TIME-WAIT;
 * - `challenge`: as `answer`, but seldom (RFC 5961);
 * - `refuse`: it acknowledges what was never ours: RST with that number;
 * - `reset`: the peer has ended the connection; `restart`: it begins anew while we were in SYN-RECEIVED;
 * - `drop`: nothing.
 */
export type Verdict =
  | "accept"
  | "syn"
  | "syn-ack"
  | "crossed"
  | "repeat-syn"
  | "answer"
  | "answer-fin"
  | "challenge"
  | "refuse"
  | "reset"
  | "restart"
  | "drop";

/**
 * Checks a segment that came in `state`, any but CLOSED. Changes nothing but counters, of which exactly one tells what
 * became of it.
 */
export function judge(parts: Parts, state: State, passive: boolean, segment: Segment, now: number): Verdict {
  const { counters } = parts.shared;
  if (state === "SYN-SENT") return judgeInSynSent(parts, segment);
  const { flags } = segment;
  if ((flags & RST) === 0) {
    const fault = parts.timestamps.check(segment, now);
    if (fault !== undefined)
      return drop(counters, fault, fault === "drop_paws" ? judgeUnacceptable(segment) : "drop");
  }
  // The peer's own SYN again is never within the window, whatever data it carries.
  if (isRepeatedSyn(parts, state, segment)) {
    const crossed = (flags & ACK) !== 0 && segment.ack === parts.sender.nxt;
    return take(counters, crossed ? "crossed" : "repeat-syn");
  }
  if (!parts.receiver.isAcceptable(segment.seq, segmentLength(segment)))
    return judgeOutOfWindow(counters, state, segment);
  if ((flags & RST) !== 0) {
    // TIME-WAIT outlasts a RST, or an old duplicate's answer would end it early (RFC 1337 section 3, fix F1).
    if (state === "TIME-WAIT") return drop(counters, "drop_reset");
    // RFC 5961 section 3: only the exact number resets, others in the window may be forged.
    if (segment.seq === parts.receiver.nxt) return take(counters, "reset");
    return drop(counters, "drop_reset", "challenge");
  }
  if ((flags & SYN) !== 0) {
    // In SYN-RECEIVED a new SYN with another number: back to LISTEN; the peer's next SYN begins anew.
    if (state === "SYN-RECEIVED" && passive) return take(counters, "restart");
    return drop(counters, "drop_syn", "challenge");
  }
  if ((flags & ACK) === 0) return drop(counters, "drop_no_ack");
  if (state === "SYN-RECEIVED") {
    if (segment.ack === parts.sender.nxt) return take(counters, "accept");
    return drop(counters, "drop_bad_ack", "refuse");
  }
  if (isAckAcceptable(parts, segment.ack)) return take(counters, "accept");
  return drop(counters, "drop_bad_ack", "challenge");
}

function take(counters: TcpCounters, verdict: Verdict): Verdict {
  counters.segments_taken += 1;
  return verdict;
}

function drop(counters: TcpCounters, reason: keyof TcpCounters, verdict: Verdict = "drop"): Verdict {
  counters[reason] += 1;
  return verdict;
}

/** RFC 9293 section 3.10.7.3. */
function judgeInSynSent(parts: Parts, segment: Segment): Verdict {
  const { counters } = parts.shared;
  const { flags } = segment;
  const acknowledged = (flags & ACK) !== 0;
  if (acknowledged && segment.ack !== parts.sender.nxt)
    return drop(counters, "drop_bad_ack", (flags & RST) !== 0 ? "drop" : "refuse");
  if ((flags & RST) !== 0) return acknowledged ? take(counters, "reset") : drop(counters, "drop_no_ack");
  if ((flags & SYN) === 0) return drop(counters, "drop_no_syn");
  return take(counters, acknowledged ? "syn-ack" : "syn");
}

function isRepeatedSyn({ handshake }: Parts, state: State, { flags, seq }: Segment): boolean {
  return state === "SYN-RECEIVED" && (flags & (SYN | RST)) === SYN && seq === handshake?.irs;
}

function judgeOutOfWindow(counters: TcpCounters, state: State, segment: Segment): Verdict {
  const { flags } = segment;
  if ((flags & RST) !== 0) return drop(counters, "drop_out_of_window");
  if (state === "TIME-WAIT" && (flags & FIN) !== 0) return drop(counters, "drop_out_of_window", "answer-fin");
  return drop(counters, "drop_out_of_window", judgeUnacceptable(segment));
}

/** Empty segments are answered seldom, or two ends that disagree would acknowledge each other for ever. */
function judgeUnacceptable(segment: Segment): Verdict {
  return segmentLength(segment) > 0 ? "answer" : "challenge";
}

/** RFC 5961 section 5.2. */
function isAckAcceptable({ sender }: Parts, ack: number): boolean {
  return !seqAfter(ack, sender.nxt) && !seqBefore(ack, seqAdd(sender.una, -sender.maxWindow));
}
