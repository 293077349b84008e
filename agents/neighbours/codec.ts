/** What a sound frame says. Addresses as the hexadecimal text of their bytes. */
export interface Reading {
  /** A machine has this address, or is about to have it. */
  readonly owned?: string;
  /** Somebody wants to know who has this address, and may be answered. */
  readonly asked?: string;
}

/** A protocol by which stations find the MAC address of an IP address. Its frames keep their VLAN tags. */
export interface NeighbourCodec {
  /** Whether a frame is one of this protocol's, sound or not. */
  takes(frame: Buffer, length: number): boolean;
  /**
   * Reads a frame that it takes; undefined where it is not sound. What this station itself has sent says nothing.
   *
   * @param mac this station's
   */
  read(frame: Buffer, length: number, mac: Buffer): Reading | undefined;
  /** Writes the answer to a sound request: the address that was asked for is at `mac`. Returns its length. */
  writeAnswer(request: Buffer, length: number, mac: Buffer, out: Buffer): number;
  /** Writes a question for `address` to all stations that only its owner answers, untagged. Returns its length. */
  writeProbe(address: Buffer, mac: Buffer, out: Buffer): number;
}

/** Whether the frame goes to many stations, not to this one alone. */
export function isToMany(frame: Buffer): boolean {
  return (frame[0]! & 1) !== 0;
}
