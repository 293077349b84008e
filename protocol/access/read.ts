import { statSync } from "node:fs";
import { UserError } from "../errors.js";
import { readAtMost } from "../read-at-most.js";

/** Some 30,000 users; what an agent takes from the forwarder in well under a second. */
export const ACCESS_FILE_BYTES_MAX = 4 * 1024 * 1024;

/**
 * The text of a password or ACL file.
 * @param flag that named it, for the error
 * @throws UserError that names the flag, the file and what is wrong with it
 */
export function readAccessFile(flag: string, path: string): string {
  let bytes: Buffer;
  try {
    const { size } = statSync(path);
    if (size > ACCESS_FILE_BYTES_MAX) {
      throw new UserError(`${flag} ${path}: ${size} bytes, at most ${ACCESS_FILE_BYTES_MAX}`);
    }
    bytes = readAtMost(path, ACCESS_FILE_BYTES_MAX);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`${flag} ${path}: ${whyUnreadable(error as NodeJS.ErrnoException)}`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new UserError(`${flag} ${path}: is not UTF-8 text`);
  }
}

function whyUnreadable({ code }: NodeJS.ErrnoException): string {
  switch (code) {
    case "ENOENT":
      return "no such file";
    case "EISDIR":
      return "is a directory";
    case "EACCES":
      return "this user may not read it";
    case "EFBIG":
      return "holds too much";
    default:
      return `cannot be read (${code})`;
  }
}

/** The lines of a text with their numbers, without the white space at their ends. */
export function* linesOf(text: string): IterableIterator<{ readonly line: string; readonly number: number }> {
  let number = 0;
  for (const line of text.split("\n")) {
    number += 1;
    yield { line: trim(line, false), number };
  }
}

const isBlank = (code: number): boolean => code === 0x20 || (code >= 0x09 && code <= 0x0d);

/** Without C's white space at the end, and at the start; other spaces belong to names and topics. */
export function trim(text: string, atStart = true): string {
  let start = 0;
  let end = text.length;
  while (end > 0 && isBlank(text.charCodeAt(end - 1))) end -= 1;
  while (atStart && start < end && isBlank(text.charCodeAt(start))) start += 1;
  return text.slice(start, end);
}
