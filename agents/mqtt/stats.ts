import type { CloseReason } from "./codec/errors.js";

/** Counters since start, under the names that `Broker.stats` gives them. */
export class Stats {
  connections_total = 0;
  refused_connections = 0;
  refused_protocol_version = 0;
  refused_client_id = 0;
  refused_credentials = 0;
  refused_subscriptions = 0;
  packets_received = 0;
  bytes_received = 0;
  bytes_sent = 0;
  publish_received = 0;
  /** Messages from the fabric. */
  publish_delivered = 0;
  /** PUBLISH packets queued for clients. */
  publish_sent = 0;
  /** QoS 0 messages not queued because a client reads too slowly. */
  publish_dropped = 0;
  /** Repeated QoS 2 PUBLISHes, answered and not published again. */
  publish_repeated = 0;
  /** Messages to $SYS, which only the server publishes. */
  publish_denied = 0;
  wills_published = 0;
  /** Times that reading from a client was held. */
  reads_held = 0;
  closed_disconnect = 0;
  closed_peer_closed = 0;
  closed_stream_error = 0;
  closed_malformed = 0;
  closed_protocol_error = 0;
  closed_packet_too_large = 0;
  closed_too_many_levels = 0;
  closed_keep_alive = 0;
  closed_connect_timeout = 0;
  closed_taken_over = 0;
  closed_refused = 0;
  closed_shutdown = 0;
  closed_uplink_error = 0;
  closed_internal_error = 0;

  closed(reason: CloseReason): void {
    this[`closed_${reason}`] += 1;
  }
}
