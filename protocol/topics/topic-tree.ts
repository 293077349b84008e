import { isReserved, levelEnd } from "./filters.js";
import { LevelNode } from "./level-node.js";

class TopicNode<V extends NonNullable<unknown>> extends LevelNode<TopicNode<V>> {
  /** The topic that ends here; set while it has a value. */
  topic: string | undefined = undefined;
  value: V | undefined = undefined;
}

/**
 * Exact topics to one value each (routes, retained messages): given a filter, the topics it matches. The cost of
 * `matching` grows with the branches the filter leads to, not with the number of topics. Topics and filters must be
 * valid (`topicError`, `filterError`).
 */
export class TopicTree<V extends NonNullable<unknown>> {
  private root = new TopicNode<V>("");
  private count = 0;

  /** Number of topics that have a value. */
  get size(): number {
    return this.count;
  }

  /** Sets the topic's value; gives the value that was there before. */
  set(topic: string, value: V): V | undefined {
    let node = this.root;
    for (let start = 0; start <= topic.length; ) {
      const end = levelEnd(topic, start);
      const level = topic.substring(start, end);
      let child = node.child(level);
      if (child === undefined) {
        child = new TopicNode<V>(level);
        node.addChild(child);
      }
      node = child;
      start = end + 1;
    }
    const before = node.value;
    if (node.topic === undefined) {
      node.topic = topic;
      this.count += 1;
    }
    node.value = value;
    return before;
  }

  get(topic: string): V | undefined {
    let node: TopicNode<V> | undefined = this.root;
    for (let start = 0; start <= topic.length && node !== undefined; ) {
      const end = levelEnd(topic, start);
      node = node.child(topic.substring(start, end));
      start = end + 1;
    }
    return node?.value;
  }

  has(topic: string): boolean {
    return this.get(topic) !== undefined;
  }

  /** Removes the topic; gives the value that was there. */
  delete(topic: string): V | undefined {
    const path = [this.root];
    let node: TopicNode<V> | undefined = this.root;
    for (let start = 0; start <= topic.length; ) {
      const end = levelEnd(topic, start);
      node = node.child(topic.substring(start, end));
      if (node === undefined) return undefined;
      path.push(node);
      start = end + 1;
    }
    const before = node.value;
    if (node.topic === undefined) return undefined;
    node.topic = undefined;
    node.value = undefined;
    this.count -= 1;
    for (let i = path.length - 1; i > 0; i--) {
      const at = path[i]!;
      if (at.topic !== undefined || at.hasChildren) break;
      path[i - 1]!.removeChild(at);
    }
    return before;
  }

  /**
   * Visits each topic that `filter` matches, in no particular order, until `visit` returns false. `visit` may delete
   * the topic it is called for or set its value; other changes may or may not be seen by the same walk.
   */
  matching(filter: string, visit: (topic: string, value: V) => unknown): void {
    let frontier = [this.root];
    let next: TopicNode<V>[] = [];
    for (let start = 0; start <= filter.length && frontier.length > 0; ) {
      const end = levelEnd(filter, start);
      const level = filter.substring(start, end);
      const first = start === 0;
      if (level === "#") {
        // The parent level belongs to the filter too (MQTT 4.7.1.2); the root is no level.
        visitBelow(frontier, first, visit);
        return;
      }
      next.length = 0;
      for (const node of frontier) {
        if (level === "+") {
          node.childrenTo(next);
        } else {
          const child = node.child(level);
          if (child !== undefined) next.push(child);
        }
      }
      if (first && level === "+") next = next.filter((node) => !isReserved(node.level));
      [frontier, next] = [next, frontier];
      start = end + 1;
    }
    for (const node of frontier) {
      if (node.topic !== undefined && visit(node.topic, node.value!) === false) return;
    }
  }

  /** Every topic with its value, in no particular order. The tree must not change meanwhile. */
  *entries(): IterableIterator<[topic: string, value: V]> {
    const stack = [this.root];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (node.topic !== undefined) yield [node.topic, node.value!];
      node.childrenTo(stack);
    }
  }

  clear(): void {
    this.root = new TopicNode<V>("");
    this.count = 0;
  }
}

/** Visits the nodes of `stack` and all below them; at the root, without the branches that begin with `$`. */
function visitBelow<V extends NonNullable<unknown>>(
  stack: TopicNode<V>[],
  atRoot: boolean,
  visit: (topic: string, value: V) => unknown,
): void {
  if (atRoot) {
    const top: TopicNode<V>[] = [];
    for (const root of stack) root.childrenTo(top);
    stack = top.filter((node) => !isReserved(node.level));
  }
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    // Children first: a visit may delete the topic, and with it the branch.
    node.childrenTo(stack);
    if (node.topic !== undefined && visit(node.topic, node.value!) === false) return;
  }
}
