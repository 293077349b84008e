import { blockOf, type CoapMessage, Option, optionsJson, textsOf, uintOf } from "../decode/coap.js";
import { Recent } from "../recent.js";
import type { Row, RowSink } from "../tables/schema.js";
import type { Moment } from "../tcp/direction.js";
import { HeldRows } from "./held.js";
import type { Names } from "./names.js";

/** RFC 7252 section 4.8.2: for so long a message id means the same message. */
const EXCHANGE_LIFETIME_US = 247_000_000;
const MAX_EXCHANGES = 65_536;
/** Copies of a request that are told of its response; MAX_RETRANSMIT is 4 (RFC 7252, section 4.8). */
const MAX_COPIES = 16;
const MULTICAST = /^(22[4-9]|23\d)\.|^ff/;

interface Hosts {
  readonly src: string;
  readonly src_port: number;
  readonly dst: string;
  readonly dst_port: number;
}

/** A message, and those that are the same sent again. */
interface Sent {
  readonly first: Row<"coap">;
  readonly copies: Row<"coap">[];
}

/** Finds the responses of requests by token, acknowledgements by message id, and what was sent again. */
export class CoapTracker {
  private readonly held: HeldRows<"coap">;
  /** By endpoints and token: the last request. */
  private readonly requests = new Recent<string, Sent>(MAX_EXCHANGES);
  /** By endpoints, type and message id: the last message. */
  private readonly messages = new Recent<string, Sent>(MAX_EXCHANGES);
  private count = 0;

  constructor(
    sink: RowSink,
    private readonly names: Names,
  ) {
    this.held = new HeldRows("coap", sink);
  }

  onMessage(message: CoapMessage, hosts: Hosts, length: number, at: Moment): void {
    const payload = message.payload === undefined ? undefined : Buffer.from(message.payload);
    const row: Row<"coap"> = {
      no: ++this.count,
      frame: at.frame,
      time: at.timeUs,
      transport: "udp",
      ...hosts,
      type: message.type,
      code: message.code,
      is_request: message.isRequest,
      is_response: message.isResponse,
      message_id: message.messageId,
      token: message.token,
      length,
      payload,
      payload_length: payload?.length ?? 0,
      uri_host: textsOf(message, Option.URI_HOST)[0],
      uri_path: message.isRequest ? `/${textsOf(message, Option.URI_PATH).join("/")}` : undefined,
      uri_query: textsOf(message, Option.URI_QUERY).join("&") || undefined,
      content_format: uintOf(message, Option.CONTENT_FORMAT),
      observe: uintOf(message, Option.OBSERVE),
      block1: blockOf(message, Option.BLOCK1),
      block2: blockOf(message, Option.BLOCK2),
      options: optionsJson(message),
    };
    const sent = this.remember(row);
    if (message.isRequest) this.onRequest(row, sent);
    else this.onAnswer(row, message.isResponse);
    this.held.hold(row);
  }

  end(): void {
    this.held.end();
  }

  /** Finds what this is a copy of: a message id alone may also be used again too early, for something else. */
  private remember(row: Row<"coap">): Sent {
    const key = `${row.src} ${row.src_port} ${row.dst} ${row.dst_port} ${row.type} ${row.message_id}`;
    const before = this.messages.get(key);
    row.retransmission = before !== undefined && isSame(before.first, row);
    if (before !== undefined && row.retransmission) return before;
    const sent = { first: row, copies: [] };
    this.messages.set(key, sent);
    return sent;
  }

  private onRequest(row: Row<"coap">, sent: Sent): void {
    this.setServer(row, row.src!, row.dst!, row.dst_port!);
    if (sent.first === row) {
      this.requests.set(tokenKey(row.src!, row.src_port!, row.dst!, row.dst_port!, row.token!), sent);
    } else if (sent.first.response_no !== undefined) {
      tellResponse(row, sent.first);
    } else if (sent.copies.length < MAX_COPIES) {
      sent.copies.push(row);
    }
  }

  private onAnswer(row: Row<"coap">, isResponse: boolean): void {
    const confirmed = this.confirmedBy(row)?.first;
    if (confirmed !== undefined) confirmed.ack_no ??= row.no;
    const sent = isResponse ? this.requestOf(row) : undefined;
    if (sent !== undefined) {
      const { first, copies } = sent;
      row.request_no = first.no;
      row.uri_host = first.uri_host;
      row.uri_path = first.uri_path;
      row.uri_query = first.uri_query;
      if (first.response_no === undefined) {
        first.response_no = row.no;
        first.response_frame = row.frame;
        first.response_code = row.code;
        first.response_ms = (row.time! - first.time!) / 1000;
        for (const copy of copies.splice(0)) tellResponse(copy, first);
      }
    }
    if (isResponse) this.setServer(row, row.dst!, row.src!, row.src_port!);
    else if (confirmed !== undefined)
      this.setServer(row, confirmed.client!, confirmed.server!, confirmed.server_port!);
  }

  /** In an acknowledgement by message id and token, since tokens may repeat or be empty; else by token (section 5.3.2). */
  private requestOf(row: Row<"coap">): Sent | undefined {
    const confirmed = this.confirmedBy(row);
    if (confirmed?.first.is_request === true && confirmed.first.token === row.token) return confirmed;
    const [client, port] = [row.dst!, row.dst_port!];
    return (
      this.requests.get(tokenKey(client, port, row.src!, row.src_port!, row.token!)) ??
      this.requests.get(tokenKey(client, port, GROUP, row.src_port!, row.token!))
    );
  }

  /** The CON that an ACK or RST is for. */
  private confirmedBy(row: Row<"coap">): Sent | undefined {
    if (row.type !== "ACK" && row.type !== "RST") return undefined;
    const to = `${row.dst} ${row.dst_port} ${row.src} ${row.src_port}`;
    return (
      this.messages.get(`${to} CON ${row.message_id}`) ?? this.messages.get(`${to} NON ${row.message_id}`)
    );
  }

  private setServer(row: Row<"coap">, client: string, server: string, port: number): void {
    row.client = client;
    row.server = server;
    row.server_port = port;
    row.server_name = this.names.of(server);
  }
}

/** Stands for whichever member of a group answers. */
const GROUP = "group";

function tokenKey(client: string, clientPort: number, server: string, port: number, token: string): string {
  return `${client} ${clientPort} ${MULTICAST.test(server) ? GROUP : server} ${port} ${token}`;
}

function isSame(before: Row<"coap">, row: Row<"coap">): boolean {
  const { token, code, length } = before;
  const isRecent = row.time! - before.time! < EXCHANGE_LIFETIME_US;
  return isRecent && token === row.token && code === row.code && length === row.length;
}

function tellResponse(copy: Row<"coap">, first: Row<"coap">): void {
  copy.response_no = first.response_no;
  copy.response_frame = first.response_frame;
  copy.response_code = first.response_code;
}
