import { encodeFabricJson, FabricTopic, filterError, topicFilterOf } from "@topicast/protocol";

/** An edge with sessions that outlive their connections. */
export interface Edge {
  readonly number: number;
  /** The life of it that has these sessions. */
  epoch: number;
  /** The longest of their expiry intervals, seconds. */
  expiry: number;
  /** Shared ones by their whole names, `$share/NAME/FILTER`. */
  readonly filters: Set<string>;
  /** Since when it is away, or back and not caught up (ms since 1970); undefined: it is here. */
  awayAt: number | undefined;
  /** What it is stood in for, while it is away. */
  readonly taken: Set<string>;
  /** Those who wait for it to be caught up, or away again. */
  waiting: Array<() => void>;
}

/** What is wrong with a filter, or a shared subscription's name; undefined: nothing. */
export function errorOf(filter: string): string | undefined {
  return filterError(topicFilterOf(filter));
}

/** Whoever waits for it need not any more. */
export function letGo(edge: Edge): void {
  for (const done of edge.waiting.splice(0)) done();
}

/** `$fabric/gone`: it is away, and messages are kept for it. */
export function gone({ number, epoch }: Edge): Buffer {
  return encodeFabricJson(FabricTopic.GONE, { agent: number, epoch, absent: true });
}

export function edgeKey({ number }: Pick<Edge, "number">): string {
  return `edge/${number.toString(16)}`;
}

export function filterKey({ number }: Edge, filter: string): string {
  return `filter/${number.toString(16)}/${filter}`;
}

/** What is stored under `edgeKey`, without its filters; undefined where that cannot be understood. */
export function readEdge(key: string, value: Buffer): Edge | undefined {
  const number = Number.parseInt(key.slice("edge/".length), 16);
  try {
    const { epoch, expiry, awayAt } = JSON.parse(value.toString()) as Partial<Edge>;
    if (typeof epoch !== "number" || typeof expiry !== "number" || !Number.isInteger(number))
      return undefined;
    return { number, epoch, expiry, awayAt, filters: new Set(), taken: new Set(), waiting: [] };
  } catch {
    return undefined;
  }
}
