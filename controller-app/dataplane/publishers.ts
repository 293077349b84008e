import type { Dpid, Place } from "./tree.js";

interface Publisher {
  readonly dpid: Dpid;
  /** Groups told "openflow" whose rules do not yet cover this agent's place. */
  readonly awaiting: Set<string>;
  told: boolean;
}

/**
 * Which agents may send to group addresses. A group's rules stand between the agents known when it became whole; an
 * agent that appears on a switch must wait until the groups that were being changed just then are whole again. Groups
 * that change later include its place from the start, so it never waits for those.
 */
export class Publishers {
  private readonly known = new Map<string, Publisher>();

  constructor(private readonly onChange: (agentId: string, may: boolean) => void) {}

  may(agentId: string): boolean {
    return this.known.get(agentId)?.told ?? false;
  }

  /** Takes the placed agents after a (re)planning, and the groups told "openflow" that are not whole just now. */
  update(places: Iterable<Place>, unwhole: ReadonlySet<string>): void {
    const placed = new Set<string>();
    for (const { agent, dpid } of places) {
      placed.add(agent);
      const known = this.known.get(agent);
      if (known?.dpid === dpid) continue;
      const publisher = { dpid, awaiting: new Set(unwhole), told: known?.told ?? false };
      this.known.set(agent, publisher);
      this.tell(agent, publisher);
    }
    for (const [agent, publisher] of this.known) {
      if (placed.has(agent)) continue;
      this.known.delete(agent);
      if (publisher.told) this.onChange(agent, false);
    }
  }

  /** This group is whole, or nobody is to send to it any more. */
  release(address: string): void {
    for (const [agent, publisher] of this.known) {
      if (publisher.awaiting.delete(address)) this.tell(agent, publisher);
    }
  }

  private tell(agent: string, publisher: Publisher): void {
    const may = publisher.awaiting.size === 0;
    if (may === publisher.told) return;
    publisher.told = may;
    this.onChange(agent, may);
  }
}
