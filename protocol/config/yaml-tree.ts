import { isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import { endlessAliases, readYamlText } from "./yaml-file.js";

/** Something wrong in a file that people write. */
export interface Mistake {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  /** What is wrong, and what would be right. */
  readonly message: string;
}

/** A YAML file as one value, whose parts know their lines. */
export interface YamlTree {
  /** Undefined where the file is no YAML, or empty. */
  readonly value: unknown;
  /** Line of what stands at a path of keys and indices; of the nearest thing around it where nothing does. */
  lineOf(path: readonly PropertyKey[]): number;
  /** Why it is no YAML: all of it that the parser sees. */
  readonly mistakes: readonly Mistake[];
}

/** @throws UserError (exit code 2) where the file cannot be read */
export function readYamlTree(file: string): YamlTree {
  return parseYamlTree(file, readYamlText(file));
}

/** @param file name for the mistakes */
export function parseYamlTree(file: string, text: string): YamlTree {
  const lines = new LineCounter();
  // Without "error" it writes to standard error by itself.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: "error" });
  const lineAt = (offset: number) => Math.max(1, lines.linePos(offset).line);
  const mistakes: Mistake[] = [...document.errors, ...document.warnings].map(({ code, message, pos }) => ({
    file,
    line: lineAt(pos[0]),
    message:
      code === "MULTIPLE_DOCS"
        ? "holds more than one document: keep the first, without `---`"
        : `not valid YAML: ${message.split("\n")[0]}`,
  }));
  for (const { offset, message } of endlessAliases(document))
    mistakes.push({ file, line: lineAt(offset), message });
  let value: unknown;
  try {
    if (mistakes.length === 0) value = document.toJS() ?? undefined;
  } catch (error) {
    // Aliases that refer to nothing, or multiply without bound.
    mistakes.push({ file, line: 1, message: `not valid YAML: ${(error as Error).message}` });
  }
  const nodeAt = (path: readonly PropertyKey[]) => document.getIn(path, true) as Node | undefined;
  const lineOf = (path: readonly PropertyKey[]): number => {
    for (let length = path.length; length > 0; length--) {
      const parent = nodeAt(path.slice(0, length - 1));
      const last = path[length - 1];
      // The key's line: a map's or a list's own begins behind it.
      if (isMap(parent) && typeof last === "string" && keyOf(parent, last) !== undefined) {
        return lineAt(keyOf(parent, last)!);
      }
      const node = nodeAt(path.slice(0, length));
      if (node?.range) return lineAt(node.range[0]);
    }
    return 1;
  };
  return { value, mistakes, lineOf };
}

function keyOf(map: { items: readonly { key: unknown }[] }, name: string): number | undefined {
  for (const { key } of map.items) {
    if (isScalar(key) && String(key.value) === name) return key.range?.[0];
  }
  return undefined;
}
