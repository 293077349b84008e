import type { Duplex } from "node:stream";

/**
 * One client's connection as the MQTT sessions see it: a byte stream that tells where it comes from and nothing of
 * how it got here. `end()` closes in order (FIN after everything written), `destroy()` resets.
 */
export interface ByteStream extends Duplex {
  /** The client's address, for logs and limits, e.g. `192.168.1.102:50123` or `[fe80::1]:50123`. */
  readonly peer: string;
}

/** Where byte streams come from: the raw TCP stack or kernel sockets. One instance serves one port. */
export interface Transport {
  /**
   * Starts to accept. Rejects with a UserError (port in use, missing root, missing interface ...) that names the
   * thing and the remedy; nothing is left behind then.
   */
  listen(onStream: (stream: ByteStream) => void): Promise<void>;
  /** Stops accepting, resets what is still open, and undoes everything `listen` did (firewall rule, capture). */
  close(): Promise<void>;
  /** Counters since start, by snake_case name (frames, segments, drops by reason ...). */
  counters(): Readonly<Record<string, number>>;
}
