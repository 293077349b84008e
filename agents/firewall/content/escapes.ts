/**
 * Characters as JSON, JavaScript, XML and HTML may write them (RFC 8259, section 7; XML 1.0, sections 4.1 and 4.6): `\u0027`,
 * `\u{27}`, `\x27`, `&#39;`, `&#x27;`, `&apos;`.
 */
const character =
  /\\u([\da-f]{4})|\\u\{([\da-f]{1,6})\}|\\x([\da-f]{2})|&#x([\da-f]{1,6});|&#(\d{1,7});|&(amp|apos|gt|lt|quot);/gi;

const named: Readonly<Record<string, number>> = { amp: 0x26, apos: 0x27, gt: 0x3e, lt: 0x3c, quot: 0x22 };

/** A text as it is once its escapes are read, which the engine does only in what it takes as JSON or XML; undefined: there are none. */
export function unescaped(text: Buffer): Buffer | undefined {
  // One character a byte, so that text which is no UTF-8 stays as it is.
  const written = text.toString("latin1");
  const read = written.replace(character, (whole, ...found: (string | undefined)[]) => {
    const [u, braced, x, hex, decimal, name] = found;
    const code = named[name?.toLowerCase() ?? ""] ?? Number(decimal ?? `0x${u ?? braced ?? x ?? hex}`);
    return code > 0x10ffff ? whole : Buffer.from(String.fromCodePoint(code)).toString("latin1");
  });
  return read === written ? undefined : Buffer.from(read, "latin1");
}

/** Strings in double quotes, as JSON writes them, and what stands between XML's tags; what lacks its end goes to the text's. */
const member = /"([^"\\]*(?:\\.[^"\\]*)*)"?|>([^<>]+)/gs;

/** Shorter ones hold no injection that a rule of CRS would find. */
const memberMin = 4;

/**
 * The values in a text that has JSON or XML in it and is neither as a whole, each once, with its escapes read: some rules know
 * a value by its beginning.
 */
export function valuesIn(text: Buffer): Buffer[] {
  const written = text.toString("latin1");
  if (!/[{[<]/.test(written)) return [];
  const found = new Map<string, Buffer>();
  for (const [, quoted, between] of written.matchAll(member)) {
    const value = (quoted ?? between)!;
    const bytes = Buffer.from(value, "latin1");
    if (value.trim().length >= memberMin) found.set(value, unescaped(bytes) ?? bytes);
  }
  return [...found.values()];
}
