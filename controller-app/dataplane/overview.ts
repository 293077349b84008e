/** The network as REST shows it, and as compared with how it was. */
import { formatDpid } from "node-ryu-rest-client";
import type { Budgets } from "./budgets.js";
import type { AgentPlace, EdgeAgent, SwitchStatus, TopologyStatus } from "./dataplane.js";
import type { Steering } from "./steering.js";
import type { TopologyModel } from "./topology.js";
import { type Dpid, type Place, type Planner, portKey, type SwitchPort } from "./tree.js";
import type { SwitchWorker } from "./worker.js";

interface Network {
  readonly workers: ReadonlyMap<Dpid, SwitchWorker>;
  readonly model: TopologyModel;
  readonly planner: Planner;
  readonly agents: readonly EdgeAgent[];
  readonly steering: Steering;
  readonly budgets: Budgets;
  /** Ryu answers. */
  readonly isUp: boolean;
  readonly now: number;
}

export function topologyStatus({
  workers,
  model,
  planner,
  agents,
  steering,
  budgets,
  isUp,
  now,
}: Network): TopologyStatus {
  const ref = ({ dpid, port }: SwitchPort) => ({ dpid: formatDpid(dpid), port });
  const switches = [...workers].map(([dpid, { ledger, readAt }]): SwitchStatus => {
    const { wanted, seen, differing } = ledger.counts();
    const readAgoMs = readAt === undefined ? null : Math.round(now - readAt);
    const connected = model.isConnected(dpid) && isUp;
    const held = budgets.status(dpid, ledger.held);
    return { dpid: formatDpid(dpid), connected, wanted, seen, differing, ...held, readAgoMs };
  });
  const links = model.links().map((l) => ({ from: ref(l.a), to: ref(l.b), tree: planner.usesLink(l) }));
  const places = agents.map(({ id, address }): AgentPlace => {
    const place = planner.places.get(id);
    return { id, address, at: place === undefined ? null : ref(place) };
  });
  const holds = (dpid: Dpid, id: string) => workers.get(dpid)?.ledger.differs(id) === false;
  const intercepts = steering.services.map((s) => ({ ...s, ...steering.count(s, holds) }));
  const byDpid = (a: SwitchStatus, b: SwitchStatus) => (a.dpid < b.dpid ? -1 : 1);
  return { switches: switches.sort(byDpid), links, agents: places, intercepts };
}

export function placeText(place: Place): string {
  return `${place.agent} ${portKey(place)} ${place.mac} ${place.address}`;
}

/** Ids of the agents that live elsewhere now, have come or have gone. */
export function changedPlaces(
  before: ReadonlyMap<string, Place>,
  now: ReadonlyMap<string, Place>,
): ReadonlySet<string> {
  const changed = new Set<string>();
  for (const id of before.keys()) if (!now.has(id)) changed.add(id);
  for (const [id, place] of now) {
    const old = before.get(id);
    if (old === undefined || placeText(old) !== placeText(place)) changed.add(id);
  }
  return changed;
}
