import { spawn, spawnSync } from "node:child_process";
import { isIPv6 } from "node:net";
import { type Endpoint, UserError } from "@topicast/protocol";

/** What the kernel must not see. */
export interface Guarded {
  readonly interface: string;
  readonly port: number;
  readonly ipv4: readonly string[];
  readonly ipv6: readonly string[];
  /** Endpoints of other stations that are answered here; a kernel that forwards must not see these either. */
  readonly intercepts?: readonly Endpoint[];
}

/** A firewall rule that is in force until it is removed. */
export interface Guard {
  /** The addresses have changed. */
  update(addresses: Pick<Guarded, "ipv4" | "ipv6">): Promise<void>;
  remove(): Promise<void>;
  /** For a process that is ending and cannot wait. */
  removeSync(): void;
}

interface Command {
  readonly name: string;
  readonly args: readonly string[];
  readonly input?: string;
  /** Fails when there is nothing to do, also for want of the program. */
  readonly mayFail?: boolean;
}

/** One firewall program: how to put the rule in (in place of one that is left over) and take it out. */
export interface Firewall {
  install(guarded: Guarded): Command[];
  remove(guarded: Guarded): Command[];
}

/**
 * Keeps the kernel's TCP from answering the port: what comes in for it is dropped before the kernel's own TCP, where
 * libpcap has already seen it. Rather this than a rule against outgoing RST, because it is not only RST that would
 * disturb: a host firewall's "reject" answers with ICMP, a forwarding host sends redirects, and connection tracking would
 * keep an entry for each client. It is as narrow: these addresses, this port, and not the loopback, so that a
 * program on the same host is refused at once instead of waiting for nobody.
 *
 * The rule stands in a table of its own, named after port and interface, so that it disturbs nobody's and is replaced,
 * not doubled, after a `kill -9`.
 *
 * @throws UserError when there is no firewall program, or it refuses
 */
export async function guardPort(guarded: Guarded): Promise<Guard> {
  const firewall = await install(guarded);
  let current = guarded;
  return {
    async update({ ipv4, ipv6 }) {
      current = { ...guarded, ipv4, ipv6 };
      for (const command of firewall.install(current)) await execute(command);
    },
    async remove() {
      for (const command of firewall.remove(current)) await execute(command);
    },
    removeSync() {
      for (const { name, args, input } of firewall.remove(current)) {
        spawnSync(name, args, { input, stdio: ["pipe", "ignore", "ignore"] });
      }
    },
  };
}

export const nftables: Firewall = {
  install(guarded) {
    const table = `inet ${tableName(guarded)}`;
    const rule = (match: string, port: number, comment = "") =>
      `    ${match} tcp dport ${port} counter drop${comment}\n`;
    const ours = families(guarded)
      .filter(({ addresses }) => addresses.length > 0)
      .map(({ nft, addresses }) =>
        rule(
          `iifname != "lo" ${nft} daddr { ${addresses.join(", ")} }`,
          guarded.port,
          ` comment "answered by topicast on ${guarded.interface}"`,
        ),
      );
    const others = families(guarded).flatMap(({ nft, intercepts }) =>
      intercepts.map(({ address, port }) =>
        rule(`iifname "${guarded.interface}" ${nft} daddr ${address}`, port),
      ),
    );
    // One transaction. "add" before "delete": deleting what is not there is an error.
    const input = `add table ${table}
delete table ${table}
table ${table} {
  chain prerouting {
    type filter hook prerouting priority raw; policy accept;
${ours.join("")}${others.join("")}  }
}
`;
    return [{ name: "nft", args: ["-f", "-"], input }];
  },
  remove(guarded) {
    return [{ name: "nft", args: ["delete", "table", "inet", tableName(guarded)], mayFail: true }];
  },
};

export const iptables: Firewall = {
  install(guarded) {
    const chain = chainName(guarded);
    return families(guarded).flatMap(({ iptables, addresses, intercepts }) => {
      const rules = addresses.map(
        (address) => `-A ${chain} -d ${address} -p tcp --dport ${guarded.port} -j DROP\n`,
      );
      for (const { address, port } of intercepts) {
        rules.push(`-A ${chain} -i ${guarded.interface} -d ${address} -p tcp --dport ${port} -j DROP\n`);
      }
      const input = `*raw
:${chain} - [0:0]
${rules.join("")}-I PREROUTING ! -i lo -j ${chain}
COMMIT
`;
      const restore = { name: `${iptables}-restore`, args: ["--wait", "--noflush"], input };
      return rules.length === 0 ? [unhook(iptables, chain)] : [unhook(iptables, chain), restore];
    });
  },
  remove(guarded) {
    const chain = chainName(guarded);
    return families(guarded).flatMap(({ iptables: name }) => [
      unhook(name, chain),
      { name, args: ["-w", "-t", "raw", "-F", chain], mayFail: true },
      { name, args: ["-w", "-t", "raw", "-X", chain], mayFail: true },
    ]);
  },
};

/** What the programs call the two versions of IP, and what is to be guarded in each. */
function families({ ipv4, ipv6, intercepts = [] }: Guarded) {
  return [
    {
      nft: "ip",
      iptables: "iptables",
      addresses: ipv4,
      intercepts: intercepts.filter((i) => !isIPv6(i.address)),
    },
    {
      nft: "ip6",
      iptables: "ip6tables",
      addresses: ipv6,
      intercepts: intercepts.filter((i) => isIPv6(i.address)),
    },
  ];
}

function unhook(name: string, chain: string): Command {
  const args = ["-w", "-t", "raw", "-D", "PREROUTING", "!", "-i", "lo", "-j", chain];
  return { name, args, mayFail: true };
}

export function tableName({ port, interface: name }: Guarded): string {
  return `topicast_${port}_${name.replaceAll(/[^A-Za-z0-9]/g, "_")}`;
}

/** At most 28 characters. */
export function chainName({ port, interface: name }: Guarded): string {
  return `TOPIC-${port}-${name}`;
}

async function install(guarded: Guarded): Promise<Firewall> {
  for (const firewall of [nftables, iptables]) {
    try {
      for (const command of firewall.install(guarded)) await execute(command);
      return firewall;
    } catch (error) {
      if (!(error instanceof MissingProgram)) throw error;
    }
  }
  throw new UserError("the raw transport needs a firewall program: apt-get install nftables");
}

class MissingProgram extends Error {}

function execute({ name, args, input, mayFail }: Command): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(name, args, { stdio: ["pipe", "ignore", "pipe"] });
    let complaint = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaint = (complaint + text).slice(0, 1_000);
    });
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (mayFail === true) resolve();
      else reject(error.code === "ENOENT" ? new MissingProgram(name) : error);
    });
    child.on("close", (code) => {
      if (code === 0 || mayFail === true) resolve();
      else
        reject(
          new UserError(`${name} refuses the rule that keeps the kernel from answering: ${complaint.trim()}`),
        );
    });
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}
