import type { Dpid, Graph, Link, Place } from "@topicast/controller/dataplane/tree.js";
import fc from "../../../property.js";

export interface Network extends Graph {
  readonly switches: readonly Dpid[];
  readonly links: readonly Link[];
  readonly places: readonly Place[];
}

export interface NetworkShape {
  /** For each switch but the first, which earlier one it hangs on (modulo their number). */
  readonly parents: readonly number[];
  /** Further links between two switches, by index; give loops and parallel links. */
  readonly extra: readonly (readonly [number, number])[];
  /** For each agent the switch it lives on. */
  readonly agents: readonly number[];
  /** Turns the order of dpids around, so that the root is not always the first switch. */
  readonly descending: boolean;
}

/** Builds the network that a shape describes; ports are numbered from 1 as they come into use. */
export function build(shape: NetworkShape): Network {
  const count = shape.parents.length + 1;
  const switches = Array.from({ length: count }, (_, i) => BigInt(shape.descending ? count - i : i + 1));
  const nextPort = new Map<Dpid, number>();
  const port = (dpid: Dpid) => {
    const number = (nextPort.get(dpid) ?? 0) + 1;
    nextPort.set(dpid, number);
    return { dpid, port: number };
  };
  const at = (index: number) => switches[index % count]!;
  const links: Link[] = shape.parents.map((parent, i) => ({
    a: port(at(parent % (i + 1))),
    b: port(at(i + 1)),
  }));
  for (const [x, y] of shape.extra) if (at(x) !== at(y)) links.push({ a: port(at(x)), b: port(at(y)) });
  const places = shape.agents.map((where, i): Place => {
    const mac = `02:00:00:00:00:${(i + 1).toString(16).padStart(2, "0")}`;
    return { agent: `e${i + 1}`, mac, address: `10.0.0.${i + 1}`, ...port(at(where)) };
  });
  return { switches, links, places };
}

const index = fc.nat({ max: 1000 });

/** Random trees, or with `loops` random connected graphs. */
export function networks(loops: boolean): fc.Arbitrary<Network> {
  return fc
    .record({
      parents: fc.array(index, { maxLength: 14 }),
      extra: loops ? fc.array(fc.tuple(index, index), { maxLength: 8 }) : fc.constant([]),
      agents: fc.array(index, { minLength: 1, maxLength: 10 }),
      descending: fc.boolean(),
    })
    .map(build);
}
