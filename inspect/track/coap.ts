import { blockOf, type CoapMessage, Option, optionsJson, textsOf, uintOf } from "../decode/coap.js";
import { Recent } from "../recent.js";
import type { Row, RowSink } from "../tables/schema.js";
import type { Moment } from "../tcp/direction.js";
import { HeldRows } from "./held.js";
import type { Names } from "./names.js";

/** RFC 7252 section 4.8.2: for so long a message id means the same message. */
const EXCHANGE_LIFETIME_US = 247_000_000;
const MAX_EXCHANGES = 65_536;

interface Hosts {
  readonly src: string;
  readonly src_port: number;
  readonly dst: string;
  readonly dst_port: number;
}

/** Finds the responses of requests by token, acknowledgements by message id, and what was sent again. */
export class CoapTracker {
  private readonly held: HeldRows<"coap">;
  /** By endpoints and token: the last request. */
  private readonly requests = new Recent<string, Row<"coap">>(MAX_EXCHANGES);
  /** By endpoints and message id: the first message. */
  private readonly messages = new Recent<string, Row<"coap">>(MAX_EXCHANGES);
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
    this.findRetransmission(row);
    if (message.isRequest) this.onRequest(row);
    else this.onAnswer(row, message.isResponse);
    this.held.hold(row);
  }

  end(): void {
    this.held.end();
  }

  private findRetransmission(row: Row<"coap">): void {
    const key = `${row.src} ${row.src_port} ${row.dst} ${row.dst_port} ${row.type} ${row.message_id}`;
    const first = this.messages.get(key);
    row.retransmission = first !== undefined && row.time! - first.time! < EXCHANGE_LIFETIME_US;
    if (!row.retransmission) this.messages.set(key, row);
  }

  private onRequest(row: Row<"coap">): void {
    this.setServer(row, row.src!, row.dst!, row.dst_port!);
    const key = `${row.src} ${row.src_port} ${row.dst_port} ${row.token}`;
    const before = this.requests.get(key);
    // Sent again it is the same request, whose first copy the response answers.
    if (row.retransmission && before?.message_id === row.message_id) {
      row.response_no = before?.response_no;
      row.response_frame = before?.response_frame;
      row.response_code = before?.response_code;
    } else {
      this.requests.set(key, row);
    }
  }

  private onAnswer(row: Row<"coap">, isResponse: boolean): void {
    // A group's members answer from their own addresses, so the server's address is no part of the key.
    const key = `${row.dst} ${row.dst_port} ${row.src_port} ${row.token}`;
    const confirmed = this.confirmedBy(row);
    const byToken = isResponse ? this.requests.get(key) : undefined;
    const request =
      byToken ??
      (isResponse && confirmed?.is_request === true && confirmed.token === row.token ? confirmed : undefined);
    if (confirmed !== undefined) confirmed.ack_no ??= row.no;
    if (request !== undefined) {
      row.request_no = request.no;
      row.uri_host = request.uri_host;
      row.uri_path = request.uri_path;
      row.uri_query = request.uri_query;
      if (request.response_no === undefined) {
        request.response_no = row.no;
        request.response_frame = row.frame;
        request.response_code = row.code;
        request.response_ms = (row.time! - request.time!) / 1000;
      }
    }
    if (isResponse) this.setServer(row, row.dst!, row.src!, row.src_port!);
    else if (confirmed !== undefined)
      this.setServer(row, confirmed.client!, confirmed.server!, confirmed.server_port!);
  }

  /** The CON that an ACK or RST is for. */
  private confirmedBy(row: Row<"coap">): Row<"coap"> | undefined {
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
