import { isUtf8 } from "node:buffer";
import { malformed } from "./reason-code.js";

/** Largest Variable Byte Integer (MQTT 5, section 1.5.5). */
export const VARIABLE_MAX = 268_435_455;

/**
 * What a name (topic, filter, client identifier, user name) is refused for although it is UTF-8: control characters
 * and non-characters, which a receiver may treat as malformed (MQTT 5, section 1.5.4).
 */
const DISALLOWED = /[\p{Cc}\p{Noncharacter_Code_Point}]/u;

/**
 * Reads the fields of one packet one behind the other and refuses whatever is not exactly as the standard has it
 * (MQTT 5 and 3.1.1, section 1.5). Every method throws a PacketError 0x81 that names `what` it was to read.
 */
export class FieldReader {
  /**
   * @param at index of the next byte to read
   * @param end index after the last byte that belongs to what is read
   */
  constructor(
    readonly bytes: Buffer,
    public at: number,
    readonly end: number,
  ) {}

  get done(): boolean {
    return this.at === this.end;
  }

  byte(what: string): number {
    return this.bytes[this.skip(1, what)]!;
  }

  uint16(what: string): number {
    const at = this.skip(2, what);
    return (this.bytes[at]! << 8) | this.bytes[at + 1]!;
  }

  uint32(what: string): number {
    return this.bytes.readUInt32BE(this.skip(4, what));
  }

  /** A Variable Byte Integer in its shortest form (MQTT-1.5.5-1). */
  variable(what: string): number {
    let value = 0;
    for (let i = 0; i < 4; i++) {
      const byte = this.byte(what);
      value += (byte & 0x7f) * 128 ** i;
      if (byte < 0x80) {
        if (byte === 0 && i > 0) throw malformed(`${what} has more bytes than needed`);
        return value;
      }
    }
    throw malformed(`${what} has more than four bytes`);
  }

  /** Binary data; a view. */
  binary(what: string): Buffer {
    const length = this.uint16(what);
    const at = this.skip(length, what);
    return this.bytes.subarray(at, at + length);
  }

  /** A UTF-8 string without U+0000 (MQTT-1.5.4-1, -2). */
  text(what: string): string {
    const length = this.uint16(what);
    const at = this.skip(length, what);
    const text = this.bytes.toString("utf8", at, at + length);
    // Decoding turns what is no UTF-8 into U+FFFD; only then are the bytes themselves worth a look.
    if (text.includes("\ufffd") && !isUtf8(this.bytes.subarray(at, at + length))) {
      throw malformed(`${what} is not UTF-8`);
    }
    if (text.includes("\0")) throw malformed(`${what} holds U+0000`);
    return text;
  }

  /** A string without control characters. */
  name(what: string): string {
    const text = this.text(what);
    if (DISALLOWED.test(text)) throw malformed(`${what} holds a control character or non-character`);
    return text;
  }

  /** Nothing may be left. */
  finish(what: string): void {
    if (this.at !== this.end) throw malformed(`${this.end - this.at} bytes after the end of ${what}`);
  }

  private skip(length: number, what: string): number {
    const { at } = this;
    if (this.end - at < length) throw malformed(`${what} is missing or runs past the end`);
    this.at = at + length;
    return at;
  }
}
