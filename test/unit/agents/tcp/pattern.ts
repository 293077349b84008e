/** The byte at `position` of the test stream: a misplaced or lost byte shows. */
export function patternAt(position: number): number {
  return (position * 31 + (position >> 8) * 7) & 0xff;
}

/** Bytes `[from, from + length)` of the test stream. */
export function pattern(from: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = patternAt(from + i);
  return bytes;
}
