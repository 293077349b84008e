import type { ByteStream } from "../transport/transport.js";
import type { Admission, ClientIdentity } from "./authority.js";
import type { Connect } from "./codec/connect.js";
import type { PublishPacket, Subscribe, Unsubscribe } from "./codec/decode.js";
import type { CloseReason } from "./codec/errors.js";

/**
 * A packet is not acted on. `drop`: its answer says so (before MQTT 5, where an answer cannot, it looks like success);
 * `disconnect`: the connection ends. A CONNECT is refused either way.
 */
export interface Refusal {
  readonly action: "drop" | "disconnect";
  /**
   * Reason code (MQTT 5, section 2.4), one that the answer may hold: PUBACK and PUBREC, SUBACK, UNSUBACK or CONNACK, with
   * `disconnect` DISCONNECT.
   */
  readonly code: number;
  /** SUBSCRIBE only: the code of each of its filters, 0 where it is let pass. Without it `code` is every filter's. */
  readonly filters?: readonly number[];
}

/** Undefined: the packet goes on its way. */
export type Verdict = Refusal | undefined;

/** Who is connected under a client identifier that somebody else connects with. */
export interface Holder {
  readonly username: string | undefined;
  /** The client's address, e.g. `192.168.1.102:50123`. */
  readonly peer: string;
}

/**
 * Judges one connection's packets before they are acted on. While a promise is open nothing more is read from this client;
 * others go on. Promises never reject. Buffers stay as they are, also after the verdict.
 */
export interface Guard {
  /** Before the password is checked. @param clientId the client's own identifier, or the one assigned to it */
  connect(packet: Connect, clientId: string): Verdict | Promise<Verdict>;
  /** Asks for an authentication method, in CONNECT or AUTH: none is served, and the connection ends. @param detail in words */
  auth(detail: string, clientId?: string): void;
  /** The client is not let in, by its user name and password. */
  rejected(reason: (Admission & { admitted: false })["reason"]): void;
  /** The client is who it says. @param holder who loses the connection to it, undefined: nobody at this agent */
  admitted(client: ClientIdentity, holder: Holder | undefined): Verdict;
  /** Not asked about a QoS 2 message that was here before. @param topic by its alias, too */
  publish(topic: string, packet: PublishPacket): Verdict | Promise<Verdict>;
  subscribe(packet: Subscribe): Verdict | Promise<Verdict>;
  unsubscribe(packet: Unsubscribe): Verdict | Promise<Verdict>;
  /** The connection ends; the last call. @param detail what the client did, where the protocol forbids it */
  closed(reason: CloseReason, detail: string | undefined): void;
}

/** Stands between what clients send and what is done with it: the place of a firewall. Nothing here throws. */
export interface Screen {
  /**
   * A new connection, before its first byte is read. Undefined: it is not screened; `refused`: it is closed at once.
   * @param end ends the connection later, with this reason code; does nothing where it has ended
   */
  open(
    stream: Pick<ByteStream, "peer" | "listener">,
    end: (code: number) => void,
  ): Guard | "refused" | undefined;
}
