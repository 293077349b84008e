import type { IPublishPacket } from "mqtt-packet";
import { z } from "zod";
import { filterError, topicFilterOf } from "../topics/names.js";

/** `$fabric/members`: who takes part in shared subscriptions at an agent. */
export interface MembersUpdate {
  /** Counts these of a registration, from 1; 0: no answer is awaited. */
  readonly number: number;
  readonly shares: readonly ShareMembers[];
}

export interface ShareMembers {
  /** `$share/NAME/FILTER` */
  readonly share: string;
  /** Members that are connected; null: there is no member any more. */
  readonly connected: number | null;
}

/** `$fabric/shares`: where a shared subscription's members are. */
export interface SharesUpdate {
  readonly shares: readonly ShareEdges[];
  /** What has not been told since the registration began is no more. */
  readonly complete: boolean;
}

export interface ShareEdges {
  readonly share: string;
  /** None, and nobody absent: it is no more. */
  readonly edges: readonly ShareEdge[];
  /** Where there are none: numbers of agents that are away and have members that outlive that. Absent: none. */
  readonly absent?: readonly number[] | undefined;
}

export interface ShareEdge {
  /** Agent number. */
  readonly agent: number;
  /** `address:port` */
  readonly at: string;
  /** The epoch of its streams. */
  readonly epoch: number;
  readonly connected: number;
}

const u32 = z.int().min(0).max(0xffffffff);
const share = z.string().refine((name) => {
  const filter = topicFilterOf(name);
  return /^\$share\/[^/+#]+\//.test(name) && filterError(filter) === undefined;
});
const membersUpdate = z.object({
  number: u32,
  shares: z.array(z.object({ share, connected: u32.nullable() })),
});
const shareEdge = z.object({ agent: u32, at: z.string(), epoch: u32, connected: u32 });
const sharesUpdate = z.object({
  shares: z.array(z.object({ share, edges: z.array(shareEdge), absent: z.array(u32).optional() })),
  complete: z.boolean(),
});

/** Body of `$fabric/members`; undefined where it is malformed. */
export function readMembers({ payload }: IPublishPacket): MembersUpdate | undefined {
  return parse(membersUpdate, payload);
}

/** Body of `$fabric/shares`; undefined where it is malformed. */
export function readShares({ payload }: IPublishPacket): SharesUpdate | undefined {
  return parse(sharesUpdate, payload);
}

/** Body of `$fabric/joined`: the number of the `$fabric/members` that all agents know of; undefined where it is malformed. */
export function readJoined({ payload }: IPublishPacket): number | undefined {
  return parse(u32, payload);
}

function parse<T>(schema: z.ZodType<T>, payload: Buffer | string): T | undefined {
  try {
    return schema.safeParse(JSON.parse(payload.toString())).data;
  } catch {
    return undefined;
  }
}

/** One who can be given a turn. */
export interface Candidate {
  readonly id: number;
  /** Members that are connected; 0: all of them are away. */
  readonly connected: number;
}

/**
 * Gives turns to edges by the number of their members (smooth weighted round robin): of every so many turns as there are
 * members each edge gets as many as it has, spread evenly.
 */
export class Turns {
  private readonly credit = new Map<number, number>();

  /**
   * Whose turn it is; undefined where nobody can be given a message of this QoS: those who are away take it at QoS 1 and 2, and
   * only where nobody is there.
   */
  next<C extends Candidate>(candidates: readonly C[], qos: 0 | 1 | 2): C | undefined {
    const isAnyoneThere = candidates.some(({ connected }) => connected > 0);
    if (!isAnyoneThere && qos === 0) return undefined;
    let total = 0;
    let best: C | undefined;
    for (const candidate of candidates) {
      const weight = isAnyoneThere ? candidate.connected : 1;
      if (weight === 0) continue;
      total += weight;
      const credit = (this.credit.get(candidate.id) ?? 0) + weight;
      this.credit.set(candidate.id, credit);
      if (best === undefined || credit > this.credit.get(best.id)!) best = candidate;
    }
    if (best !== undefined) this.credit.set(best.id, this.credit.get(best.id)! - total);
    return best;
  }

  forget(id: number): void {
    this.credit.delete(id);
  }
}
