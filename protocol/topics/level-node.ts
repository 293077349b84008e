/**
 * A node of a tree of topic levels. The first child is kept inline and a Map is made for the second: among a million
 * topics most nodes have one child, and an empty Map weighs more than the node.
 */
export abstract class LevelNode<Self extends LevelNode<Self>> {
  private onlyChild: Self | undefined = undefined;
  private childMap: Map<string, Self> | undefined = undefined;

  /** @param level the text of this node's own level */
  constructor(readonly level: string) {}

  child(level: string): Self | undefined {
    if (this.childMap !== undefined) return this.childMap.get(level);
    return this.onlyChild !== undefined && this.onlyChild.level === level ? this.onlyChild : undefined;
  }

  /** Adds a child whose level is not there yet. */
  addChild(child: Self): void {
    if (this.childMap !== undefined) {
      this.childMap.set(child.level, child);
    } else if (this.onlyChild === undefined) {
      this.onlyChild = child;
    } else {
      this.childMap = new Map([
        [this.onlyChild.level, this.onlyChild],
        [child.level, child],
      ]);
      this.onlyChild = undefined;
    }
  }

  removeChild(child: Self): void {
    if (this.onlyChild === child) {
      this.onlyChild = undefined;
    } else if (this.childMap !== undefined) {
      this.childMap.delete(child.level);
      if (this.childMap.size === 0) this.childMap = undefined;
    }
  }

  get hasChildren(): boolean {
    return this.onlyChild !== undefined || this.childMap !== undefined;
  }

  /** Appends all children to `to`. */
  childrenTo(to: Self[]): void {
    if (this.onlyChild !== undefined) to.push(this.onlyChild);
    else if (this.childMap !== undefined) for (const child of this.childMap.values()) to.push(child);
  }
}
