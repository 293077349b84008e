import { isUtf8 } from "node:buffer";
import type { ContentRequest } from "../content.js";
import { textsIn } from "./binary.js";
import { percentEncode } from "./encode.js";
import { unescaped, valuesIn } from "./escapes.js";
import type { HttpRequest } from "./modsecurity.js";

/**
 * Arguments in one HTTP request. Some readers in the library stop at a thousand (SecArgumentsLimit) and say nothing, so a
 * packet with more becomes several requests.
 */
const argumentsMax = 400;

/**
 * An MQTT packet as HTTP requests, one in nearly all cases: one for each way to read its payload, so that nothing counts
 * twice in a score. The topic is an argument of the first. See README.md for the table.
 * `asJson` false: its payload is not what it looked like, so as text.
 */
export function httpRequests(request: ContentRequest, asJson = true): HttpRequest[] {
  const topic = request.topics.length === 1 ? request.topics[0]! : "";
  const path = `/${percentEncode(topic, "/")}`;
  const headers: [string, string][] = [["Mqtt-Client-Id", request.clientId]];
  if (request.username !== undefined) headers.push(["Mqtt-User-Name", request.username]);
  if (request.contentType !== undefined) headers.push(["Mqtt-Content-Type", request.contentType]);
  const names = [
    ...identity(request),
    ...request.topics.flatMap(topicArguments),
    ...propertyArguments(request),
  ];
  return readings(request, asJson).flatMap((reading, first) => {
    const queries = chunks([...(first === 0 ? names : []), ...reading.arguments]);
    return queries.map((query, index) => ({
      method: request.kind.toUpperCase(),
      uri: query.length === 0 ? path : `${path}?${query.join("&")}`,
      headers:
        index === 0 && reading.type !== undefined ? [...headers, ["Content-Type", reading.type]] : headers,
      body: index === 0 && reading.type !== undefined ? request.payload : nothing,
      peer: request.peer,
    }));
  });
}

/** Whether the payload goes to the engine as JSON, which may then turn out not to be. */
export function looksLikeJson(payload: Buffer): boolean {
  const first = firstByte(payload);
  return first === 0x7b || first === 0x5b || first === 0x22;
}

/** One way to read a payload. */
interface Reading {
  /** The payload is the body, and the engine's body processor goes by this type. */
  readonly type?: string;
  /** What of the payload stands in the query, encoded. */
  readonly arguments: readonly string[];
}

const nothing = Buffer.alloc(0);

function readings({ payload, contentType }: ContentRequest, asJson: boolean): Reading[] {
  if (payload.length === 0) return [{ arguments: [] }];
  if (asJson && looksLikeJson(payload)) return [{ type: "application/json", arguments: [] }];
  const found: Reading[] = [];
  // As text always where it can be: what a subscriber takes as plain text must not get past as something else.
  if (readable(payload)) found.push(...textReadings("payload", [withoutDeclaration(payload)]));
  if (!isText(payload)) found.push(...textReadings("text", textsIn(payload)));
  const declared = (contentType ?? "").replace(/;.*/s, "").trim().toLowerCase();
  if (/[/+]xml$/.test(declared) || xmlDeclaration.test(payload.toString("latin1", 0, 256))) {
    found.push({ type: "application/xml", arguments: [] });
  } else if (declared === form || looksLikeForm(payload)) found.push({ type: form, arguments: [] });
  return found;
}

/** Texts as they are and, where there is more to them, with their escapes read, and the values of JSON and XML in them. */
function textReadings(name: string, texts: readonly Buffer[]): Reading[] {
  const more = [texts.flatMap((text) => unescaped(text) ?? []), texts.flatMap(valuesIn)];
  return [texts, ...more.filter((found) => found.length > 0)].map((found) => ({
    arguments: found.map((text) => argument(name, text)),
  }));
}

const form = "application/x-www-form-urlencoded";

/** An XML declaration (XML 1.0, section 2.8) as it is always written: it tells the engine's HTML reader "attack". */
const xmlDeclaration = /^\s*<\?xml\s+version=(["'])1\.\d\1(?:\s+\w+=(["'])[\w.-]+\2)*\s*\?>/;

function withoutDeclaration(payload: Buffer): Buffer {
  const found = xmlDeclaration.exec(payload.toString("latin1", 0, 256));
  return found === null ? payload : payload.subarray(found[0].length);
}

/** `name=value`, several of them with & between; few enough that the library reads them all. */
function looksLikeForm(payload: Buffer): boolean {
  if (payload.length > 8192) return false;
  const pairs = payload.toString("latin1").split("&");
  return pairs.length <= argumentsMax && pairs.every((pair) => /^[\w.%+[\]-]+=/.test(pair));
}

/** At CONNECT the names are judged like any input; afterwards they are headers alone, for rules that ask for them. */
function identity(request: ContentRequest): string[] {
  if (request.kind !== "connect") return [];
  const named = [argument("client_id", request.clientId)];
  if (request.username !== undefined) named.push(argument("user_name", request.username));
  return named;
}

/** A topic, and those of its levels that are more than a name: some rules know a text by its beginning. */
function topicArguments(topic: string): string[] {
  const levels = topic.split("/");
  const telling = levels.length === 1 ? [] : levels.filter((level) => !/^[\w.:$+#-]*$/.test(level));
  return [topic, ...telling].map((text) => argument("topic", text));
}

/** A Content Type that is one (RFC 9110, section 8.3.1) is left to the header. */
function propertyArguments({ properties, contentType }: ContentRequest): string[] {
  const named = properties.map(([name, value]) => argument(`property.${percentEncode(name)}`, value));
  const isType = contentType === undefined || /^[\w.+-]+\/[\w.+-]+(?:; ?[\w-]+=[\w.-]+)*$/.test(contentType);
  return isType ? named : [...named, argument("content_type", contentType)];
}

function argument(name: string, value: string | Buffer): string {
  return `${name}=${percentEncode(value)}`;
}

function chunks(items: readonly string[]): string[][] {
  const result: string[][] = [];
  for (let i = 0; i < items.length; i += argumentsMax) result.push(items.slice(i, i + argumentsMax));
  return result.length === 0 ? [[]] : result;
}

function firstByte(payload: Buffer): number | undefined {
  return payload.find((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d);
}

function isControl(byte: number): boolean {
  return (byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) || byte === 0x7f;
}

/** UTF-8 without control characters but white space. */
export function isText(payload: Buffer): boolean {
  return isUtf8(payload) && !payload.some(isControl);
}

/** Worth judging as one text: UTF-8, or nine bytes in ten are printable ASCII (text in an older code page). */
export function readable(payload: Buffer): boolean {
  if (isUtf8(payload)) return true;
  let printable = 0;
  for (const byte of payload) if (byte < 0x80 && !isControl(byte)) printable += 1;
  return printable * 10 >= payload.length * 9;
}
