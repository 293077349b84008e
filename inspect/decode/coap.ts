/**
 * CoAP (RFC 7252, 7641, 7959, 8132) over UDP. Written here because an onlooker needs what stands before a mistake, and
 * every mistake named: the npm package coap-packet takes tokens and options that run past the end for good ones.
 */

const TYPES = ["CON", "NON", "ACK", "RST"] as const;
const METHODS = ["", "GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH"] as const;

export const Option = {
  URI_HOST: 3,
  OBSERVE: 6,
  LOCATION_PATH: 8,
  URI_PATH: 11,
  CONTENT_FORMAT: 12,
  URI_QUERY: 15,
  BLOCK2: 23,
  BLOCK1: 27,
} as const;

type Format = "text" | "uint" | "opaque" | "empty";
const OPTIONS = new Map<number, readonly [name: string, format: Format]>([
  [1, ["If-Match", "opaque"]],
  [3, ["Uri-Host", "text"]],
  [4, ["ETag", "opaque"]],
  [5, ["If-None-Match", "empty"]],
  [6, ["Observe", "uint"]],
  [7, ["Uri-Port", "uint"]],
  [8, ["Location-Path", "text"]],
  [9, ["OSCORE", "opaque"]],
  [11, ["Uri-Path", "text"]],
  [12, ["Content-Format", "uint"]],
  [14, ["Max-Age", "uint"]],
  [15, ["Uri-Query", "text"]],
  [16, ["Hop-Limit", "uint"]],
  [17, ["Accept", "uint"]],
  [20, ["Location-Query", "text"]],
  [23, ["Block2", "uint"]],
  [27, ["Block1", "uint"]],
  [28, ["Size2", "uint"]],
  [35, ["Proxy-Uri", "text"]],
  [39, ["Proxy-Scheme", "text"]],
  [60, ["Size1", "uint"]],
  [252, ["Echo", "opaque"]],
  [258, ["No-Response", "uint"]],
  [292, ["Request-Tag", "opaque"]],
]);

export interface CoapMessage {
  type: string;
  code: string;
  isRequest: boolean;
  isResponse: boolean;
  messageId: number;
  token: string;
  options: { number: number; value: Buffer }[];
  payload: Buffer | undefined;
  problems: string[];
}

/** Whether a datagram may be CoAP at all: version 1, a token length that exists. */
export function looksLikeCoap(bytes: Buffer): boolean {
  return bytes.length >= 4 && bytes[0]! >> 6 === 1 && (bytes[0]! & 15) <= 8;
}

/** Decodes one datagram. Never throws. Undefined where it is shorter than CoAP's header. */
export function decodeCoap(bytes: Buffer): CoapMessage | undefined {
  if (bytes.length < 4) return undefined;
  const first = bytes[0]!;
  const code = bytes[1]!;
  const [codeClass, detail] = [code >> 5, code & 31];
  const message: CoapMessage = {
    type: TYPES[(first >> 4) & 3]!,
    code: codeName(code),
    isRequest: codeClass === 0 && detail > 0,
    isResponse: codeClass >= 2 && codeClass <= 5,
    messageId: bytes.readUInt16BE(2),
    token: "",
    options: [],
    payload: undefined,
    problems: [],
  };
  const { problems } = message;
  if (first >> 6 !== 1) problems.push(`version ${first >> 6}`);
  const tokenLength = first & 15;
  if (tokenLength > 8) problems.push(`token length ${tokenLength}`);
  else if (4 + tokenLength > bytes.length) problems.push("token runs past the end");
  else {
    message.token = bytes.toString("hex", 4, 4 + tokenLength);
    if (code === 0 && bytes.length > 4) problems.push("empty message with more than a header");
    readOptions(bytes, 4 + tokenLength, message);
  }
  if (codeClass === 1 || codeClass > 5) problems.push(`code class ${codeClass} is reserved`);
  return message;
}

function codeName(code: number): string {
  const method = code > 0 && code < METHODS.length ? METHODS[code] : undefined;
  return method ?? `${code >> 5}.${String(code & 31).padStart(2, "0")}`;
}

function readOptions(bytes: Buffer, start: number, message: CoapMessage): void {
  let number = 0;
  let at = start;
  while (at < bytes.length) {
    const first = bytes[at++]!;
    if (first === 0xff) {
      if (at === bytes.length) message.problems.push("payload marker without a payload");
      message.payload = bytes.subarray(at);
      return;
    }
    const delta = extended(first >> 4, bytes, at);
    at += extraBytes(first >> 4);
    const length = extended(first & 15, bytes, at);
    at += extraBytes(first & 15);
    if (delta === undefined || length === undefined || at + length > bytes.length) {
      const isReserved = first >> 4 === 15 || (first & 15) === 15;
      message.problems.push(isReserved ? "reserved option delta or length 15" : "option runs past the end");
      return;
    }
    number += delta;
    const value = bytes.subarray(at, at + length);
    if (OPTIONS.get(number)?.[1] === "uint" && length > 4)
      message.problems.push(`option ${number} of ${length} bytes`);
    message.options.push({ number, value });
    at += length;
  }
}

function extraBytes(nibble: number): number {
  return nibble === 13 ? 1 : nibble === 14 ? 2 : 0;
}

/** RFC 7252 section 3.1. */
function extended(nibble: number, bytes: Buffer, at: number): number | undefined {
  if (nibble < 13) return nibble;
  if (nibble === 15 || at + extraBytes(nibble) > bytes.length) return undefined;
  return nibble === 13 ? bytes[at]! + 13 : bytes.readUInt16BE(at) + 269;
}

/** The texts of all options of one number. */
export function textsOf(message: CoapMessage, number: number): string[] {
  return message.options
    .filter((option) => option.number === number)
    .map(({ value }) => value.toString("utf8"));
}

/** The value of an option that is a number; undefined where it is not there. */
export function uintOf(message: CoapMessage, number: number): number | undefined {
  const option = message.options.find((each) => each.number === number);
  if (option === undefined || option.value.length > 4) return undefined;
  return option.value.length === 0 ? 0 : option.value.readUIntBE(0, option.value.length);
}

/** `number/more/size` of a block option (RFC 7959 section 2.2). */
export function blockOf(message: CoapMessage, number: number): string | undefined {
  const value = uintOf(message, number);
  if (value === undefined) return undefined;
  return `${value >>> 4}/${(value & 8) !== 0 ? 1 : 0}/${2 ** ((value & 7) + 4)}`;
}

/** All options in order, named where they have a name. */
export function optionsJson(message: CoapMessage): string | undefined {
  if (message.options.length === 0) return undefined;
  return JSON.stringify(
    message.options.map(({ number, value }) => {
      const [name, format] = OPTIONS.get(number) ?? [String(number), "opaque"];
      if (format === "text") return [name, value.toString("utf8")];
      if (format === "uint" && value.length <= 4) {
        return [name, value.length === 0 ? 0 : value.readUIntBE(0, value.length)];
      }
      return [name, value.toString("hex")];
    }),
  );
}
