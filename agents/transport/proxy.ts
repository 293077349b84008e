import { type HandshakeOptions, Handshakes } from "./handshakes.js";
import { FIXED_BYTES, headerLength, PROXY_FAULTS, parseHeader } from "./proxy-header.js";
import { peerName } from "./socket.js";
import type { Accept, ByteStream, Layer } from "./transport.js";

/** The PROXY protocol, version 2: the client's address from the header that a proxy in front puts first. */
export class ProxyLayer implements Layer {
  private readonly handshakes: Handshakes;

  constructor(options: HandshakeOptions = {}) {
    this.handshakes = new Handshakes("proxy", PROXY_FAULTS, options);
  }

  wrap(stream: ByteStream, accept: Accept): void {
    const handshake = this.handshakes.begin(stream);
    let wanted = FIXED_BYTES;
    let fixed: Buffer | undefined;
    // `read` takes just the header's bytes: what follows stays in the stream for whoever comes next.
    const onReadable = (): void => {
      while (!stream.destroyed) {
        const bytes: Buffer | null = wanted === 0 ? Buffer.alloc(0) : stream.read(wanted);
        if (bytes === null) return;
        // At its end a stream gives what it has.
        if (bytes.length < wanted) return handshake.fail("aborted");
        if (fixed === undefined) {
          const length = headerLength(bytes);
          if (typeof length === "string") return handshake.fail(length);
          fixed = bytes;
          wanted = length - FIXED_BYTES;
          continue;
        }
        const header = parseHeader(Buffer.concat([fixed, bytes]));
        if (typeof header === "string") return handshake.fail(header);
        finish();
        handshake.succeed();
        const { source } = header;
        return accept(
          source === undefined
            ? stream
            : Object.assign(stream, { peer: peerName(source.address, source.port) }),
        );
      }
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
