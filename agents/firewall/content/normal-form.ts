import { isUtf8 } from "node:buffer";
import { textsIn } from "./binary.js";
import { isText, looksLikeJson, readable } from "./mapping.js";

/**
 * What of a payload a verdict can depend on: payloads with the same normal form have the same verdict.
 *
 * A (small) binary payload is judged by the texts in it (mapping.ts), so those are its normal form, whatever the rules. With
 * `inert` what no rule of the families in use matches counts for nothing besides: JSON's numbers, and strings that hold
 * nothing but a number or a point in time. That holds for CRS alone and to paranoia level 2 (above, rules count special
 * characters): the differential test asks the engine itself.
 */
export function normalForm(payload: Buffer, inert: boolean): Buffer {
  if (payload.length > scannedMax) return payload;
  if (inert) {
    if (isInert(payload, 0, payload.length)) return number;
    const form = looksLikeJson(payload) && isUtf8(payload) ? jsonForm(payload) : undefined;
    if (form !== undefined) return form;
  }
  if (looksLikeJson(payload) || isText(payload) || readable(payload)) return payload;
  return Buffer.concat(textsIn(payload).flatMap((text) => [separator, text]));
}

/** Above this (in bytes) a payload goes by what it is: the scan is for small messages that come often, and is the agent's work. */
const scannedMax = 4096;
const separator = Buffer.from([0]);
const number = Buffer.from("0");

const numberOrTime =
  /^(?:-?(?:0|[1-9]\d{0,19})(?:\.\d{1,20})?(?:[eE][+-]?\d{1,2})?|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?)$/;

/** Around 2^31 and 2^32: 942220 looks for these, and for numbers with leading zeros or great exponents, to the last digit. */
const overflow = /^-?(?:214748364\d|429496729\d)$/;

function isInertText(text: string): boolean {
  return numberOrTime.test(text) && !overflow.test(text);
}

function isInert(data: Buffer, start: number, end: number): boolean {
  if (end - start > 40) return false;
  // Most strings are told by their first byte.
  const first = data[start];
  if (first === undefined || !(first === minus || isDigit(first))) return false;
  return isInertText(data.toString("latin1", start, end));
}

/** RFC 8259, section 6. */
const jsonNumber = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** Nesting and values beyond which the engine's parser might refuse what this one takes. */
const depthMax = 32;
const valuesMax = 500;

const quote = 0x22;
const backslash = 0x5c;
const minus = 0x2d;
const comma = 0x2c;
const colon = 0x3a;

/**
 * JSON without white space, each inert value as 0 (strings in their quotes); undefined where it is not JSON (RFC 8259), strictly,
 * so that the engine's parser takes all that this one does. What is not JSON is judged as text, where numbers count.
 */
function jsonForm(data: Buffer): Buffer | undefined {
  const out: string[] = [];
  let at = 0;
  let values = 0;

  const space = () => {
    while (data[at] === 0x20 || data[at] === 0x0a || data[at] === 0x0d || data[at] === 0x09) at += 1;
  };
  /** The end of the string whose opening quote is at `at`, or -1. */
  const stringEnd = (): number => {
    for (let i = at + 1; i < data.length; i++) {
      const byte = data[i]!;
      if (byte === quote) return i + 1;
      if (byte < 0x20) return -1;
      if (byte === backslash) i += 1;
    }
    return -1;
  };
  const string = (isValue: boolean): boolean => {
    const end = stringEnd();
    if (end === -1) return false;
    out.push(isValue && isInert(data, at + 1, end - 1) ? '"0"' : data.toString("latin1", at, end));
    at = end;
    return true;
  };
  const scalar = (): boolean => {
    let end = at;
    while (end < data.length && isScalarByte(data[end]!)) end += 1;
    const word = data.toString("latin1", at, end);
    if (word === "true" || word === "false" || word === "null") out.push(word);
    else if (word.length <= 40 && jsonNumber.test(word)) out.push(isInertText(word) ? "0" : word);
    else return false;
    at = end;
    return true;
  };
  /** What stands between brackets: members or elements, with commas. */
  const items = (close: number, depth: number): boolean => {
    at += 1;
    space();
    if (data[at] === close) {
      at += 1;
      return true;
    }
    for (;;) {
      if (close === 0x7d) {
        if (data[at] !== quote || !string(false)) return false;
        space();
        if (data[at++] !== colon) return false;
        out.push(":");
      }
      if (!value(depth + 1)) return false;
      space();
      const next = data[at++];
      if (next === close) return true;
      if (next !== comma) return false;
      out.push(",");
      space();
    }
  };
  const value = (depth: number): boolean => {
    if (depth > depthMax || ++values > valuesMax) return false;
    space();
    const first = data[at];
    if (first === quote) return string(true);
    if (first !== 0x7b && first !== 0x5b) return scalar();
    out.push(first === 0x7b ? "{" : "[");
    if (!items(first + 2, depth)) return false;
    out.push(first === 0x7b ? "}" : "]");
    return true;
  };

  if (!value(0)) return undefined;
  space();
  return at === data.length ? Buffer.from(out.join(""), "latin1") : undefined;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** Letters, digits, sign and point. */
function isScalarByte(byte: number): boolean {
  return (
    isDigit(byte) ||
    (byte >= 0x61 && byte <= 0x7a) ||
    byte === 0x45 ||
    byte === minus ||
    byte === 0x2b ||
    byte === 0x2e
  );
}
