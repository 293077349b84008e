import { isUtf8 } from "node:buffer";
import type { ContentRequest } from "../content.js";
import { textsIn } from "./binary.js";
import { percentEncode } from "./encode.js";
import type { HttpRequest } from "./modsecurity.js";

/**
 * Arguments in one HTTP request. Some readers in the library stop at a thousand (SecArgumentsLimit) and say nothing, so a
 * packet with more becomes several requests.
 */
const argumentsMax = 400;

/**
 * An MQTT packet as HTTP requests, one in nearly all cases; together they hold all of it. See README.md for the table.
 * `asJson` false: its payload is not what it looked like, so as text.
 */
export function httpRequests(request: ContentRequest, asJson = true): HttpRequest[] {
  const body = bodyOf(request, asJson);
  const queries = chunks([
    ...identity(request),
    ...request.topics.flatMap(topicArguments),
    ...body.arguments,
  ]);
  const topic = request.topics.length === 1 ? request.topics[0]! : "";
  const path = `/${percentEncode(topic, "/")}`;
  const headers: [string, string][] = [["Mqtt-Client-Id", request.clientId]];
  if (request.username !== undefined) headers.push(["Mqtt-User-Name", request.username]);
  if (request.contentType !== undefined) headers.push(["Mqtt-Content-Type", request.contentType]);
  const typed = body.type === undefined ? headers : [...headers, ["Content-Type", body.type] as const];
  return queries.map((query, index) => ({
    method: request.kind.toUpperCase(),
    uri: query.length === 0 ? path : `${path}?${query.join("&")}`,
    headers: index === 0 ? typed : headers,
    body: index === 0 ? body.bytes : nothing,
    peer: request.peer,
  }));
}

/** Whether the payload goes to the engine as JSON, which may then turn out not to be. */
export function looksLikeJson(payload: Buffer): boolean {
  const first = firstByte(payload);
  return first === 0x7b || first === 0x5b || first === 0x22;
}

interface Body {
  /** The engine's body processor goes by it. */
  readonly type: string | undefined;
  readonly bytes: Buffer;
  /** What of the payload stands in the query, encoded. */
  readonly arguments: readonly string[];
}

const nothing = Buffer.alloc(0);

function bodyOf({ payload, contentType }: ContentRequest, asJson: boolean): Body {
  if (payload.length === 0) return { type: undefined, bytes: nothing, arguments: [] };
  if (asJson && looksLikeJson(payload)) return { type: "application/json", bytes: payload, arguments: [] };
  const text = readable(payload) ? [argument("payload", withoutDeclaration(payload))] : [];
  const texts = isText(payload)
    ? text
    : [...text, ...textsIn(payload).map((found) => argument("text", found))];
  // What a subscriber takes as plain text must not get past as XML or a form, so these are judged as text besides.
  const declared = (contentType ?? "").replace(/;.*/s, "").trim().toLowerCase();
  if (/[/+]xml$/.test(declared) || xmlDeclaration.test(payload.toString("latin1", 0, 256))) {
    return { type: "application/xml", bytes: payload, arguments: texts };
  }
  if (declared === form || looksLikeForm(payload)) return { type: form, bytes: payload, arguments: texts };
  return { type: undefined, bytes: nothing, arguments: texts };
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
