import { isUtf8 } from "node:buffer";

/** Nested deeper than this, a message is taken as bytes. */
const depthMax = 8;

/**
 * The strings of a payload that can be read as a Protocol Buffers message (wire types 0, 1, 2 and 5 of the encoding;
 * groups are long out of use); undefined where it cannot. Without the schema a string and a message within look alike: what is UTF-8
 * counts as a string, and what can be read as a message is looked into besides.
 */
export function protobufTexts(payload: Buffer): Buffer[] | undefined {
  return message(payload, 0);
}

function message(data: Buffer, depth: number): Buffer[] | undefined {
  const found: Buffer[] = [];
  let at = 0;
  /** A varint of at most ten bytes. Exact below 2^53, which is more than any length here. */
  const varint = (): number | undefined => {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      const byte = data[at++];
      if (byte === undefined) return undefined;
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) return value;
    }
    return undefined;
  };
  while (at < data.length) {
    const key = varint();
    if (key === undefined || key < 8) return undefined;
    const type = key % 8;
    if (type === 0) {
      if (varint() === undefined) return undefined;
    } else if (type === 1) at += 8;
    else if (type === 5) at += 4;
    else if (type === 2) {
      const length = varint();
      if (length === undefined || length > data.length - at) return undefined;
      const field = data.subarray(at, at + length);
      at += length;
      if (isUtf8(field)) found.push(field);
      if (depth < depthMax) for (const text of message(field, depth + 1) ?? []) found.push(text);
    } else return undefined;
  }
  return at === data.length ? found : undefined;
}
