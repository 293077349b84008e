import { type HandshakeOptions, Handshakes } from "./handshakes.js";
import {
  checkSignature,
  FIXED_BYTES,
  headerLength,
  PROXY_FAULTS,
  type ProxyFault,
  parseHeader,
  SIGNATURE_BYTES,
} from "./proxy-header.js";
import { isLine, lineLength, parseLine } from "./proxy-line.js";
import { peerName } from "./socket.js";
import type { Accept, ByteStream, Layer } from "./transport.js";

/** The PROXY protocol, versions 1 and 2: the client's address from the header that a proxy in front puts first. */
export class ProxyLayer implements Layer {
  private readonly handshakes: Handshakes;

  constructor(options: HandshakeOptions = {}) {
    this.handshakes = new Handshakes("proxy", PROXY_FAULTS, options);
  }

  wrap(stream: ByteStream, accept: Accept): void {
    const handshake = this.handshakes.begin(stream);
    let header: Buffer = Buffer.alloc(0);
    let wanted = SIGNATURE_BYTES;
    // `read` takes just the header's bytes, of a line, whose length nothing tells, each by itself: what follows stays in the stream for whoever comes next.
    const onReadable = (): void => {
      while (header.length < wanted) {
        const bytes: Buffer | null = stream.read(wanted - header.length);
        if (bytes === null) return;
        header = Buffer.concat([header, bytes]);
        // At its end a stream gives what it has.
        if (header.length < wanted) return handshake.fail("aborted");
        const next = wantedAfter(header);
        if (typeof next === "string") return handshake.fail(next);
        wanted = next;
      }
      const result = isLine(header) ? parseLine(header) : parseHeader(header);
      if (typeof result === "string") return handshake.fail(result);
      finish();
      handshake.succeed();
      const { source } = result;
      if (source !== undefined) Object.assign(stream, { peer: peerName(source.address, source.port) });
      accept(stream);
    };
    const onEnd = (): void => handshake.fail("aborted");
    const finish = (): void => {
      stream.removeListener("readable", onReadable);
      stream.removeListener("end", onEnd);
    };
    stream.on("readable", onReadable);
    stream.on("end", onEnd);
  }

  counters(): Readonly<Record<string, number>> {
    return this.handshakes.counters();
  }
}

/** How long the header must become, as far as what there is of it tells; the same again when it is whole. */
function wantedAfter(header: Buffer): number | ProxyFault {
  if (isLine(header)) return lineLength(header);
  if (header.length === SIGNATURE_BYTES) return checkSignature(header) ?? FIXED_BYTES;
  return headerLength(header);
}
