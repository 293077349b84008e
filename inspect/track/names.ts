import type { DnsRow } from "../decode/dns.js";
import { Recent } from "../recent.js";

/** Addresses whose names are kept; beyond it the ones learnt first are forgotten. */
const MAX_NAMES = 65_536;

/**
 * What addresses are called: the name that was asked for (an alias's, where the answer goes on with CNAME), last heard.
 * A row whose address gets its name only later is filled in when all rows are there.
 */
export class Names {
  private readonly names = new Recent<string, string>(MAX_NAMES);
  /** By address and by name: the address that stands for the machine. */
  private readonly machines = new Recent<string, string>(MAX_NAMES);

  onMessage(rows: readonly DnsRow[]): void {
    for (const { section, type, name, question, data } of rows) {
      if (section !== "answer" && section !== "additional") continue;
      if ((type !== "A" && type !== "AAAA") || typeof data !== "string") continue;
      const called = section === "answer" ? (question ?? name) : name;
      if (called !== undefined) this.add(data.toLowerCase(), called.toLowerCase());
    }
  }

  add(address: string, name: string): void {
    this.names.set(address, name);
    const machine = this.machines.get(name) ?? this.machines.get(address) ?? address;
    this.machines.set(name, machine);
    if (this.machines.get(address) === undefined) this.machines.set(address, machine);
  }

  of(address: string): string | undefined {
    return this.names.get(address);
  }

  /** One of the machine's addresses, the same for all that one name gave, from when on it was first asked for here. */
  machine(address: string): string {
    if (address === "::1" || address.startsWith("127.")) return "localhost";
    const known = this.machines.get(address);
    if (known === undefined) this.machines.set(address, address);
    return known ?? address;
  }
}
