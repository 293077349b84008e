import { execFile } from "node:child_process";
import { networkInterfaces } from "node:os";
import { promisify } from "node:util";
import { UserError } from "@topicast/protocol";

/** What the raw transport has to know of a network interface. */
export interface InterfaceFacts {
  readonly name: string;
  /** Six bytes. */
  readonly mac: Buffer;
  readonly mtu: number;
  /** All IPv4 addresses, primary and secondary, e.g. `192.168.1.101`. */
  readonly ipv4: readonly string[];
  /** All IPv6 addresses, that of the link among them; also those that are still tested for duplicates. */
  readonly ipv6: readonly string[];
}

interface AddressEntry {
  readonly family?: string;
  readonly local?: string;
  readonly scope?: string;
  /** Another station has this address. */
  readonly dadfailed?: boolean;
}

/** The part of `ip -j address` that is used. */
interface IpAddressEntry {
  readonly ifname?: string;
  readonly flags?: readonly string[];
  readonly mtu?: number;
  readonly link_type?: string;
  readonly address?: string;
  readonly addr_info?: readonly AddressEntry[];
}

/**
 * Reads an interface's state by iproute2, which sees the network namespace the process is in whatever /sys shows.
 *
 * @throws UserError that names what is wrong with the interface, and the remedy
 */
export async function readInterface(name: string): Promise<InterfaceFacts> {
  if (!/^[^\s/-][^\s/]{0,14}$/.test(name)) throw new UserError(`"${name}" is no interface name`);
  let output: string;
  try {
    ({ stdout: output } = await promisify(execFile)("ip", ["-j", "address", "show", "dev", name]));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      throw new UserError("the raw transport needs the command ip: apt-get install iproute2");
    }
    const others = Object.keys(networkInterfaces()).filter((other) => other !== "lo");
    const hint = others.length === 0 ? "it has none that is up" : `it has ${others.join(", ")}`;
    throw new UserError(`this host has no interface ${name}: ${hint}; choose with -i`);
  }
  return checkInterface(name, output);
}

/** Judges the output of `ip -j address show dev NAME`. */
export function checkInterface(name: string, output: string): InterfaceFacts {
  const [entry] = JSON.parse(output) as IpAddressEntry[];
  if (entry === undefined) throw new UserError(`ip tells nothing of interface ${name}`);
  if (entry.link_type === "loopback") {
    throw new UserError(
      `interface ${name} is the loopback, where frames cannot be answered: use --transport socket`,
    );
  }
  if (entry.link_type !== "ether" || entry.address === undefined) {
    throw new UserError(
      `interface ${name} is no Ethernet interface (${entry.link_type}): use --transport socket`,
    );
  }
  if (entry.flags?.includes("UP") !== true) {
    throw new UserError(`interface ${name} is down: ip link set ${name} up`);
  }
  const addresses = (entry.addr_info ?? []).filter((a) => a.dadfailed !== true);
  // Every interface gives itself an IPv6 address for its link: that nobody gave it one is told all the same.
  if (addresses.every((a) => a.family === "inet6" && a.scope === "link")) {
    throw new UserError(`interface ${name} has no IP address: ip address add ADDRESS/PREFIX dev ${name}`);
  }
  return {
    name,
    mac: Buffer.from(entry.address.replaceAll(":", ""), "hex"),
    mtu: entry.mtu ?? 1500,
    ipv4: localOf(addresses, "inet"),
    ipv6: localOf(addresses, "inet6"),
  };
}

function localOf(addresses: readonly AddressEntry[], family: string): string[] {
  return addresses.flatMap((a) => (a.family === family && a.local !== undefined ? [a.local] : []));
}
