import {
  ASK,
  agentNumber,
  BEGIN,
  type Datagram,
  decodeDatagram,
  END,
  FENCE,
  formatIPv4,
  HEADER_BYTES,
  Kind,
  SEAL_BYTES,
  START,
} from "@topicast/protocol";
import { decodeMqtt } from "../decode/mqtt.js";
import { Type } from "../decode/mqtt-types.js";
import { Recent } from "../recent.js";
import type { RowSink } from "../tables/schema.js";
import type { Moment } from "../tcp/direction.js";
import type { Hosts } from "./mqtt.js";

/** Cut packets that are being put together. */
const MAX_ASSEMBLIES = 1024;
const MAX_ASSEMBLY_BYTES = 1 << 20;
/** Agents whose ids are kept. */
const MAX_AGENTS = 65_536;
/** Which stream goes before, up to which number. */
const FENCE_BYTES = 8;
/** The first multicast address. */
const MULTICAST = /^(22[4-9]|23\d)\./;

const FLAGS = Object.entries({ START, END, ASK, BEGIN, FENCE });
const STREAM_KINDS = new Set<number>([Kind.DATA, Kind.HEARTBEAT, Kind.STATUS]);
const KIND_NAMES = new Map(Object.entries(Kind).map(([name, kind]) => [kind, name]));

interface Assembly {
  next: number;
  readonly pieces: Buffer[];
  bytes: number;
}

/** What Topicast's agents and forwarder say to each other (protocol/README.md). */
export class FabricTracker {
  private readonly assemblies = new Recent<string, Assembly>(MAX_ASSEMBLIES);
  private readonly agents = new Recent<number, string>(MAX_AGENTS);

  constructor(private readonly sink: RowSink) {}

  /**
   * Makes a row of a datagram. Returns the MQTT packets that it brings or completes, back to back; a text: what is wrong.
   * @param link where it was captured: the same datagram may be there on several
   */
  onDatagram(bytes: Buffer, hosts: Hosts, link: string | undefined, at: Moment): Buffer | string | undefined {
    const datagram = decodeDatagram(bytes);
    if (typeof datagram === "string") return datagram.replaceAll("_", " ");
    const { kind, flags, payload, source, epoch, stream, number } = datagram;
    const packets = this.packetsOf(datagram, hosts, link);
    if (packets !== undefined && kind === Kind.CONTROL && stream === 0) this.learn(source, packets);
    this.sink.put("fabric", {
      frame: at.frame,
      time: at.timeUs,
      interface: link,
      ...hosts,
      kind: KIND_NAMES.get(kind)!,
      flags: FLAGS.filter(([, bit]) => (flags & bit) !== 0)
        .map(([name]) => name)
        .join(" "),
      source,
      agent: source === 0 ? "forwarder" : this.agents.get(source),
      epoch,
      group_address: STREAM_KINDS.has(kind) ? formatIPv4(stream) : undefined,
      number,
      is_multicast: MULTICAST.test(hosts.dst),
      payload_length: payload.length,
    });
    return packets;
  }

  private packetsOf(datagram: Datagram, hosts: Hosts, link: string | undefined): Buffer | undefined {
    const { kind, flags, payload, source, epoch, stream } = datagram;
    if (kind !== Kind.DATA && kind !== Kind.CONTROL) return undefined;
    const content = (flags & FENCE) !== 0 ? payload.subarray(FENCE_BYTES) : payload;
    if ((flags & START) !== 0 && (flags & END) !== 0) return content;
    const key = `${kind} ${source} ${epoch} ${stream} ${hosts.dst} ${hosts.dst_port} ${link ?? ""}`;
    return this.assemble(key, datagram, content);
  }

  /** A packet that was cut into datagrams of consecutive numbers. One out of its turn gives it up. */
  private assemble(key: string, { number, flags }: Datagram, content: Buffer): Buffer | undefined {
    let assembly = this.assemblies.get(key);
    if ((flags & START) !== 0) {
      assembly = { next: number, pieces: [], bytes: 0 };
      this.assemblies.set(key, assembly);
    }
    if (assembly === undefined || assembly.next !== number || assembly.bytes > MAX_ASSEMBLY_BYTES) {
      this.assemblies.delete(key);
      return undefined;
    }
    assembly.next = (number + 1) >>> 0;
    assembly.bytes += content.length;
    assembly.pieces.push(Buffer.from(content));
    if ((flags & END) === 0) return undefined;
    this.assemblies.delete(key);
    return Buffer.concat(assembly.pieces);
  }

  /** An agent's CONNECT has its id, of which the number on the wire is a hash. */
  private learn(source: number, packets: Buffer): void {
    if (packets[0]! >> 4 !== Type.CONNECT || this.agents.get(source) !== undefined) return;
    const { connect } = decodeMqtt(packets, packets.length, 5);
    if (connect !== undefined && agentNumber(connect.clientId) === source) {
      this.agents.set(source, connect.clientId);
    }
  }
}

/** Whether the bytes begin as a datagram of the fabric does, sealed or not. */
export function looksLikeFabric(bytes: Buffer): boolean {
  if (bytes.length < HEADER_BYTES || bytes[0] !== 1) return false;
  return bytes[3] === HEADER_BYTES / 4 || bytes[3] === (HEADER_BYTES + SEAL_BYTES) / 4;
}
