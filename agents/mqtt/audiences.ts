import { TopicTree } from "@topicast/protocol";
import type { Audience } from "./subscriptions.js";

export interface AudienceLimits {
  /** One for each topic, and one for each of its recipients. */
  readonly weight: number;
  /** Topics that one change of a subscription looks at; where it were more, all is forgotten, which is sooner done. */
  readonly touched: number;
}

const LIMITS: AudienceLimits = { weight: 262_144, touched: 4_096 };

/** Who gets the messages of which topic, remembered until a subscription changes that matches it. Bounded. */
export class Audiences {
  private readonly byTopic = new Map<string, Audience>();
  private weight = 0;
  /** The same topics for who looks for those of a filter, but for the ones that nobody has looked for yet. */
  private readonly index = new TopicTree<true>();
  private readonly unindexed = new Set<string>();

  constructor(private readonly limits = LIMITS) {}

  get size(): number {
    return this.byTopic.size;
  }

  get(topic: string): Audience | undefined {
    return this.byTopic.get(topic);
  }

  /** Remembers a topic that is not known. */
  set(topic: string, audience: Audience): void {
    const weight = weightOf(audience);
    if (this.weight + weight > this.limits.weight) this.clear();
    this.byTopic.set(topic, audience);
    this.unindexed.add(topic);
    this.weight += weight;
  }

  /** A subscription to this filter has come, changed or gone: forgets the topics that it matches. */
  forget(filter: string): void {
    if (this.byTopic.size === 0) return;
    if (!filter.includes("+") && !filter.includes("#")) return this.delete(filter);
    const isBroad = filter.startsWith("+") || filter.startsWith("#");
    if (isBroad || this.unindexed.size > this.limits.touched) return this.clear();
    for (const topic of this.unindexed) this.index.set(topic, true);
    this.unindexed.clear();
    let touched = 0;
    this.index.matching(filter, (topic) => {
      touched += 1;
      if (touched > this.limits.touched) return false;
      this.delete(topic);
      return true;
    });
    if (touched > this.limits.touched) this.clear();
  }

  private delete(topic: string): void {
    const audience = this.byTopic.get(topic);
    if (audience === undefined) return;
    this.byTopic.delete(topic);
    this.weight -= weightOf(audience);
    if (!this.unindexed.delete(topic)) this.index.delete(topic);
  }

  private clear(): void {
    this.byTopic.clear();
    this.unindexed.clear();
    if (this.index.size > 0) this.index.clear();
    this.weight = 0;
  }
}

function weightOf({ recipients }: Audience): number {
  return 1 + recipients.length;
}
