import type { CloseReason } from "./codec/errors.js";

/** Counters since start, under the names that `Broker.stats` gives them. */
export class Stats {
  connections_total = 0;
  refused_connections = 0;
  refused_protocol_version = 0;
  refused_client_id = 0;
  refused_credentials = 0;
  /** Clients that could not be let in because too many asked at once. */
  refused_busy = 0;
  refused_authentication_method = 0;
  refused_will = 0;
  /** Clients before MQTT 5 that asked for a keep-alive longer than may be. */
  refused_keep_alive = 0;
  refused_sessions = 0;
  refused_malformed = 0;
  refused_subscriptions = 0;
  /** Connections and CONNECTs that the screen refused. */
  refused_screened = 0;
  packets_received = 0;
  packets_sent = 0;
  bytes_received = 0;
  bytes_sent = 0;
  publish_received = 0;
  publish_received_bytes = 0;
  /** Messages from the fabric. */
  publish_delivered = 0;
  /** Of these, the ones that no subscription here matches: the edge is in a group for another topic's sake. */
  publish_unwanted = 0;
  /** Messages that came when this agent was back, and were given to sessions of before. */
  publish_late = 0;
  /** QoS 2 messages of other edges that came again. */
  publish_had = 0;
  /** PUBLISH packets queued for clients, their payloads' bytes, and those of them with QoS 1 and 2. */
  publish_sent = 0;
  publish_sent_bytes = 0;
  publish_sent_qos1 = 0;
  publish_sent_qos2 = 0;
  /** PUBLISH packets sent again on a new connection. */
  publish_resent = 0;
  /** QoS 0 messages not queued because a client reads too slowly. */
  publish_dropped = 0;
  /** Messages larger than the client takes. */
  publish_too_large = 0;
  /** Repeated QoS 2 PUBLISHes, answered and not published again. */
  publish_repeated = 0;
  /** Messages that their client may not publish; those to $SYS among them, which only the server publishes. */
  publish_denied = 0;
  /** Messages that the screen refused. */
  publish_screened = 0;
  /** Messages that a matching subscriber may not receive. */
  receive_denied = 0;
  /** Messages said to be text whose payload is not UTF-8. */
  publish_not_text = 0;
  /** Messages of shared subscriptions that were given to another member, because the session of the first one ended. */
  shared_passed_on = 0;
  /** QoS 1 and 2 messages not queued because too much waits for their client. */
  queue_dropped = 0;
  /** Queued messages whose time was over before they could be sent. */
  queue_expired = 0;
  /** Retained messages not kept because there are too many. */
  retained_refused = 0;
  retained_expired = 0;
  /** Live copies that were not delivered, because their client has just had the message as the retained one. */
  retained_before_live = 0;
  /** Topics cleared while a message of theirs was on its way, that are not remembered for it any more. */
  retained_cleared_forgotten = 0;
  /** Entries of the store that could not be understood. */
  retained_damaged = 0;
  /** Retained messages not sent to a new subscription because too many wait for its client. */
  retained_dropped = 0;
  sessions_resumed = 0;
  sessions_expired = 0;
  /** Messages that came with sessions from other edges, and those that a session without future did not get. */
  handover_messages = 0;
  handover_dropped = 0;
  /** Sessions from other edges that could not be understood, or were too many. */
  handover_refused = 0;
  /** Sessions brought back from the store, and entries there that could not be understood. */
  sessions_restored = 0;
  sessions_damaged = 0;
  wills_published = 0;
  /** Times that reading from a client was held. */
  reads_held = 0;
  closed_disconnect = 0;
  closed_peer_closed = 0;
  closed_stream_error = 0;
  closed_malformed = 0;
  closed_protocol_error = 0;
  closed_packet_too_large = 0;
  closed_topic_alias = 0;
  closed_receive_maximum = 0;
  closed_not_supported = 0;
  closed_keep_alive = 0;
  closed_connect_timeout = 0;
  closed_unanswered = 0;
  closed_taken_over = 0;
  closed_refused = 0;
  closed_revoked = 0;
  closed_screened = 0;
  closed_shutdown = 0;
  closed_uplink_error = 0;
  closed_internal_error = 0;

  closed(reason: CloseReason): void {
    this[`closed_${reason}`] += 1;
  }
}
