import { emptyIp, type IpPacket, Protocol, readIp } from "../net/ip.js";
import { EtherType } from "../net/link.js";

/** ICMP (RFC 792) and ICMPv6 (RFC 4443), and the packet that an error quotes. */

export interface IcmpMessage {
  readonly type: number;
  readonly code: number;
  readonly meaning: string;
  readonly quoted: Quoted | undefined;
  readonly problem: string | undefined;
}

export interface Quoted {
  readonly ip: IpPacket;
  /** 0 where it has no ports, or not enough is quoted. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** First bytes of the quoted packet behind its IP header: with addresses and ports they tell which one it was. */
  readonly head: string;
}

const UNREACHABLE_V4 = [
  "network unreachable",
  "host unreachable",
  "protocol unreachable",
  "port unreachable",
  "fragmentation needed",
  "source route failed",
];
const UNREACHABLE_V6 = [
  "no route",
  "prohibited",
  "beyond scope of source",
  "address unreachable",
  "port unreachable",
  "source address failed policy",
  "route rejected",
];
const TYPES_V4: Record<number, string> = {
  0: "echo reply",
  4: "source quench",
  5: "redirect",
  8: "echo request",
  11: "time exceeded",
  12: "parameter problem",
};
const TYPES_V6: Record<number, string> = {
  2: "packet too big",
  3: "time exceeded",
  4: "parameter problem",
  128: "echo request",
  129: "echo reply",
  130: "multicast listener query",
  131: "multicast listener report",
  133: "router solicitation",
  134: "router advertisement",
  135: "neighbor solicitation",
  136: "neighbor advertisement",
  143: "multicast listener report",
};

/** Bytes behind the quoted IP header that are compared; RFC 792 promises no more. */
export const QUOTED_HEAD = 8;

/** Never throws; undefined where the message is shorter than its header. */
export function decodeIcmp(bytes: Buffer, version: number): IcmpMessage | undefined {
  if (bytes.length < 4) return undefined;
  const [type, code] = [bytes[0]!, bytes[1]!];
  const isV4 = version === 4;
  const quotes = isV4 ? [3, 4, 5, 11, 12].includes(type) : type >= 1 && type <= 4;
  const unreachable = isV4
    ? type === 3
      ? UNREACHABLE_V4
      : undefined
    : type === 1
      ? UNREACHABLE_V6
      : undefined;
  const meaning =
    unreachable?.[code] ??
    (unreachable !== undefined ? "destination unreachable" : (isV4 ? TYPES_V4 : TYPES_V6)[type]) ??
    `type ${type}`;
  if (!quotes) return { type, code, meaning, quoted: undefined, problem: undefined };
  const ip = emptyIp();
  const problem = readIp(bytes, 8, isV4 ? EtherType.IPV4 : EtherType.IPV6, ip);
  if (problem !== undefined) return { type, code, meaning, quoted: undefined, problem: `quoted: ${problem}` };
  const hasPorts = (ip.protocol === Protocol.TCP || ip.protocol === Protocol.UDP) && ip.offset === 0;
  const enough = hasPorts && ip.payloadAt + 4 <= bytes.length;
  const quoted = {
    ip,
    sourcePort: enough ? bytes.readUInt16BE(ip.payloadAt) : 0,
    destinationPort: enough ? bytes.readUInt16BE(ip.payloadAt + 2) : 0,
    head: bytes.toString("latin1", ip.payloadAt, ip.payloadAt + QUOTED_HEAD),
  };
  return { type, code, meaning, quoted, problem: undefined };
}
