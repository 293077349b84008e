/** Longest topic name or filter in UTF-8 bytes: strings carry a two-byte length (MQTT-1.5.3, MQTT-4.7.3-3). */
export const MAX_NAME_BYTES = 65_535;

const NUL = 0x00;
const HASH = 0x23;
const PLUS = 0x2b;
const SLASH = 0x2f;

/**
 * Why `topic` is not a valid topic name, as half a sentence ("holds the wildcard +"), or undefined when it is valid.
 * A topic name has at least one character (MQTT-4.7.3-1), no U+0000 (MQTT-4.7.3-2), at most 65,535 bytes of UTF-8
 * (MQTT-4.7.3-3), no wildcard (MQTT-4.7.1-1) and no half of a surrogate pair (MQTT-1.5.3-1).
 */
export function topicError(topic: string): string | undefined {
  if (topic.length === 0) return "is empty";
  for (let i = 0; i < topic.length; i++) {
    const code = topic.charCodeAt(i);
    if (code === HASH) return "holds the wildcard #";
    if (code === PLUS) return "holds the wildcard +";
    if (code === NUL) return "holds the character U+0000";
    if (code >= 0xd800 && code <= 0xdfff) {
      if (!isSurrogatePair(topic, i)) return "holds half of a surrogate pair";
      i += 1;
    }
  }
  return lengthError(topic);
}

/**
 * Why `filter` is not a valid topic filter, or undefined when it is valid. Beside the rules for names, `#` stands
 * alone in the last level (MQTT-4.7.1-2) and `+` alone in any level (MQTT-4.7.1-3).
 */
export function filterError(filter: string): string | undefined {
  const length = filter.length;
  if (length === 0) return "is empty";
  for (let i = 0; i < length; i++) {
    const code = filter.charCodeAt(i);
    if (code === HASH || code === PLUS) {
      const begins = i === 0 || filter.charCodeAt(i - 1) === SLASH;
      if (code === HASH && (!begins || i !== length - 1)) return "holds # that is not the whole last level";
      const ends = i === length - 1 || filter.charCodeAt(i + 1) === SLASH;
      if (!begins || !ends) return "holds + that is not a whole level";
    } else if (code === NUL) {
      return "holds the character U+0000";
    } else if (code >= 0xd800 && code <= 0xdfff) {
      if (!isSurrogatePair(filter, i)) return "holds half of a surrogate pair";
      i += 1;
    }
  }
  return lengthError(filter);
}

/** Number of levels of a topic name or filter: separators plus one. */
export function levelCount(name: string): number {
  let levels = 1;
  for (let i = name.indexOf("/"); i !== -1; i = name.indexOf("/", i + 1)) levels += 1;
  return levels;
}

function isSurrogatePair(text: string, at: number): boolean {
  const high = text.charCodeAt(at);
  const low = text.charCodeAt(at + 1);
  return high <= 0xdbff && low >= 0xdc00 && low <= 0xdfff;
}

function lengthError(name: string): string | undefined {
  // A UTF-16 unit takes at most three bytes of UTF-8, so that short names need no counting.
  if (name.length * 3 <= MAX_NAME_BYTES || Buffer.byteLength(name) <= MAX_NAME_BYTES) return undefined;
  return `is longer than ${MAX_NAME_BYTES} bytes`;
}

const SHARE = "$share/";

/** Whether a filter, as clients give it, is of a shared subscription (MQTT 5, section 4.8.2). */
export function isShared(filter: string): boolean {
  return filter.startsWith(SHARE);
}

/** The filter without `$share/NAME/`. */
export function topicFilterOf(filter: string): string {
  return isShared(filter) ? filter.slice(filter.indexOf("/", SHARE.length) + 1) : filter;
}
