/** Index of the end of the level that begins at `start`: the next separator or the end of the name. */
export function levelEnd(name: string, start: number): number {
  const end = name.indexOf("/", start);
  return end === -1 ? name.length : end;
}

const DOLLAR = 0x24;

/** Topics that begin with `$` are not matched by filters that begin with a wildcard (MQTT-4.7.2-1). */
export function isReserved(name: string): boolean {
  return name.charCodeAt(0) === DOLLAR;
}

/** Whether the valid filter `filter` matches the valid topic name `topic` (MQTT 3.1.1 and 5, section 4.7). */
export function filterMatches(filter: string, topic: string): boolean {
  // A topic read as a filter without wildcards matches exactly itself.
  return filterContains(filter, topic);
}

/**
 * Whether every topic that the valid filter `b` matches is matched by the valid filter `a`: then a subscriber to `a`
 * already receives all that `b` asks for. Exact, not an estimate.
 */
export function filterContains(a: string, b: string): boolean {
  if (a === b) return true;
  // The parent of # is a level too, but no topic is empty: these two match nothing that the longer form does not.
  if (b === "#" || b === "/#") return filterContains(a, b === "#" ? "+/#" : "/+/#");
  let inA = 0;
  let inB = 0;
  while (inA <= a.length && inB <= b.length) {
    const endA = levelEnd(a, inA);
    const endB = levelEnd(b, inB);
    const first = inA === 0;
    if (isLevel(a, inA, endA, "#")) return !(first && isReserved(b));
    if (isLevel(b, inB, endB, "#")) return false;
    if (isLevel(a, inA, endA, "+")) {
      if (first && isReserved(b)) return false;
    } else if (endA - inA !== endB - inB || !sameText(a, inA, b, inB, endA - inA)) {
      return false;
    }
    inA = endA + 1;
    inB = endB + 1;
  }
  // Past the last level of both; or only of b, where a # in a still takes its parent level in.
  if (inA > a.length) return inB > b.length;
  return isLevel(a, inA, a.length, "#");
}

/**
 * The filter that matches exactly the topics that both of these valid filters match; undefined where there are none. The
 * `#` of one takes what the other has from there on, so that one filter always says it.
 */
export function filterIntersection(a: string, b: string): string | undefined {
  const levelsA = a.split("/");
  const levelsB = b.split("/");
  if ((isReserved(a) && isWildcard(levelsB[0])) || (isReserved(b) && isWildcard(levelsA[0])))
    return undefined;
  const common: string[] = [];
  for (let i = 0; i < levelsA.length || i < levelsB.length; i++) {
    const levelA = levelsA[i];
    const levelB = levelsB[i];
    if (levelA === "#" || levelB === "#") {
      common.push(...(levelA === "#" ? levelsB : levelsA).slice(i));
      break;
    }
    if (levelA === undefined || levelB === undefined) return undefined;
    if (levelA !== levelB && levelA !== "+" && levelB !== "+") return undefined;
    common.push(levelA === "+" ? levelB : levelA);
  }
  // No topic is empty.
  return common.join("/") || undefined;
}

function isWildcard(level: string | undefined): boolean {
  return level === "+" || level === "#";
}

function isLevel(name: string, start: number, end: number, wildcard: "#" | "+"): boolean {
  return end - start === 1 && name.charCodeAt(start) === wildcard.charCodeAt(0);
}

function sameText(a: string, inA: number, b: string, inB: number, length: number): boolean {
  for (let i = 0; i < length; i++) {
    if (a.charCodeAt(inA + i) !== b.charCodeAt(inB + i)) return false;
  }
  return true;
}
