import type { Run } from "./run.js";
import type { Tree, TreeLink } from "./tree.js";

const TABLE = "topicast_links";

/** Datagrams by direction, keyed `from>to`. */
export type LinkCounts = ReadonlyMap<string, number>;

/**
 * Counts the fabric's DATA datagrams on every link in both directions, in the kernel. Of the UDP payload the first two
 * bytes are compared: version 1, kind 1 (protocol/README.md).
 */
export class LinkCounters {
  private constructor(
    private readonly run: Run,
    private readonly tree: Tree,
  ) {}

  static async install(run: Run, tree: Tree, fabricPort: number): Promise<LinkCounters> {
    const count = (from: string, to: string) =>
      `udp dport ${fabricPort} @th,64,16 0x0101 counter name "${from}_${to}"`;
    const chain = (name: string, hook: string, device: string, rule: string) =>
      `chain ${name} { type filter hook ${hook} device "${device}" priority 0; policy accept; ${rule}; }`;
    const parts: string[] = [];
    for (const link of tree.links) {
      const { from, to, port } = link;
      const device = `${from}-eth${port}`;
      parts.push(`counter ${from}_${to} { }`, `counter ${to}_${from} { }`);
      // What comes up the link enters at the parent's end; what goes down enters a child switch at its port 1, but a
      // host's end is out of sight in its namespace.
      parts.push(chain(`up_${to}`, "ingress", device, count(to, from)));
      parts.push(
        tree.isInner(link)
          ? chain(`down_${to}`, "ingress", `${to}-eth1`, count(from, to))
          : chain(`down_${to}`, "egress", device, count(from, to)),
      );
    }
    await run.exec(["nft", "delete", "table", "netdev", TABLE]);
    // In one transaction: all or nothing.
    await run.output(["nft", `table netdev ${TABLE} {\n${parts.join("\n")}\n}`]);
    return new LinkCounters(run, tree);
  }

  async snapshot(): Promise<LinkCounts> {
    const text = await this.run.output(["nft", "--json", "list", "counters", "table", "netdev", TABLE]);
    const listed = JSON.parse(text) as { nftables: { counter?: { name: string; packets: number } }[] };
    const counts = new Map<string, number>();
    for (const { counter } of listed.nftables) {
      if (counter !== undefined) counts.set(counter.name.replace("_", ">"), counter.packets);
    }
    return counts;
  }

  /** Per link, both directions together: what was carried since `before`. */
  async since(before: LinkCounts): Promise<{ link: TreeLink; datagrams: number }[]> {
    const now = await this.snapshot();
    const carried = (key: string) => (now.get(key) ?? 0) - (before.get(key) ?? 0);
    return this.tree.links.map((link) => ({
      link,
      datagrams: carried(`${link.from}>${link.to}`) + carried(`${link.to}>${link.from}`),
    }));
  }
}
