import { formatIPv6, parseIPv6 } from "@topicast/protocol";
import dns from "dns-packet";
import type { Row } from "../tables/schema.js";

/** DNS messages (RFC 1035) by dns-packet, a row for each question and record. */

type Decoded = ReturnType<typeof dns.decode> & { rcode?: string };
export type DnsRow = Pick<
  Row<"dns">,
  "id" | "is_response" | "rcode" | "section" | "question" | "name" | "type" | "ttl" | "data"
>;

/** Never throws: what is wrong is returned as text. */
export function decodeDns(bytes: Buffer): DnsRow[] | string {
  let message: Decoded;
  try {
    message = dns.decode(bytes);
  } catch (error) {
    return (error as Error).message;
  }
  const isResponse = message.type === "response";
  const common = {
    id: message.id ?? 0,
    is_response: isResponse,
    rcode: isResponse ? message.rcode : undefined,
    question: message.questions?.[0]?.name,
  };
  const rows: DnsRow[] = (message.questions ?? []).map(({ name, type }) => ({
    ...common,
    section: "question",
    name,
    type,
  }));
  for (const [section, records] of [
    ["answer", message.answers],
    ["authority", message.authorities],
    ["additional", message.additionals],
  ] as const) {
    for (const record of records ?? []) {
      const { name, type } = record;
      const ttl = "ttl" in record && typeof record.ttl === "number" ? record.ttl : undefined;
      rows.push({
        ...common,
        section,
        name,
        type,
        ttl,
        data: "data" in record ? text(type, record.data) : undefined,
      });
    }
  }
  return rows;
}

/** An IPv6 address as everywhere here (RFC 5952): dns-packet shortens another run of zeros where there are several. */
function text(type: string, data: unknown): string {
  if (typeof data !== "string") return JSON.stringify(data);
  const address = type === "AAAA" ? parseIPv6(data) : undefined;
  return address === undefined ? data : formatIPv6(address);
}
