import { closeSync, openSync, readSync } from "node:fs";

/**
 * What is in a file of at most `max` bytes; what says nothing of its size, as a pipe or a device does, is read no further, either.
 * @throws the system's error, with code `EFBIG` where there is more
 */
export function readAtMost(path: string, max: number): Buffer {
  const file = openSync(path, "r");
  try {
    const pieces: Buffer[] = [];
    for (let left = max; ; ) {
      const piece = Buffer.allocUnsafe(Math.min(left + 1, 65_536));
      const length = readSync(file, piece);
      if (length === 0) return Buffer.concat(pieces);
      if (length > left) throw Object.assign(new Error(`more than ${max} bytes`), { code: "EFBIG" });
      left -= length;
      pieces.push(piece.subarray(0, length));
    }
  } finally {
    closeSync(file);
  }
}
