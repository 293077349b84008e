import { UserError } from "@topicast/protocol";

/** One link of the tree, from a switch to a child further from the root. */
export interface TreeLink {
  readonly from: string;
  readonly to: string;
  /** OpenFlow port of `from` that leads to `to`. */
  readonly port: number;
}

/** The switches and hosts of one network. */
export class Tree {
  readonly links: readonly TreeLink[];
  private readonly parents = new Map<string, string>();

  constructor(readonly children: ReadonlyMap<string, readonly string[]>) {
    const links: TreeLink[] = [];
    for (const [parent, list] of children) {
      const uplinks = this.parents.has(parent) ? 1 : 0;
      list.forEach((child, i) => {
        links.push({ from: parent, to: child, port: uplinks + i + 1 });
        this.parents.set(child, parent);
      });
    }
    this.links = links;
  }

  get switches(): string[] {
    return [...this.children.keys()];
  }

  /** Hosts and the forwarder's host. */
  get hosts(): string[] {
    return this.links.map((l) => l.to).filter((name) => !this.children.has(name));
  }

  /** The switch that a host or switch hangs from; undefined for the root. */
  parent(node: string): string | undefined {
    return this.parents.get(node);
  }

  /** A link between two switches, unlike one to a host. */
  isInner(link: TreeLink): boolean {
    return this.children.has(link.to);
  }

  /**
   * The tree bound: on a tree a datagram from `publisher` to all of `members` must cross exactly the links that separate
   * the publisher from a member, each once. Answers 1 for those and 0 for the others.
   */
  least(link: TreeLink, publisher: string, members: readonly string[]): 0 | 1 {
    const publisherBelow = this.below(link.to, publisher);
    const separates = members.some((m) => m !== publisher && this.below(link.to, m) !== publisherBelow);
    return separates ? 1 : 0;
  }

  private below(top: string, node: string): boolean {
    for (let at: string | undefined = node; at !== undefined; at = this.parents.get(at)) {
      if (at === top) return true;
    }
    return false;
  }
}

/** Reads the tree from the lines that the topology script prints, e.g. `*** s1: s2 s3 fwd`, root first. */
export function parseTree(lines: readonly string[]): Tree {
  const children = new Map<string, string[]>();
  for (const line of lines) {
    const match = /^\*\*\* (s\d+): (.+)$/.exec(line);
    if (match !== null) children.set(match[1]!, match[2]!.trim().split(/\s+/));
  }
  if (children.size === 0) throw new UserError("the topology script has not told its switches");
  return new Tree(children);
}
