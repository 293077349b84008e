import { createReadStream, ReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import { UserError } from "@topicast/protocol";
import { isPcap, PcapParser } from "./pcap.js";
import { isPcapng, PcapngParser } from "./pcapng.js";
import type { CaptureEvents, CaptureParser } from "./record.js";

const CHUNK_BYTES = 1 << 20;
const GZIP = 0x1f8b;

/** Which parser reads a file that begins with these bytes; undefined where it is no capture. */
export function parserFor(first: Buffer, events: CaptureEvents): CaptureParser | undefined {
  if (first.length < 4) return undefined;
  if (isPcap(first)) return new PcapParser(events);
  return isPcapng(first) ? new PcapngParser(events) : undefined;
}

/** As a path: standard input. */
export const STDIN = "-";

/**
 * Reads a capture file, gzipped or not, in bounded memory.
 *
 * @param path `-` is standard input
 * @param onProgress how much of the file's bytes has been read, 0..1
 * @throws UserError where the file cannot be read or is no capture
 */
export async function readCapture(
  path: string,
  events: CaptureEvents,
  onProgress: (share: number) => void = () => {},
): Promise<void> {
  const size = path === STDIN ? 0 : await sizeOf(path);
  const file = path === STDIN ? process.stdin : createReadStream(path, { highWaterMark: CHUNK_BYTES });
  let parser: CaptureParser | undefined;
  let head = Buffer.alloc(0);
  for await (const chunk of unpacked(file, events)) {
    if (parser === undefined) {
      head = Buffer.concat([head, chunk]);
      if (head.length < 4) continue;
      parser = parserFor(head, events);
      if (parser === undefined) throw notACapture(path);
      parser.push(head);
    } else {
      parser.push(chunk);
    }
    if (size > 0 && file instanceof ReadStream) onProgress(Math.min(file.bytesRead / size, 1));
  }
  if (head.length === 0) throw new UserError(`${nameOf(path)} is empty: there is no capture in it`);
  if (parser === undefined) throw notACapture(path);
  parser.end();
}

async function sizeOf(path: string): Promise<number> {
  try {
    const found = await stat(path);
    if (found.isDirectory()) throw new UserError(`${path} is a directory: name the capture files in it`);
    return found.size;
  } catch (error) {
    if (error instanceof UserError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "does not exist" : `cannot be read (${code})`;
    throw new UserError(`${path} ${why}: name a pcap or pcapng file`);
  }
}

function nameOf(path: string): string {
  return path === STDIN ? "standard input" : path;
}

function notACapture(path: string): UserError {
  return new UserError(
    `${nameOf(path)} is no capture: it begins neither as pcap nor as pcapng (both may be gzipped)`,
  );
}

/** The file's bytes, or what they hold compressed. A damaged end of that is told, and ends the file. */
async function* unpacked(file: AsyncIterable<Buffer>, events: CaptureEvents): AsyncGenerator<Buffer> {
  const chunks = file[Symbol.asyncIterator]();
  const first = await chunks.next();
  if (first.done === true) return;
  async function* all(): AsyncGenerator<Buffer> {
    yield first.value as Buffer;
    yield* { [Symbol.asyncIterator]: () => chunks };
  }
  const head: Buffer = first.value;
  if (head.length < 2 || head.readUInt16BE(0) !== GZIP) return yield* all();
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  const feeding = feed(gunzip, all());
  try {
    yield* gunzip as AsyncIterable<Buffer>;
  } catch (error) {
    events.onDamage(`the gzip data is damaged: ${(error as Error).message}`, true);
  }
  await feeding;
}

async function feed(gunzip: NodeJS.WritableStream, chunks: AsyncIterable<Buffer>): Promise<void> {
  let broken = false;
  gunzip.on("error", () => {
    broken = true;
  });
  for await (const chunk of chunks) {
    if (broken) return;
    if (gunzip.write(chunk)) continue;
    await new Promise<void>((resolve) => {
      gunzip.once("drain", resolve);
      gunzip.once("error", () => resolve());
      gunzip.once("close", resolve);
    });
  }
  gunzip.end();
}
