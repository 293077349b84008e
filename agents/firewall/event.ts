import { isUtf8 } from "node:buffer";
import type { SwitchPlace } from "@topicast/protocol";
import type { Kind, PacketName } from "./codes.js";
import type { Answer, Mode } from "./rules.js";

/** A rule was broken. What clients wrote is in it as they wrote it: `eventLine` cuts and escapes. */
export interface FirewallEvent {
  readonly rule: string;
  readonly kind: Kind;
  readonly answer: Answer;
  /** In mode `detect` the answer is what would have been done. */
  readonly mode: Mode;
  readonly packet: PacketName;
  readonly listener: string | undefined;
  /** `192.168.1.102:50123` */
  readonly peer: string;
  readonly client: string | undefined;
  readonly user: string | undefined;
  /** Topic or filter. */
  readonly topic: string | undefined;
  /** What is wrong, in words. */
  readonly detail: string;
  /** What a content rule matched, and its number. */
  readonly matched?: string | undefined;
  readonly contentRule?: number | undefined;
}

/** Characters of what a client wrote that an event shows. */
const SHOWN = 128;

/**
 * An event as one line of printable ASCII: JSON, every other character escaped, so that a log shows what a client wrote and
 * does nothing that it says.
 * @param time ISO 8601
 * @param suppressed events that were not written since the last one that was
 * @param at the switch port that the client is behind, where that is known
 */
export function eventLine(
  event: FirewallEvent,
  agent: string,
  time: string,
  suppressed: number,
  at?: SwitchPlace,
): string {
  const { rule, kind, answer, mode, packet, listener, peer, client, user, topic, detail } = event;
  const fields = {
    ...{ time, agent, listener, peer },
    ...(at === undefined ? {} : { switch: at.dpid, port: at.port }),
    packet,
    ...(mode === "detect" ? { would: answer } : { answer }),
    ...{ rule, kind, client, user, topic, detail },
    ...{ contentRule: event.contentRule, matched: event.matched },
    ...(suppressed === 0 ? {} : { suppressed }),
  };
  const json = JSON.stringify(fields, (_key, value: unknown) =>
    typeof value === "string" ? cut(value) : value,
  );
  return json.replaceAll(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The start of a payload for `matched`: text, or its bytes in hexadecimal. */
export function excerpt(payload: Buffer): string {
  const start = payload.subarray(0, 4 * SHOWN);
  // A character that is cut in two at the end is no reason to call it binary.
  const cutMax = start.length < payload.length ? 3 : 0;
  for (let cut = 0; cut <= cutMax; cut++) {
    const whole = start.subarray(0, start.length - cut);
    if (isUtf8(whole)) return whole.toString();
  }
  return `0x${payload.subarray(0, SHOWN / 2).toString("hex")}`;
}

function cut(text: string): string {
  return text.length <= SHOWN ? text : `${text.slice(0, SHOWN)}... (${text.length} characters)`;
}
