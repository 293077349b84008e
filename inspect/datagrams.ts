import { endsWithPacket, packetSize } from "@topicast/protocol";
import type { ReportProblem } from "./app.js";
import { decodeCoap, looksLikeCoap } from "./decode/coap.js";
import { decodeDns } from "./decode/dns.js";
import { decodeMqtt } from "./decode/mqtt.js";
import { decodeSn, looksLikeSn } from "./decode/mqttsn.js";
import type { DecodeAs } from "./decode-as.js";
import type { Row, RowSink } from "./tables/schema.js";
import type { Moment } from "./tcp/direction.js";
import { CoapTracker } from "./track/coap.js";
import { FabricTracker, looksLikeFabric } from "./track/fabric.js";
import type { Hosts, MqttTracker } from "./track/mqtt.js";
import { SnTracker } from "./track/mqttsn.js";
import type { Names } from "./track/names.js";

const COAP_PORT = 5683;
/** DNS, multicast DNS, LLMNR. */
const DNS_PORTS = [53, 5353, 5355];
/** 1883 is the fabric's and plain MQTT's; gateways for MQTT-SN have no registered port, these are in use. */
const MQTT_PORTS = [1883, 1884, 1885, 1886, 2442, 10_000, 20_000];

/** How a datagram was captured. */
export interface Capturing {
  /** Its end was not. */
  readonly isCut: boolean;
  /** It was before, elsewhere on its way. */
  readonly isCopy: boolean;
  /** The interface. */
  readonly link: string | undefined;
}

/** Reads UDP datagrams: what they are, then what they say. */
export class Datagrams {
  readonly coap: CoapTracker;
  readonly sn: SnTracker;
  private readonly fabric: FabricTracker;

  constructor(
    private readonly sink: RowSink,
    private readonly names: Names,
    private readonly mqtt: MqttTracker,
    private readonly decodeAs: DecodeAs,
    private readonly problem: ReportProblem,
  ) {
    this.coap = new CoapTracker(sink, names);
    this.sn = new SnTracker(sink);
    this.fabric = new FabricTracker(sink);
  }

  end(): void {
    this.coap.end();
    this.sn.end();
  }

  /** Returns what the datagram was read as, and the row of an MQTT-SN message. */
  take(
    bytes: Buffer,
    hosts: Hosts,
    { isCut, isCopy, link }: Capturing,
    at: Moment,
  ): { application?: string; sn?: Row<"mqttsn"> } {
    const ports = [hosts.src_port, hosts.dst_port] as const;
    const application = this.decodeAs.of("udp", ports) ?? guess(bytes, ports, isCut);
    if (application === undefined || application === "none") return {};
    if (isCut) this.problem(application, "the datagram is not wholly in the capture", at);
    switch (application) {
      case "coap":
        this.onCoap(bytes, hosts, at);
        break;
      case "dns":
        this.onDns(bytes, hosts, at);
        break;
      case "mqttsn": {
        const message = decodeSn(bytes);
        if (message.problem !== undefined) this.problem("mqttsn", message.problem, at);
        return { application, sn: this.sn.onMessage(message, hosts, isCopy, at) };
      }
      case "mqtt":
        this.onPlain(bytes, hosts, at);
        break;
      case "fabric":
        this.onFabric(bytes, hosts, link, at);
        break;
    }
    return { application };
  }

  private onCoap(bytes: Buffer, hosts: Hosts, at: Moment): void {
    const message = decodeCoap(bytes);
    if (message === undefined) return this.problem("coap", "message is cut short", at);
    for (const reason of message.problems) this.problem("coap", reason, at);
    this.coap.onMessage(message, hosts, bytes.length, at);
  }

  private onDns(bytes: Buffer, hosts: Hosts, at: Moment): void {
    const rows = decodeDns(bytes);
    if (typeof rows === "string") return this.problem("dns", rows, at);
    this.names.onMessage(rows);
    for (const row of rows) this.sink.put("dns", { frame: at.frame, time: at.timeUs, ...hosts, ...row });
  }

  /** Bare packets back to back: MQTT 3.1.1, as the Scapy proxy sends them. */
  private onPlain(bytes: Buffer, hosts: Hosts, at: Moment): void {
    this.packets(bytes, "udp", 4, hosts, at);
  }

  private onFabric(bytes: Buffer, hosts: Hosts, link: string | undefined, at: Moment): void {
    const packets = this.fabric.onDatagram(bytes, hosts, link, at);
    if (typeof packets === "string") this.problem("fabric", packets, at);
    else if (packets !== undefined) this.packets(packets, "fabric", 5, hosts, at);
  }

  private packets(
    bytes: Buffer,
    transport: "udp" | "fabric",
    version: 4 | 5,
    hosts: Hosts,
    at: Moment,
  ): void {
    for (let from = 0; from < bytes.length; ) {
      const size = packetSize(bytes, from, bytes.length);
      if (size <= 0 || from + size > bytes.length) {
        return this.problem("mqtt", "the datagram ends inside a packet", at);
      }
      const packet = decodeMqtt(bytes.subarray(from, from + size), size, version);
      for (const reason of packet.problems) this.problem("mqtt", reason, at);
      this.mqtt.onDatagramPacket(packet, transport, version, hosts, at);
      from += size;
    }
  }
}

function guess(bytes: Buffer, ports: readonly [number, number], isCut: boolean): string | undefined {
  if (ports.includes(COAP_PORT)) return looksLikeCoap(bytes) || bytes.length > 0 ? "coap" : undefined;
  if (DNS_PORTS.includes(ports[0]) || DNS_PORTS.includes(ports[1])) return "dns";
  const isMqtt = MQTT_PORTS.includes(ports[0]) || MQTT_PORTS.includes(ports[1]);
  if (!isMqtt || bytes.length < 2) return undefined;
  // A 3-byte length of MQTT-SN begins with 1, too, as the fabric's header does.
  if (looksLikeSn(bytes)) return "mqttsn";
  if (bytes[0]! >> 4 === 0) return looksLikeFabric(bytes) ? "fabric" : undefined;
  return isCut || endsWithPacket(bytes) ? "mqtt" : undefined;
}
