import { isReserved } from "@topicast/protocol";

interface Node {
  readonly level: string;
  readonly children: Map<string, Node>;
  /** A filter ends here. */
  isEnd: boolean;
}

/**
 * Valid filters by their levels, to compare one with all of them: the work grows with the branches that it leads to, not with
 * their number. Says what `filterContains` and `filterIntersection` say of each.
 */
export class FilterTree {
  private readonly root = node("");

  add(filter: string): void {
    let at = this.root;
    for (const level of levelsOf(filter)) {
      const child = at.children.get(level) ?? node(level);
      at.children.set(level, child);
      at = child;
    }
    at.isEnd = true;
  }

  /** Whether one of the filters takes in all that `filter` asks for. */
  contains(filter: string): boolean {
    return this.find(filter, false);
  }

  /** Whether there is a topic that `filter` and one of the filters match. */
  meets(filter: string): boolean {
    return this.find(filter, true);
  }

  /** @param some whether one topic in common is enough */
  private find(filter: string, some: boolean): boolean {
    let found = [this.root];
    for (const level of levelsOf(filter)) {
      const isFirst = found[0] === this.root;
      if (found.some(({ children }) => children.has("#"))) return true;
      // Whatever ends here or goes on from here: each node is on the way to a filter.
      if (level === "#") return some;
      found = found.flatMap((one) => next(one, level, isFirst, some));
      if (found.length === 0) return false;
    }
    return found.some(({ isEnd, children }) => isEnd || children.has("#"));
  }
}

function next({ children }: Node, level: string, isFirst: boolean, some: boolean): Node[] {
  if (level === "+" && some) {
    return [...children.values()].filter((child) => !(isFirst && isReserved(child.level)));
  }
  const same = children.get(level);
  const any = level === "+" || (isFirst && isReserved(level)) ? undefined : children.get("+");
  return [same, any].filter((one) => one !== undefined);
}

function node(level: string): Node {
  return { level, children: new Map(), isEnd: false };
}

/** No topic is empty, so that these match nothing that the longer form does not. */
function levelsOf(filter: string): string[] {
  if (filter === "#") return ["+", "#"];
  if (filter === "/#") return ["", "+", "#"];
  return filter.split("/");
}
