import type { ContentRequest, ContentVerdict } from "../content.js";

/**
 * What agent and worker say to each other over the worker's stdin and a pipe back: frames of a length (32 bits, little endian)
 * and so many bytes. Answers come in the order of the questions. (Node's own IPC costs the agent two to three times as much
 * for each message: see README.md.)
 */

/** The worker's end of the pipe back. Not stdout: the library's rule parser echoes there what it cannot read. */
export const answersFd = 3;

const lengthBytes = 4;

export function frame(body: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(lengthBytes + body.length);
  framed.writeUInt32LE(body.length, 0);
  body.copy(framed, lengthBytes);
  return framed;
}

export function jsonFrame(value: unknown): Buffer {
  return frame(Buffer.from(JSON.stringify(value)));
}

/** A question: what is text as JSON behind its length, then the payload as it is. */
export function requestFrame({ payload, ...rest }: ContentRequest): Buffer {
  const text = JSON.stringify(rest);
  const length = Buffer.byteLength(text);
  const framed = Buffer.allocUnsafe(2 * lengthBytes + length + payload.length);
  framed.writeUInt32LE(framed.length - lengthBytes, 0);
  framed.writeUInt32LE(length, lengthBytes);
  framed.write(text, 2 * lengthBytes);
  payload.copy(framed, 2 * lengthBytes + length);
  return framed;
}

export function readRequest(body: Buffer): ContentRequest {
  const end = lengthBytes + body.readUInt32LE(0);
  const rest = JSON.parse(body.toString("utf8", lengthBytes, end)) as Omit<ContentRequest, "payload">;
  return { ...rest, payload: body.subarray(end) };
}

const clean: ContentVerdict = { clean: true };
const cleanFrame = frame(Buffer.alloc(0));

/** The common answer is an empty frame. */
export function verdictFrame(verdict: ContentVerdict): Buffer {
  return "clean" in verdict && verdict.clean && verdict.noted === undefined ? cleanFrame : jsonFrame(verdict);
}

export function readVerdict(body: Buffer): ContentVerdict {
  return body.length === 0 ? clean : (JSON.parse(body.toString()) as ContentVerdict);
}

/** Cuts a byte stream into frames' bodies. Holds the bytes of one unfinished frame. */
export class FrameReader {
  private rest: Buffer = Buffer.alloc(0);

  /** The bodies that `data` completes. */
  push(data: Buffer): Buffer[] {
    const bytes = this.rest.length === 0 ? data : Buffer.concat([this.rest, data]);
    const bodies: Buffer[] = [];
    let at = 0;
    while (bytes.length - at >= lengthBytes) {
      const end = at + lengthBytes + bytes.readUInt32LE(at);
      if (end > bytes.length) break;
      bodies.push(bytes.subarray(at + lengthBytes, end));
      at = end;
    }
    this.rest = bytes.subarray(at);
    return bodies;
  }
}
