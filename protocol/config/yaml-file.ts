import { statSync } from "node:fs";
import { type Document, isMap, isScalar, isSeq, LineCounter, parseDocument, visit } from "yaml";
import { UserError } from "../errors.js";
import { readAtMost } from "../read-at-most.js";

/** More than anybody writes by hand; less than what would take noticeable time. */
const MAX_BYTES = 1_048_576;

export interface YamlEntry {
  readonly value: unknown;
  /** Counted from 1. */
  readonly line: number;
}

/**
 * The top-level keys of a YAML file with their values and lines. An empty file has none.
 * @throws UserError (exit code 2) of one line when the file cannot be read, is no YAML, or is not a map
 */
export function readYamlMap(path: string): Map<string, YamlEntry> {
  const lines = new LineCounter();
  const document = parseDocument(readYamlText(path), { lineCounter: lines, prettyErrors: false });
  for (const { offset, message } of endlessAliases(document)) {
    throw new UserError(`${path}:${lines.linePos(offset).line}: ${message}`, 2);
  }
  const [error] = document.errors;
  if (error?.code === "MULTIPLE_DOCS") {
    const { line } = lines.linePos(error.pos[0]);
    throw new UserError(`${path}:${line}: holds more than one document: keep the first, without \`---\``, 2);
  }
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    throw new UserError(`${path}:${line}:${col}: not valid YAML: ${error.message.split("\n")[0]}`, 2);
  }
  const entries = new Map<string, YamlEntry>();
  const { contents } = document;
  if (contents === null) return entries;
  if (!isMap(contents))
    throw new UserError(
      `${path}: must be \`key: value\` lines, ${isSeq(contents) ? "not a list" : "not a single value"}`,
      2,
    );
  for (const { key, value } of contents.items) {
    const name = isScalar(key) ? String(key.value) : String(key);
    const line = isScalar(key) && key.range ? lines.linePos(key.range[0]).line : 1;
    entries.set(name, { value: plain(value, line), line });
  }
  return entries;

  function plain(node: unknown, line: number): unknown {
    if (isScalar(node)) return node.value;
    // A list or a map, which few settings take: the message shows what stands there.
    try {
      return (node as { toJS(doc: unknown): unknown } | null)?.toJS(document) ?? null;
    } catch (error) {
      throw new UserError(`${path}:${line}: not valid YAML: ${(error as Error).message}`, 2);
    }
  }
}

/** Aliases that stand in what they refer to: as a value they have no end. */
export function endlessAliases(document: Document.Parsed): { offset: number; message: string }[] {
  const found: { offset: number; message: string }[] = [];
  visit(document, {
    Alias: (_key, alias, around) => {
      const target = alias.resolve(document);
      if (target === undefined || !around.includes(target)) return;
      const message = `*${alias.source} stands in what it refers to, without end`;
      found.push({ offset: alias.range?.[0] ?? 0, message });
    },
  });
  return found;
}

/**
 * The text of a YAML file.
 * @throws UserError (exit code 2) of one line when it cannot be read
 */
export function readYamlText(path: string): string {
  try {
    const { size } = statSync(path);
    if (size > MAX_BYTES) throw new UserError(`${path}: ${size} bytes, at most ${MAX_BYTES}`, 2);
    return readAtMost(path, MAX_BYTES).toString();
  } catch (error) {
    if (error instanceof UserError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const known: Record<string, string> = {
      ENOENT: "no such file",
      EISDIR: "is a directory",
      EFBIG: `at most ${MAX_BYTES} bytes`,
    };
    throw new UserError(`${path}: ${known[code ?? ""] ?? `cannot be read (${code})`}`, 2);
  }
}
