import type { Dpid, Link, Place } from "@topicast/controller/dataplane/tree.js";

export type Topology = "tree" | "fat-tree" | "ring";
export const TOPOLOGIES: readonly Topology[] = ["tree", "fat-tree", "ring"];

export interface Network {
  readonly switches: readonly Dpid[];
  readonly links: readonly Link[];
  readonly places: readonly Place[];
}

/** Agents on one switch of the tree. */
const EDGES_PER_LEAF = 4;

/** A network of a common kind with this many edges. */
export function networkOf(topology: Topology, edges: number): Network {
  if (topology === "tree") return tree(edges);
  return topology === "ring" ? ring(edges) : fatTree(edges);
}

/** Two switches below each, four edges on each leaf. */
function tree(edges: number): Network {
  let leaves = 1;
  while (leaves * EDGES_PER_LEAF < edges) leaves *= 2;
  const switches = 2 * leaves - 1;
  const links = Array.from({ length: switches - 1 }, (_, i) => [i >> 1, i + 1] as const);
  return wire(switches, links, edges, (i) => leaves - 1 + (i % leaves));
}

/** A switch for each edge. */
function ring(edges: number): Network {
  const links = Array.from({ length: edges }, (_, i) => [i, (i + 1) % edges] as const);
  return wire(edges, links, edges, (i) => i);
}

/** k pods of k/2 upper and k/2 lower switches, (k/2)² above them, k³/4 edges at most (Al-Fares et al., 2008). */
function fatTree(edges: number): Network {
  let k = 4;
  while (k ** 3 / 4 < edges) k += 2;
  const half = k / 2;
  const core = half * half;
  const upper = (pod: number, i: number) => core + pod * k + i;
  const lower = (pod: number, i: number) => upper(pod, half + i);
  const links: [number, number][] = [];
  for (let pod = 0; pod < k; pod++) {
    for (let i = 0; i < half; i++) {
      for (let j = 0; j < half; j++) {
        links.push([i * half + j, upper(pod, i)], [upper(pod, i), lower(pod, j)]);
      }
    }
  }
  return wire(core + k * k, links, edges, (i) => lower(i % k, Math.floor(i / k) % half));
}

/** Ports are numbered from 1 as they come into use; `home`: the switch of each edge. */
function wire(
  count: number,
  pairs: readonly (readonly [number, number])[],
  edges: number,
  home: (edge: number) => number,
): Network {
  const used = new Map<number, number>();
  const port = (at: number) => {
    const number = (used.get(at) ?? 0) + 1;
    used.set(at, number);
    return { dpid: BigInt(at + 1), port: number };
  };
  const links = pairs.map(([a, b]): Link => ({ a: port(a), b: port(b) }));
  const places = Array.from({ length: edges }, (_, i): Place => {
    const number = (i + 1).toString(16).padStart(4, "0");
    const mac = `02:00:00:00:${number.slice(0, 2)}:${number.slice(2)}`;
    return { agent: `e${i + 1}`, mac, address: `10.0.${(i + 1) >> 8}.${(i + 1) & 255}`, ...port(home(i)) };
  });
  return { switches: Array.from({ length: count }, (_, i) => BigInt(i + 1)), links, places };
}
