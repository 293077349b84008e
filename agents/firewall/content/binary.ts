import { isUtf8 } from "node:buffer";
import { cborTexts } from "./cbor.js";
import { protobufTexts } from "./protobuf.js";

/** Shorter texts hold no injection that a rule of CRS would find, and random bytes are full of them. */
const textMin = 4;

/**
 * The texts in a binary payload: CBOR's and Protocol Buffers' strings where the payload can be read as such, and in any
 * case every run of printable characters (as strings(1) finds them; MessagePack's strings, for one, are such). Both,
 * because a payload may be made to be read in two ways. Each text once, in order of appearance.
 */
export function textsIn(payload: Buffer): Buffer[] {
  const found = new Map<string, Buffer>();
  for (const texts of [cborTexts(payload), protobufTexts(payload), runs(payload)]) {
    for (const text of texts ?? []) {
      if (text.length >= textMin) found.set(text.toString("latin1"), text);
    }
  }
  return [...found.values()];
}

/** Printable ASCII and white space, with what is valid UTF-8 between. */
function runs(payload: Buffer): Buffer[] {
  const found: Buffer[] = [];
  let start = 0;
  for (let at = 0; at <= payload.length; ) {
    const length = at < payload.length ? characterAt(payload, at) : 0;
    if (length === 0) {
      if (at > start) found.push(payload.subarray(start, at));
      at += 1;
      start = at;
    } else at += length;
  }
  return found;
}

/** Bytes of the printable character at `at`, 0 where there is none. */
function characterAt(payload: Buffer, at: number): number {
  const byte = payload[at]!;
  if (byte < 0x80)
    return (byte >= 0x20 && byte !== 0x7f) || byte === 0x09 || byte === 0x0a || byte === 0x0d ? 1 : 0;
  const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
  return byte >= 0xc2 &&
    byte < 0xf5 &&
    at + length <= payload.length &&
    isUtf8(payload.subarray(at, at + length))
    ? length
    : 0;
}
