/** Which bytes stand for themselves in a URI's path and query (RFC 3986, section 2.3). */
const unreserved = new Set(Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"));
const encoded = Array.from({ length: 256 }, (_, byte) =>
  unreserved.has(byte) ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`,
);

/** Percent-encodes bytes, any of them (RFC 3986, section 2.1). `keep`: a character that stands for itself besides. */
export function percentEncode(data: string | Buffer, keep = ""): string {
  const bytes = typeof data === "string" ? Buffer.from(data) : data;
  let text = "";
  for (const byte of bytes) text += byte === keep.charCodeAt(0) ? keep : encoded[byte]!;
  return text;
}
