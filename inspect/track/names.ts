import type { DnsRow } from "../decode/dns.js";
import { Recent } from "../recent.js";

/** Addresses whose names are kept; beyond it the ones learnt first are forgotten. */
const MAX_NAMES = 65_536;

/**
 * What addresses are called: the name that was asked for (an alias's, where the answer goes on with CNAME), last heard.
 * A row whose address gets its name only later is filled in then by `await`.
 */
export class Names {
  private readonly names = new Recent<string, string>(MAX_NAMES);

  onMessage(rows: readonly DnsRow[]): void {
    for (const { section, type, name, question, data } of rows) {
      if (section !== "answer" && section !== "additional") continue;
      if ((type !== "A" && type !== "AAAA") || typeof data !== "string") continue;
      const called = section === "answer" ? (question ?? name) : name;
      if (called === undefined) continue;
      this.names.set(data.toLowerCase(), called.toLowerCase());
    }
  }

  of(address: string): string | undefined {
    return this.names.get(address);
  }
}
