/** Bytes that a Variable Byte Integer takes (MQTT 5, section 1.5.5). */
export function variableSize(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4;
}

/** Writes a Variable Byte Integer; returns the index after it. */
export function writeVariable(bytes: Buffer, at: number, value: number): number {
  while (value >= 0x80) {
    bytes[at++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  bytes[at++] = value;
  return at;
}

/**
 * Size of the packet at `at`, fixed header included; 0 while its length is not there whole, -1 where the length has
 * more than four bytes (MQTT-1.5.5-1).
 */
export function packetSize(bytes: Buffer, at: number, end: number): number {
  let length = 0;
  for (let i = 1; i <= 4; i++) {
    if (at + i >= end) return 0;
    const byte = bytes[at + i]!;
    length += (byte & 0x7f) << (7 * (i - 1));
    if (byte < 0x80) return 1 + i + length;
  }
  return -1;
}

/** Index of the first byte after the fixed header of the whole packet at `at`. */
export function bodyStart(bytes: Buffer, at = 0): number {
  at += 1;
  while (bytes[at]! >= 0x80) at += 1;
  return at + 1;
}
