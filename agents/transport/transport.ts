import type { Duplex } from "node:stream";

/**
 * One client's connection as the MQTT sessions see it: a byte stream that tells where it comes from and nothing of
 * how it got here.
 *
 * - Back-pressure holds both ways: who stops reading shuts the client's window, `write` returns false while the client
 *   takes nothing, `drain` follows.
 * - `end` (the event) is the client's FIN. The stream is half-open then: it can be written to until `end()` is called,
 *   and must be ended or destroyed.
 * - `end()` closes in order: FIN after everything written. `destroy()` gives up at once: what was written and has not
 *   left yet is lost, and the raw transport resets.
 * - `close` always comes, once. An `error` (ECONNRESET, ETIMEDOUT ...) comes before it, and need not be listened to.
 * - What is written in one turn of the event loop leaves together on the raw transport; on a kernel socket each `write`
 *   is a packet unless the stream is corked.
 */
export interface ByteStream extends Duplex {
  /** The client's address, for logs and limits, e.g. `192.168.1.102:50123` or `[fe80::1]:50123`. */
  readonly peer: string;
  /** Who the client has proven to be below MQTT (its certificate's common name): its user name, without a password. */
  readonly identity?: string | undefined;
  /** Name of the agent's port that it came by; set by `Listeners`, or by a transport whose streams come by several. */
  listener?: string | undefined;
}

/** Takes over streams as they become ready. */
export type Accept = (stream: ByteStream) => void;

/** What stands between a transport and the sessions: PROXY header, TLS, WebSocket. One serves any number of ports. */
export interface Layer {
  /**
   * Takes `stream` over, from its first byte. Once the handshake is through, `accept` gets what has become of it;
   * where it fails, the stream is closed and counted, and `accept` is not called.
   */
  wrap(stream: ByteStream, accept: Accept): void;
  /** Counters since start, and gauges, by snake_case name that begins with the layer's. */
  counters(): Readonly<Record<string, number>>;
}

/** Where byte streams come from: the raw TCP stack or kernel sockets. One instance serves one port, once. */
export interface Transport {
  /**
   * Starts to accept. Rejects with a UserError (port in use, missing root, missing interface ...) that names the
   * thing and the remedy; nothing is left behind then.
   */
  listen(onStream: Accept): Promise<void>;
  /**
   * Stops accepting, ends what is still open, and undoes everything `listen` did (firewall rule, capture). Streams that
   * were ended before get half a second to hand over what they still hold. Idempotent.
   */
  close(): Promise<void>;
  /** Counters since start, and gauges, by snake_case name (frames, segments, drops by reason ...). */
  counters(): Readonly<Record<string, number>>;
}
