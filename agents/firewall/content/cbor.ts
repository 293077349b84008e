/** Nested deeper than this is not read as CBOR. */
const depthMax = 16;

/** Major types (RFC 8949, section 3.1). */
const negative = 1;
const bytes = 2;
const text = 3;
const array = 4;
const map = 5;
const tag = 6;

/**
 * The text and byte strings of a payload that is one well-formed CBOR data item or several back to back (RFC 8949, RFC 8742);
 * undefined where it is not. The pieces of a string of indefinite length come as one.
 */
export function cborTexts(payload: Buffer): Buffer[] | undefined {
  const reader = new Reader(payload);
  while (reader.at < payload.length) if (!reader.item(0)) return undefined;
  return reader.found;
}

class Reader {
  at = 0;
  readonly found: Buffer[] = [];

  constructor(private readonly data: Buffer) {}

  /** Reads one data item; false where there is none. */
  item(depth: number): boolean {
    const initial = this.data[this.at++];
    if (initial === undefined || depth > depthMax) return false;
    const major = initial >> 5;
    const info = initial & 0x1f;
    if (info === 31) return this.indefinite(major, depth);
    const value = this.argument(info);
    if (value === undefined) return false;
    if (major <= negative) return true;
    if (major === bytes || major === text) {
      const piece = this.take(value);
      if (piece !== undefined) this.found.push(piece);
      return piece !== undefined;
    }
    if (major === tag) return this.item(depth + 1);
    if (major === array) return this.items(value, depth);
    if (major === map) return this.items(value * 2, depth);
    return true;
  }

  private items(count: number, depth: number): boolean {
    for (let i = 0; i < count; i++) if (!this.item(depth + 1)) return false;
    return true;
  }

  private indefinite(major: number, depth: number): boolean {
    if (major === bytes || major === text) return this.pieces(major);
    if (major !== array && major !== map) return false;
    for (let count = 0; ; count++) {
      if (this.data[this.at] === 0xff) {
        this.at += 1;
        return major === array || count % 2 === 0;
      }
      if (!this.item(depth + 1)) return false;
    }
  }

  private pieces(major: number): boolean {
    const parts: Buffer[] = [];
    for (;;) {
      const initial = this.data[this.at++];
      if (initial === 0xff) break;
      if (initial === undefined || initial >> 5 !== major) return false;
      const length = this.argument(initial & 0x1f);
      const piece = length === undefined ? undefined : this.take(length);
      if (piece === undefined) return false;
      parts.push(piece);
    }
    this.found.push(Buffer.concat(parts));
    return true;
  }

  private take(length: number): Buffer | undefined {
    if (length > this.data.length - this.at) return undefined;
    this.at += length;
    return this.data.subarray(this.at - length, this.at);
  }

  /** The argument after an initial byte: in it, or in the next 1, 2, 4 or 8 bytes. */
  private argument(info: number): number | undefined {
    if (info < 24) return info;
    if (info > 27) return undefined;
    const size = 1 << (info - 24);
    const start = this.at;
    if (size > this.data.length - start) return undefined;
    this.at += size;
    return size === 8 ? Number(this.data.readBigUInt64BE(start)) : this.data.readUIntBE(start, size);
  }
}
