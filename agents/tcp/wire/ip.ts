/**
 * What frame.ts, path.ts and the rooms above need to know of IP, whichever version: each is one constant object, `IPV4`
 * and `IPV6`, found by EtherType once per frame and kept in each path.
 */

/** A key for an address: IPv4 as a signed 32-bit integer, IPv6 as its 16 bytes, one character (latin1) each. */
export type Address = number | string;

export const PROTOCOL_TCP = 6;
/** Time to live, hop limit. */
export const TTL = 64;

/** Why a datagram was not taken in. */
export type IpFault =
  | "drop_truncated"
  | "drop_ip_header"
  | "drop_ip_checksum"
  | "drop_ip_extension"
  | "drop_jumbogram";

/** Where the parts of a datagram stand in its frame; what `IpVersion.parse` fills in. */
export interface Datagram {
  /** Offset of the IP header; given. */
  ipAt: number;
  /** What the payload is, by the last header in front of it. */
  protocol: number;
  /** Payload behind all headers that were understood. Of a fragment: its piece of the datagram's payload. */
  payloadAt: number;
  end: number;
  /** One of several. A fragment that is all of its datagram (RFC 6946) is none. */
  isFragment: boolean;
  /** Of a fragment in IPv6: offset of the field that names the fragment header. */
  nextHeaderAt: number;
}

/** A fragment's place; `offset` in bytes. */
export interface FragmentPlace {
  readonly identification: number;
  readonly offset: number;
  readonly more: boolean;
}

export interface IpVersion {
  readonly etherType: number;
  /** Of the header that we write. */
  readonly headerLength: number;
  /** Offset of the source address in the header; the destination address follows it. */
  readonly addressesAt: number;
  readonly addressLength: number;
  /** ICMP's protocol number. */
  readonly icmp: number;
  /** Largest segment that every host takes (RFC 9293 section 3.7.1). */
  readonly defaultMss: number;
  /** A path's MTU is never taken to be smaller. */
  readonly minMtu: number;

  /** Takes the header at `into.ipAt` apart, in a frame of `length` bytes. */
  parse(bytes: Buffer, length: number, into: Datagram): IpFault | undefined;
  readAddress(bytes: Buffer, at: number): Address;
  /** Whether one host may have this address. Anything else as a source must not be answered. */
  isUnicast(address: Address): boolean;
  formatAddress(address: Address): string;

  /** Writes a header without addresses, whose length and checksum are still 0. */
  writeTemplate(out: Buffer, at: number): void;
  /** Completes a header whose words gave the unfolded sum `templateSum`; `total` is header and payload. */
  finish(out: Buffer, at: number, total: number, templateSum: number): void;

  /** Where a fragment belongs. */
  readFragment(bytes: Buffer, fragment: Datagram): FragmentPlace;
  /** The frame up to the payload as it was before it was cut, but for what `finish` does; of the first fragment. */
  uncutHeader(bytes: Buffer, first: Datagram): Buffer;
}

/** Writes an address's 4 or 16 bytes. */
export function writeAddress(out: Buffer, at: number, address: Address): void {
  if (typeof address === "number") out.writeInt32BE(address, at);
  else out.write(address, at, "latin1");
}
