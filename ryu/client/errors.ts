/**
 * What went wrong with a call to Ryu.
 *
 * | kind             | meaning                                                                                   |
 * | ---------------- | ----------------------------------------------------------------------------------------- |
 * | `unreachable`    | no TCP connection, or it broke before the answer was complete                              |
 * | `timeout`        | no complete answer within the call's time-out                                              |
 * | `aborted`        | the caller's AbortSignal fired, or the client was closed                                   |
 * | `overloaded`     | more calls are waiting than `maxPending` allows; nothing was sent                          |
 * | `bad-request`    | the arguments cannot be expressed (nothing was sent), or Ryu answered 400                  |
 * | `unknown-switch` | 404: this datapath is not connected to Ryu (for port changes also: no such port)           |
 * | `no-such-path`   | 404 from the router: the application that serves this path is not loaded                   |
 * | `unsupported`    | 501: not in the switch's OpenFlow version                                                  |
 * | `no-answer`      | Ryu gave up waiting for the switch: its statistics are unknown, *not* empty                |
 * | `server`         | any other status, usually 500 with a Python exception                                      |
 * | `bad-answer`     | the answer is not what this path answers: not JSON, or a field is missing or of wrong type |
 */
export type RyuErrorKind =
  | "unreachable"
  | "timeout"
  | "aborted"
  | "overloaded"
  | "bad-request"
  | "unknown-switch"
  | "no-such-path"
  | "unsupported"
  | "no-answer"
  | "refused"
  | "server"
  | "bad-answer";

export interface RyuErrorDetails {
  /** Base URL of the Ryu that was asked. */
  readonly url: string;
  /** Method and path, e.g. `POST /stats/groupentry/add`. */
  readonly call: string;
  /** The switch that the call was about, if it was about one. */
  readonly dpid?: bigint | undefined;
  /** HTTP status, if there was an answer. */
  readonly status?: number | undefined;
  /** What the server, the network or the check said. */
  readonly detail: string;
  readonly cause?: unknown;
}

/** Every failure of a call, with a message that names Ryu, the switch, the call and what was said. */
export class RyuError extends Error {
  override readonly name = "RyuError";
  readonly url: string;
  readonly call: string;
  readonly dpid: bigint | undefined;
  readonly status: number | undefined;
  readonly detail: string;

  constructor(
    readonly kind: RyuErrorKind,
    details: RyuErrorDetails,
  ) {
    const about = details.dpid === undefined ? "" : `switch ${formatDpid(details.dpid)}: `;
    super(
      `Ryu at ${details.url}: ${about}${details.call}: ${details.detail}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.url = details.url;
    this.call = details.call;
    this.dpid = details.dpid;
    this.status = details.status;
    this.detail = details.detail;
  }
}

/** A value that cannot be sent or was not understood. The client wraps it in a RyuError that names the call. */
export class FormatError extends Error {
  override readonly name = "FormatError";
}

/** The 16 hexadecimal digits in which rest_topology and most tools write a datapath id. */
export function formatDpid(dpid: bigint): string {
  return dpid.toString(16).padStart(16, "0");
}

/**
 * Reads a datapath id as people write it: 16 hexadecimal digits, `0x…`, or decimal digits.
 * Throws FormatError for anything else and for values beyond 64 bits.
 */
export function parseDpid(text: string): bigint {
  const hex = /^[0-9a-f]{16}$/i.test(text);
  if (!hex && !/^(0x[0-9a-f]{1,16}|[0-9]{1,20})$/i.test(text)) {
    throw new FormatError(
      `"${text}" is no datapath id; write 16 hexadecimal digits, 0x… or a decimal number`,
    );
  }
  const dpid = BigInt(hex ? `0x${text}` : text);
  if (dpid >> 64n !== 0n) throw new FormatError(`datapath id ${text} is beyond 64 bits`);
  return dpid;
}
