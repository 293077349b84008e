import { readFileSync } from "node:fs";
import { UserError } from "../errors.js";
import { epochAt } from "./header.js";
import { type FabricKey, parseFabricKeys, Seal } from "./seal.js";

/** The seal by a key file, and how to read that again while it is in use. */
export interface KeyFile {
  readonly seal: Seal;
  /** Takes the keys that the file holds now. Throws UserError where they cannot be read; those of before stay. */
  readonly reload: () => void;
}

/**
 * Reads the fabric's key file.
 * @throws UserError (exit code 2) where it cannot be read or holds no keys
 */
export function openKeyFile(path: string, unixMs: number): KeyFile {
  const seal = new Seal(readKeys(path), epochAt(unixMs));
  return { seal, reload: () => seal.replaceKeys(readKeys(path)) };
}

function readKeys(path: string): FabricKey[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UserError(`fabric key file ${path} cannot be read: ${(error as Error).message}`, 2);
  }
  return parseFabricKeys(text, path);
}
