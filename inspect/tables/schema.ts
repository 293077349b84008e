/** The tables, column by column. The README's description of them is this, and a test compares the two. */

export interface Column<T> {
  readonly sql: "BIGINT" | "INTEGER" | "DOUBLE" | "VARCHAR" | "BOOLEAN" | "TIMESTAMPTZ" | "BLOB";
  /** Meaning, with the unit. */
  readonly about: string;
  /** Not there at run time. */
  readonly type?: T;
}

const column =
  <T>(sql: Column<T>["sql"]) =>
  (about: string): Column<T> => ({ sql, about });
const big = column<number>("BIGINT");
/** Beyond what a number holds exactly. */
const nanoseconds = column<Instant>("BIGINT");
const int = column<number>("INTEGER");
const real = column<number>("DOUBLE");
const text = column<string>("VARCHAR");
const flag = column<boolean>("BOOLEAN");
/** Microseconds since 1970. */
const time = column<number>("TIMESTAMPTZ");
const blob = column<Buffer>("BLOB");

const client_no = big(
  "number of the client: all connections of one client id to one server are one's, each without id is its own",
);
const frame = big(
  "number of the frame, from 1 over all files; of several, the one that completed the packet",
);
const when = time("when that frame was captured (microseconds, UTC)");

const hosts = {
  src: text("IP address of the sender"),
  src_port: int("its port"),
  dst: text("IP address of the receiver"),
  dst_port: int("its port"),
};

const server = {
  server: text("IP address of the server"),
  server_port: int("its port"),
  server_name: text(
    "name under which that address was last asked for in DNS before; else the first by alphabet of those after",
  ),
};

export const schema = {
  frames: {
    frame: big("number of the frame, from 1 over all files"),
    time: when,
    epoch_ns: nanoseconds("the same in nanoseconds since 1970"),
    file: text("name of the capture file"),
    interface: text("name of the interface, where the capture tells it"),
    length: big("bytes on the wire"),
    captured: int("bytes captured"),
    vlan: int("outermost VLAN id"),
    ...hosts,
    ttl: int("time to live, hop limit"),
    protocol: text("tcp, udp, icmp, icmpv6, arp, ip-N, 0xTYPE of other packets"),
    stream: big("number of the TCP stream"),
    tcp_flags: text("letters of FSRPAUEC that are set"),
    seq: big("TCP sequence number, as on the wire"),
    ack: big("TCP acknowledgement number, as on the wire"),
    payload_length: int("bytes behind the transport header"),
    application: text("mqtt, mqttsn, coap, dns, fabric: what a UDP datagram was read as"),
  },
  tcp_streams: {
    stream: big("number of the stream, from 0, as tshark's tcp.stream"),
    first_frame: big("number of its first frame"),
    first_time: time("when that was captured"),
    last_frame: big("number of its last frame"),
    last_time: time("when that was captured"),
    client: text("IP address of the side that opened it"),
    client_port: int("its port"),
    ...server,
    application: text("mqtt, websocket (MQTT in it), tls, http; null: something else, or no bytes"),
    handshake_seen: flag("its SYN is in the capture"),
    frames: big("its frames"),
    client_bytes: big("bytes of the client, each counted once"),
    server_bytes: big("bytes of the server, each counted once"),
    retransmitted: big("segments that brought nothing new"),
    overlapping: big("segments that brought something old and something new"),
    out_of_order: big("segments that came before their turn"),
    missing_bytes: big("bytes that are not in the capture"),
    end: text("fin, reset; null: still open at the end of the capture"),
  },
  mqtt: {
    no: big("number of the packet, from 1"),
    frame,
    time: when,
    transport: text("tcp, websocket, udp (plain MQTT over UDP), fabric (behind Topicast's header)"),
    stream: big("number of the TCP stream"),
    connection: big("number of the connection in mqtt_connections"),
    ...hosts,
    from_client: flag("sent by the client; null where it cannot be known"),
    client_id: text("client identifier of the connection, that which the server assigned included"),
    client_no,
    ...server,
    version: text("3.1, 3.1.1, 5"),
    version_inferred: flag("the CONNECT is not in the capture: the version is judged by the packets"),
    type: text("CONNECT, CONNACK, PUBLISH, …"),
    length: big("bytes of the packet, fixed header included"),
    qos: int("of a PUBLISH, as on the wire: 3 is malformed"),
    dup: flag("PUBLISH: sent again"),
    retain: flag("PUBLISH: to be retained, or was"),
    message_id: int("packet identifier"),
    topic: text("of a PUBLISH, a topic alias replaced by what it stands for"),
    topic_alias: int("MQTT 5: the alias given"),
    payload: blob("of a PUBLISH, its first 64 KiB"),
    payload_length: big("bytes of the PUBLISH's payload"),
    filters: text("SUBSCRIBE, UNSUBSCRIBE: the topic filters as a JSON array"),
    reason_code: int("CONNACK's return code, MQTT 5's reason code; of several the first that refuses"),
    codes: text("SUBACK, UNSUBACK: all codes as a JSON array"),
    properties: text("MQTT 5 properties as JSON"),
    ack_frame: big("frame of the packet that completes the handshake: PUBACK, PUBCOMP, SUBACK, CONNACK, …"),
    ack_ms: real("how long that took, in milliseconds"),
    handshake: text(
      "complete, incomplete, refused; null where none belongs to the packet (QoS 0, acknowledgements)",
    ),
  },
  mqtt_connections: {
    connection: big("number of the connection, from 1"),
    stream: big("number of the TCP stream"),
    transport: text("as in mqtt"),
    client: text("IP address of the client"),
    client_port: int("its port"),
    client_id: text("client identifier"),
    client_no,
    ...server,
    version: text("3.1, 3.1.1, 5"),
    version_inferred: flag("as in mqtt"),
    connect_frame: big("frame of the CONNECT; null where it is not in the capture"),
    connect_time: time("when that was captured; without CONNECT its first packet"),
    clean: flag("Clean Session, Clean Start"),
    keep_alive: int("in seconds; 0: none"),
    username: text("user name"),
    has_password: flag("CONNECT had a password, which is not shown"),
    will_topic: text("the will's topic; null without a will"),
    will_qos: int("its QoS"),
    will_retain: flag("whether it is to be retained"),
    will_payload: blob("its payload"),
    session_expiry: big("MQTT 5: in seconds"),
    connack_code: int("return or reason code; 0: accepted"),
    session_present: flag("the server went on with a session"),
    messages_up: big("PUBLISH packets of the client"),
    messages_down: big("PUBLISH packets to the client"),
    longest_silence_s: real("longest time without a packet of the client while connected, in seconds"),
    keep_alive_exceeded: flag("that is more than one and a half keep-alive intervals (MQTT-3.1.2-24)"),
    end_frame: big("frame of the end"),
    end: text("disconnect, server disconnect, closed (by either side), reset, taken over; null: still open"),
    will_due: flag("ended so that the server publishes the will"),
    duplicate_client_id: flag(
      "another connection used the same client id at this server while this one was open",
    ),
  },
  mqtt_subscriptions: {
    no: big("number of the SUBSCRIBE in mqtt"),
    frame,
    time: when,
    stream: big("number of the TCP stream"),
    connection: big("number of the connection in mqtt_connections"),
    client: text("IP address of the client"),
    client_port: int("its port"),
    client_id: text("client identifier"),
    client_no,
    ...server,
    message_id: int("packet identifier of the SUBSCRIBE"),
    filter: text("topic filter as sent, $share/… included"),
    match_filter: text("the filter that topics are matched with: without $share/NAME/"),
    share_name: text("name of the shared subscription"),
    single_level: flag("holds the wildcard +"),
    multi_level: flag("holds the wildcard #"),
    has_wildcard: flag("either of them"),
    qos: int("asked for"),
    granted: int("SUBACK's code: QoS granted, from 128 on refused; null: not answered"),
    no_local: flag("MQTT 5 option"),
    retain_as_published: flag("MQTT 5 option"),
    retain_handling: int("MQTT 5 option"),
    subscription_id: big("MQTT 5 subscription identifier"),
    end_frame: big("frame that ended it"),
    end: text("unsubscribe, replaced, session end; null: in force at the end of the capture"),
  },
  mqtt_deliveries: {
    no: big("number of the PUBLISH to the client in mqtt"),
    frame,
    time: when,
    connection: big("number of the client's connection in mqtt_connections"),
    client: text("IP address of the client"),
    client_port: int("its port"),
    client_id: text("client identifier"),
    client_no,
    ...server,
    topic: text("of the PUBLISH"),
    qos: int("of the PUBLISH to the client"),
    retain: flag("as delivered"),
    dup: flag("sent again"),
    message_id: int("packet identifier of the PUBLISH to the client"),
    filter: text(
      "a subscription's filter that matches; null: none in the capture does. One row for each that does",
    ),
    has_wildcard: flag("that filter holds + or #"),
    subscribe_no: big("number of its SUBSCRIBE in mqtt"),
    subscribe_frame: big("frame of its SUBSCRIBE"),
    subscribe_message_id: int("packet identifier of its SUBSCRIBE"),
    subscribe_qos: int("QoS that it asked for"),
    matches: int("how many subscriptions of the client match"),
    certain: flag("one match alone, or named by a subscription identifier"),
    origin_no: big(
      "number in mqtt of the PUBLISH that it came from: last one of same topic and payload to this server",
    ),
    origin_client_id: text("client identifier of its publisher"),
    latency_ms: real("from that PUBLISH to this one, in milliseconds"),
    is_will: flag(
      "topic and payload are a will's that was due, and no PUBLISH since explains it; or may have been, and none does",
    ),
    will_client_id: text("whose will"),
  },
  mqttsn: {
    no: big("number of the message, from 1"),
    frame,
    time: when,
    ...hosts,
    from_client: flag("sent by the client; null where the type does not tell"),
    client_id: text("client identifier, where the CONNECT is in the capture"),
    type: text("CONNECT, PUBLISH, REGISTER, …"),
    length: int("bytes of the message"),
    encapsulated: flag("came in a Forwarder Encapsulation"),
    qos: int("0, 1, 2; -1: publishing without a connection"),
    dup: flag("sent again"),
    retain: flag("to be retained"),
    will: flag("CONNECT: asks for a will"),
    clean: flag("CONNECT: clean session"),
    topic_id_type: text("normal, predefined, short, name"),
    topic_id: int("topic id"),
    topic: text("topic name, as given or as registered in the capture"),
    message_id: int("message identifier"),
    return_code: int("0: accepted, 1: congestion, 2: invalid topic id, 3: not supported"),
    duration: int("keep-alive or sleep, in seconds; gateway's announcing interval"),
    gateway_id: int("of ADVERTISE and GWINFO"),
    payload: blob("of a PUBLISH, or the will's"),
    payload_length: int("its bytes"),
    ack_frame: big("frame of the acknowledgement"),
    ack_ms: real("how long that took, in milliseconds"),
    icmp_frame: big("frame of an ICMP error that quotes this message"),
    answer: text("what came back: the acknowledgement's type, or the ICMP error; null: nothing"),
    is_copy: flag("the same datagram captured once more on its way, as with Linux' interface any"),
  },
  coap: {
    no: big("number of the message, from 1"),
    frame,
    time: when,
    transport: text("udp"),
    ...hosts,
    type: text("CON, NON, ACK, RST"),
    code: text("GET, POST, …; 2.05, 4.04, …; 0.00: empty"),
    is_request: flag("has a method"),
    is_response: flag("has a response code"),
    message_id: int("message identifier"),
    token: text("token, hexadecimal"),
    length: int("bytes of the message"),
    payload: blob("payload"),
    payload_length: int("its bytes"),
    uri_host: text("Uri-Host option; of a response, of its request"),
    uri_path: text("path as /a/b; of a response, of its request"),
    uri_query: text("queries joined by &; of a response, of its request"),
    content_format: int("Content-Format option"),
    observe: int("Observe option: 0 registers, 1 deregisters; in a response its number"),
    block1: text("Block1 as number/more/size in bytes"),
    block2: text("Block2 as number/more/size in bytes"),
    options: text("all options as JSON"),
    client: text("IP address of who asks; null where it cannot be known"),
    ...server,
    request_no: big("of a response: number of its request (by token)"),
    response_no: big("of a request: number of its first response"),
    response_frame: big("frame of that"),
    response_code: text("its code"),
    response_ms: real("from the request, as first sent, to that, in milliseconds"),
    ack_no: big("of a CON: number of the ACK or RST with its message id"),
    retransmission: flag(
      "the same message as less than 247 s before (RFC 7252, section 4.8.2): sent, or captured, again",
    ),
  },
  fabric: {
    frame: big("number of the frame, from 1 over all files"),
    time: when,
    interface: text("name of the interface, where the capture tells it"),
    ...hosts,
    kind: text("DATA, CONTROL, ACK, RESET, ANNOUNCE, STATUS, HEARTBEAT"),
    flags: text("START, END, ASK, BEGIN, FENCE that are set, joined by spaces"),
    source: big("number of the agent whose header it is; 0: the forwarder"),
    agent: text("that agent's id, where its CONNECT to the forwarder is in the capture before"),
    epoch: big("start or registration of the source, in tenths of a second"),
    group_address: text("multicast address that names the stream: of DATA, HEARTBEAT and STATUS"),
    number: big("number of the datagram in the stream"),
    is_multicast: flag("sent to a group"),
    payload_length: int("bytes behind the header"),
  },
  dns: {
    frame,
    time: when,
    ...hosts,
    id: int("identifier"),
    is_response: flag("whether it is an answer"),
    rcode: text("NOERROR, NXDOMAIN, …"),
    section: text("question, answer, authority, additional"),
    question: text("name that the message's first question asks for"),
    name: text("name of the record"),
    type: text("A, AAAA, CNAME, PTR, …"),
    ttl: big("time to live, in seconds"),
    data: text("address or name; of other types JSON"),
  },
  hosts: {
    address: text("IP address"),
    name: text("what the file itself calls it (pcapng's Name Resolution Block)"),
  },
  icmp: {
    frame,
    time: when,
    src: text("IP address of the sender"),
    dst: text("IP address of the receiver"),
    version: int("4 or 6"),
    type: int("ICMP type"),
    code: int("ICMP code"),
    meaning: text("in words, such as port unreachable"),
    quoted_src: text("sender of the quoted packet"),
    quoted_src_port: int("its port"),
    quoted_dst: text("receiver of the quoted packet"),
    quoted_dst_port: int("its port"),
    quoted_protocol: text("tcp, udp, …"),
    quoted_frame: big("frame of the quoted packet, where it is in the capture"),
  },
  problems: {
    frame: big("number of the frame; null where none is meant"),
    time: when,
    stream: big("number of the TCP stream"),
    layer: text("capture, link, ip, tcp, udp, mqtt, websocket, mqttsn, coap, dns, icmp, fabric"),
    reason: text("what is wrong"),
  },
} as const satisfies Record<string, Record<string, Column<unknown>>>;

export type TableName = keyof typeof schema;
export const tableNames = Object.keys(schema) as TableName[];

type ValueOf<C> = C extends Column<infer T> ? T : never;

/** A time since 1970 that one double cannot hold. */
export interface Instant {
  /** Whole microseconds. */
  readonly timeUs: number;
  /** What they leave over, 0..999. */
  readonly nanos: number;
}

/** A row; a column that is not given is NULL. */
export type Row<N extends TableName> = {
  -readonly [K in keyof (typeof schema)[N]]?: ValueOf<(typeof schema)[N][K]> | undefined;
};

/** Where rows go. A row must not change after it was put. */
export interface RowSink {
  put<N extends TableName>(table: N, row: Row<N>): void;
}
