import { checksum, fold, sumWords } from "../tcp/wire/checksum.js";
import { ETHERNET_HEADER, ethernetPayload, etherType, hasGroupSource } from "../tcp/wire/ethernet.js";
import type { NeighbourCodec, Reading } from "./codec.js";

/**
 * Neighbor Discovery (RFC 4861): Neighbor Solicitations and Advertisements, 24 bytes and options behind an IPv6 header
 * without extensions.
 */

const ETHERTYPE_IPV6 = 0x86dd;
const IPV6_HEADER = 40;
const ICMPV6 = 58;
const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const FIXED_BYTES = 24;
const OPTION_BYTES = 8;
const SOURCE_MAC_OPTION = 1;
const TARGET_MAC_OPTION = 2;
/** Nothing that a router has passed on arrives with it (RFC 4861 section 11.2). */
const HOP_LIMIT = 255;
/** The flag "solicited"; "router" and "override" are never ours. */
const SOLICITED = 0x40;
/** Offsets from the IPv6 header. */
const SOURCE = 8;
const DESTINATION = 24;
const ICMP = IPV6_HEADER;
const FLAGS = ICMP + 4;
const TARGET = ICMP + 8;
const OPTIONS = ICMP + FIXED_BYTES;

const UNSPECIFIED = Buffer.alloc(16);
/** ff02::1:ff00:0/104, RFC 4291 section 2.7.1; the last three bytes are the target's. */
const SOLICITED_NODE = Buffer.from("ff0200000000000000000001ff", "hex");
const LINK_LOCAL = Buffer.from("fe80000000000000", "hex");
/** "tc", where an interface identifier made from a MAC address has ff:fe (RFC 4291 appendix A). */
const PROBE_MARK = Buffer.from("tc");

/** The address that the station `mac` sends its probes from: nobody else's, and never its kernel's. */
export function probeAddress(mac: Uint8Array): Buffer {
  const own = Buffer.concat([LINK_LOCAL, mac.subarray(0, 3), PROBE_MARK, mac.subarray(3, 6)]);
  own[8]! ^= 0x02;
  return own;
}

export const nd: NeighbourCodec = {
  takes(frame, length) {
    const at = ethernetPayload(frame, length);
    if (at < 0 || at + ICMP >= length || etherType(frame, at) !== ETHERTYPE_IPV6) return false;
    const type = frame[at + ICMP];
    return frame[at + 6] === ICMPV6 && (type === SOLICITATION || type === ADVERTISEMENT);
  },

  read(frame, length, mac): Reading | undefined {
    const at = ethernetPayload(frame, length);
    if (hasGroupSource(frame) || !isSound(frame, at, length)) return undefined;
    if (mac.equals(frame.subarray(6, 12))) return {};
    const address = (offset: number) => frame.subarray(at + offset, at + offset + 16);
    const [source, destination] = [address(SOURCE), address(DESTINATION)];
    const target = address(TARGET).toString("hex");
    if (frame[at + ICMP] === ADVERTISEMENT) {
      // Agents answer, too, but never a probe: only owners speak to our probe address, or to all.
      const owners = destination[0] === 0xff || destination.equals(probeAddress(mac));
      return owners ? { owned: target } : {};
    }
    // A machine that is about to have the address looks whether somebody else does (RFC 4862 section 5.4.2).
    if (source.equals(UNSPECIFIED)) return { owned: target };
    if (source.equals(probeAddress(frame.subarray(6, 12)))) return {};
    return { owned: source.toString("hex"), asked: target };
  },

  writeAnswer(request, length, mac, out) {
    const at = ethernetPayload(request, length);
    request.copy(out, 0, 6, 12);
    mac.copy(out, 6);
    request.copy(out, 12, 12, at);
    const target = request.subarray(at + TARGET, at + TARGET + 16);
    const asking = request.subarray(at + SOURCE, at + SOURCE + 16);
    return writeMessage(out, at, ADVERTISEMENT, target, asking, target, mac);
  },

  writeProbe(address, mac, out) {
    const group = Buffer.concat([SOLICITED_NODE, address.subarray(13)]);
    // RFC 2464 section 7: 33:33 and the group's last four bytes.
    out.writeUInt16BE(0x3333, 0);
    group.copy(out, 2, 12);
    mac.copy(out, 6);
    out.writeUInt16BE(ETHERTYPE_IPV6, 12);
    return writeMessage(out, ETHERNET_HEADER, SOLICITATION, probeAddress(mac), group, address, mac);
  },
};

/** Whether a message is valid in the sense of RFC 4861 sections 7.1.1 and 7.1.2. */
function isSound(frame: Buffer, at: number, length: number): boolean {
  if (at < 0 || at + OPTIONS > length || frame[at]! >> 4 !== 6) return false;
  const payload = frame.readUInt16BE(at + 4);
  const end = at + IPV6_HEADER + payload;
  if (payload < FIXED_BYTES || end > length || frame[at + 7] !== HOP_LIMIT) return false;
  if (frame[at + ICMP + 1] !== 0 || fold(messageSum(frame, at, end)) !== 0xffff) return false;
  // No station has a group address, as source or as what is asked for.
  if (frame[at + SOURCE] === 0xff || frame[at + TARGET] === 0xff) return false;
  const options = optionsIn(frame, at + OPTIONS, end);
  if (options === undefined) return false;
  const destination = frame.subarray(at + DESTINATION, at + DESTINATION + 16);
  if (frame[at + ICMP] === ADVERTISEMENT)
    return destination[0] !== 0xff || (frame[at + FLAGS]! & SOLICITED) === 0;
  if (!frame.subarray(at + SOURCE, at + SOURCE + 16).equals(UNSPECIFIED)) return true;
  const toGroup = destination.subarray(0, SOLICITED_NODE.length).equals(SOLICITED_NODE);
  return toGroup && !options.includes(SOURCE_MAC_OPTION);
}

/** Types of the options in `frame[at, end)`; undefined where their lengths do not lead to the end. */
function optionsIn(frame: Buffer, at: number, end: number): number[] | undefined {
  const types: number[] = [];
  let next = at;
  while (next + 2 <= end) {
    const bytes = frame[next + 1]! * OPTION_BYTES;
    if (bytes === 0) return undefined;
    types.push(frame[next]!);
    next += bytes;
  }
  return next === end ? types : undefined;
}

/** Unfolded sum of the message and its pseudo-header (RFC 8200 section 8.1). */
function messageSum(frame: Buffer, at: number, end: number): number {
  return sumWords(frame, at + SOURCE, end) + (end - at - IPV6_HEADER) + ICMPV6;
}

/** Writes the message with `mac` as its option, behind an Ethernet header that ends at `at`. Returns its length. */
function writeMessage(
  out: Buffer,
  at: number,
  type: typeof SOLICITATION | typeof ADVERTISEMENT,
  source: Buffer,
  destination: Buffer,
  target: Buffer,
  mac: Buffer,
): number {
  const end = at + OPTIONS + OPTION_BYTES;
  const answers = type === ADVERTISEMENT;
  out.fill(0, at, end);
  out[at] = 0x60;
  out.writeUInt16BE(end - at - IPV6_HEADER, at + 4);
  out[at + 6] = ICMPV6;
  out[at + 7] = HOP_LIMIT;
  source.copy(out, at + SOURCE);
  destination.copy(out, at + DESTINATION);
  out[at + ICMP] = type;
  if (answers) out[at + FLAGS] = SOLICITED;
  target.copy(out, at + TARGET);
  out[at + OPTIONS] = answers ? TARGET_MAC_OPTION : SOURCE_MAC_OPTION;
  out[at + OPTIONS + 1] = 1;
  mac.copy(out, at + OPTIONS + 2);
  out.writeUInt16BE(checksum(messageSum(out, at, end)), at + ICMP + 2);
  return end;
}
