import { emptySegment, parseTcp, type Segment, TCP_HEADER } from "@topicast/agent/tcp/wire/tcp.js";
import { Datagrams } from "./datagrams.js";
import { decodeIcmp, QUOTED_HEAD } from "./decode/icmp.js";
import { DecodeAs } from "./decode-as.js";
import { Detector } from "./detect.js";
import { Fragments } from "./net/fragments.js";
import { emptyIp, type IpPacket, Protocol, readIp } from "./net/ip.js";
import { EtherType, type LinkLayer, readLink } from "./net/link.js";
import type { CapturedFrame } from "./read/record.js";
import { Recent } from "./recent.js";
import type { Row, RowSink } from "./tables/schema.js";
import { Budget } from "./tcp/budget.js";
import type { Moment } from "./tcp/direction.js";
import { type Stream, Streams } from "./tcp/streams.js";
import { MqttTracker } from "./track/mqtt.js";
import { Names } from "./track/names.js";

/** What all streams together may keep of what they cannot hand on yet. */
const BUDGET_BYTES = 128 << 20;
/** Datagrams that an ICMP error may quote. */
const MAX_QUOTABLE = 16_384;
const FLAG_LETTERS = "FSRPAUEC";

export interface InspectorOptions {
  readonly decodeAs?: readonly string[];
}

/** The same datagram is not sent again, unchanged, while it is still on its way. */
const COPY_US = 1_000_000;

interface Quotable {
  readonly frame: number;
  readonly timeUs: number;
  /** Where it was captured. */
  readonly link: string;
  readonly sn: Row<"mqttsn"> | undefined;
}

/**
 * Frames in, rows out: a function of the frames alone, without files, clocks or sockets. Nothing in a frame makes it
 * throw; what is malformed becomes a row of `problems`.
 */
export class Inspector {
  /** Frames taken so far, and problems found. */
  frames = 0;
  problems = 0;
  private file: string | undefined;
  private readonly names = new Names();
  private readonly mqtt: MqttTracker;
  private readonly datagrams: Datagrams;
  private readonly streams: Streams;
  private readonly fragments: Fragments;
  private readonly quotable = new Recent<string, Quotable>(MAX_QUOTABLE);
  private readonly link: LinkLayer = { etherType: 0, at: 0, vlan: -1, way: 0 };
  private readonly ip = emptyIp();
  private readonly segment = emptySegment();
  private last: Moment = { frame: 0, timeUs: 0 };

  /** @throws UserError for a decodeAs that cannot be read */
  constructor(
    private readonly sink: RowSink,
    { decodeAs }: InspectorOptions = {},
  ) {
    const rules = new DecodeAs(decodeAs);
    const problem = this.problem.bind(this);
    this.mqtt = new MqttTracker(sink, this.names);
    this.datagrams = new Datagrams(sink, this.names, this.mqtt, rules, problem);
    const budget = new Budget(BUDGET_BYTES);
    const services = { tracker: this.mqtt, budget, problem };
    this.streams = new Streams(budget, {
      onOpen: (stream) => {
        stream.reader = new Detector(stream, services, rules);
      },
      onClose: (stream) => this.putStream(stream),
    });
    this.fragments = new Fragments((frame, reason) =>
      this.problem("ip", reason, { frame, timeUs: this.last.timeUs }),
    );
  }

  /** The frames that follow are of this file. */
  setFile(name: string): void {
    this.file = name;
  }

  /** The capture itself is damaged after the last frame. */
  onDamage(reason: string): void {
    this.problem("capture", reason, this.last);
  }

  /** The file has a name for an address. */
  onName(address: string, name: string): void {
    this.names.add(address, name.toLowerCase());
    this.sink.put("hosts", { address, name });
  }

  onFrame(frame: CapturedFrame): void {
    const isTime = Number.isSafeInteger(frame.timeUs);
    const at = { frame: ++this.frames, timeUs: isTime ? frame.timeUs : this.last.timeUs };
    this.last = at;
    if (!isTime) this.problem("capture", "a time that is none: that of the frame before is taken", at);
    const row: Row<"frames"> = {
      frame: at.frame,
      time: at.timeUs,
      epoch_ns: { timeUs: at.timeUs, nanos: frame.nanos },
      file: this.file,
      interface: frame.interface,
      length: frame.length,
      captured: frame.bytes.length,
      // All columns at once: an object that grows is slow.
      vlan: undefined,
      src: undefined,
      src_port: undefined,
      dst: undefined,
      dst_port: undefined,
      ttl: undefined,
      protocol: undefined,
      stream: undefined,
      tcp_flags: undefined,
      seq: undefined,
      ack: undefined,
      payload_length: undefined,
      application: undefined,
    };
    if (!readLink(frame.bytes, frame.linkType, this.link)) {
      this.problem("link", `link type ${frame.linkType} is not known`, at);
    } else if (this.link.at < 0) {
      this.problem("link", "frame header is cut short", at);
    } else {
      if (this.link.vlan >= 0) row.vlan = this.link.vlan;
      this.onPacket(frame.bytes, row, at);
    }
    this.sink.put("frames", row);
  }

  /** No more frames: everything that is still open is closed, and told. */
  end(): void {
    this.fragments.end();
    this.streams.end();
    this.datagrams.end();
    this.mqtt.end();
  }

  private problem(layer: string, reason: string, { frame, timeUs }: Moment, stream?: number): void {
    this.problems += 1;
    const where = frame === 0 ? {} : { frame, time: timeUs };
    this.sink.put("problems", { ...where, stream, layer, reason });
  }

  private onPacket(bytes: Buffer, row: Row<"frames">, at: Moment): void {
    const { etherType } = this.link;
    if (etherType !== EtherType.IPV4 && etherType !== EtherType.IPV6) {
      row.protocol = etherType === EtherType.ARP ? "arp" : `0x${etherType.toString(16).padStart(4, "0")}`;
      return;
    }
    const { ip } = this;
    const fault = readIp(bytes, this.link.at, etherType, ip);
    if (fault !== undefined) return this.problem("ip", fault, at);
    row.src = ip.source;
    row.dst = ip.destination;
    row.ttl = ip.ttl;
    row.protocol = protocolName(ip.protocol);
    if (!ip.isFragment) return this.onPayload(bytes, ip.payloadAt, ip.end, ip.missing, row, at);
    const whole = this.fragments.add(bytes, ip, at.frame, at.timeUs);
    if (whole !== undefined) this.onPayload(whole, 0, whole.length, 0, row, at);
  }

  private onPayload(
    bytes: Buffer,
    start: number,
    end: number,
    missing: number,
    row: Row<"frames">,
    at: Moment,
  ): void {
    switch (this.ip.protocol) {
      case Protocol.TCP:
        return this.onTcp(bytes, start, end, missing, row, at);
      case Protocol.UDP:
        return this.onUdp(bytes.subarray(start, end), missing, row, at);
      case Protocol.ICMP:
      case Protocol.ICMPV6:
        return this.onIcmp(bytes.subarray(start, end), at);
    }
  }

  private onTcp(
    bytes: Buffer,
    start: number,
    end: number,
    missing: number,
    row: Row<"frames">,
    at: Moment,
  ): void {
    const { segment } = this;
    if (end - start < TCP_HEADER) return this.problem("tcp", "TCP header is cut short", at);
    const headerBytes = (bytes[start + 12]! >> 4) * 4;
    // A capture of short frames may leave out options, and all of the payload.
    const optionsCut = Math.max(0, headerBytes - (end - start));
    if (headerBytes < TCP_HEADER || optionsCut > missing) {
      return this.problem("tcp", `TCP header of ${headerBytes} bytes`, at);
    }
    if (optionsCut > 0) readCutHeader(bytes, start, segment);
    else if (!parseTcp(bytes, start, end, segment)) {
      // Ports, numbers and payload hold all the same.
      this.problem("tcp", "TCP options are malformed", at);
    }
    const cut = missing - optionsCut;
    row.src_port = bytes.readUInt16BE(start);
    row.dst_port = bytes.readUInt16BE(start + 2);
    row.tcp_flags = flagLetters(bytes[start + 13]!);
    row.seq = segment.seq >>> 0;
    row.ack = segment.ack >>> 0;
    row.payload_length = segment.payload.length + cut;
    const stream = this.streams.onSegment(
      {
        source: row.src!,
        sourcePort: row.src_port,
        destination: row.dst!,
        destinationPort: row.dst_port,
        seq: segment.seq,
        ack: segment.ack,
        flags: segment.flags,
        payload: segment.payload,
        cut,
      },
      at,
    );
    row.stream = stream.index;
  }

  private onUdp(bytes: Buffer, missing: number, row: Row<"frames">, at: Moment): void {
    if (bytes.length < 8) return this.problem("udp", "UDP header is cut short", at);
    const told = bytes.readUInt16BE(4);
    // A length of 0 is a jumbogram's, or of an offloaded datagram.
    const length = told === 0 ? bytes.length + missing : told;
    if (length < 8) return this.problem("udp", `UDP datagram of ${length} bytes`, at);
    if (length > bytes.length + missing)
      this.problem("udp", `UDP datagram of ${length} bytes in a shorter packet`, at);
    const payload = bytes.subarray(8, Math.min(length, bytes.length));
    row.src_port = bytes.readUInt16BE(0);
    row.dst_port = bytes.readUInt16BE(2);
    row.payload_length = length - 8;
    const hosts = { src: row.src!, src_port: row.src_port, dst: row.dst!, dst_port: row.dst_port };
    const key = quoteKey(this.ip, bytes.toString("latin1", 0, QUOTED_HEAD));
    const link = `${row.interface ?? ""} ${this.link.way}`;
    const before = this.quotable.get(key);
    const isCopy = before !== undefined && before.link !== link && at.timeUs - before.timeUs < COPY_US;
    const isCut = length > bytes.length;
    const { application, sn } = this.datagrams.take(
      payload,
      hosts,
      { isCut, isCopy, link: row.interface },
      at,
    );
    row.application = application;
    if (!isCopy) this.quotable.set(key, { frame: at.frame, timeUs: at.timeUs, link, sn });
  }

  private onIcmp(bytes: Buffer, at: Moment): void {
    const { ip } = this;
    const message = decodeIcmp(bytes, ip.version);
    if (message === undefined) return this.problem("icmp", "ICMP header is cut short", at);
    if (message.problem !== undefined) this.problem("icmp", message.problem, at);
    const { type, code, meaning, quoted } = message;
    const row: Row<"icmp"> = {
      frame: at.frame,
      time: at.timeUs,
      src: ip.source,
      dst: ip.destination,
      version: ip.version,
      type,
      code,
      meaning,
    };
    if (quoted !== undefined) {
      row.quoted_src = quoted.ip.source;
      row.quoted_dst = quoted.ip.destination;
      row.quoted_protocol = protocolName(quoted.ip.protocol);
      if (quoted.sourcePort > 0) row.quoted_src_port = quoted.sourcePort;
      if (quoted.destinationPort > 0) row.quoted_dst_port = quoted.destinationPort;
      const found = this.quotable.get(quoteKey(quoted.ip, quoted.head));
      row.quoted_frame = found?.frame;
      if (found?.sn !== undefined) this.datagrams.sn.onIcmp(found.sn, at.frame, meaning);
    }
    this.sink.put("icmp", row);
  }

  private putStream(stream: Stream): void {
    const [up, down] = stream.clientSide === 1 ? [1, 0] : [0, 1];
    const counts = stream.directions.map((direction) => direction.counts);
    const sum = (key: "retransmitted" | "overlapping" | "outOfOrder" | "missing") =>
      counts[0]![key] + counts[1]![key];
    const missing = sum("missing");
    if (missing > 0 && stream.application !== undefined) {
      this.problem("tcp", `${missing} bytes of the stream are not in the capture`, stream.last, stream.index);
    }
    this.sink.put("tcp_streams", {
      stream: stream.index,
      first_frame: stream.first.frame,
      first_time: stream.first.timeUs,
      last_frame: stream.last.frame,
      last_time: stream.last.timeUs,
      client: stream.client.address,
      client_port: stream.client.port,
      server: stream.server.address,
      server_port: stream.server.port,
      server_name: this.names.of(stream.server.address),
      application: stream.application,
      handshake_seen: stream.hasSyn,
      frames: stream.frames,
      client_bytes: counts[up]!.bytes,
      server_bytes: counts[down]!.bytes,
      retransmitted: sum("retransmitted"),
      overlapping: sum("overlapping"),
      out_of_order: sum("outOfOrder"),
      missing_bytes: missing,
      end: stream.end,
    });
  }
}

function readCutHeader(bytes: Buffer, start: number, into: Segment): void {
  into.seq = bytes.readInt32BE(start + 4);
  into.ack = bytes.readInt32BE(start + 8);
  into.flags = bytes[start + 13]!;
  into.payload = bytes.subarray(0, 0);
}

/** A datagram is known again by addresses, identification, ports, length and checksum. */
function quoteKey({ source, destination, identification }: IpPacket, head: string): string {
  return `${source} ${destination} ${identification} ${head}`;
}

function protocolName(protocol: number): string {
  switch (protocol) {
    case Protocol.TCP:
      return "tcp";
    case Protocol.UDP:
      return "udp";
    case Protocol.ICMP:
      return "icmp";
    case Protocol.ICMPV6:
      return "icmpv6";
    default:
      return `ip-${protocol}`;
  }
}

const letters: string[] = [];

function flagLetters(flags: number): string {
  let text = letters[flags];
  if (text === undefined) {
    text = [...FLAG_LETTERS].filter((_, bit) => (flags & (1 << bit)) !== 0).join("");
    letters[flags] = text;
  }
  return text;
}
