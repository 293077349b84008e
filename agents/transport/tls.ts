import { EventEmitter } from "node:events";
import { createServer, type Server, type TLSSocket } from "node:tls";
import { UserError } from "@topicast/protocol";
import { type CertificateFiles, readCertificates } from "./certificates.js";
import { type Handshake, type HandshakeOptions, Handshakes } from "./handshakes.js";
import type { Accept, ByteStream, Layer } from "./transport.js";

export interface TlsOptions extends HandshakeOptions {
  readonly files: CertificateFiles;
  /** A client without a certificate is refused. Needs `files.ca`. */
  readonly requireClientCert?: boolean;
  /** The common name of a client's certificate becomes its `identity`. Needs `files.ca`. */
  readonly identityAsUsername?: boolean;
}

const REASONS = [
  "not_tls",
  "version",
  "no_shared_cipher",
  "client_certificate",
  "no_identity",
  "alert",
  "failed",
  "broken",
] as const;
type Reason = (typeof REASONS)[number] | "aborted";

const MIN_VERSION = "TLSv1.2";
/** Beyond what any user name needs, and what a log line bears. */
const MAX_IDENTITY_BYTES = 256;

/** TLS over any stream, by node:tls: natively on a kernel socket, through JavaScript on everything else. */
export class TlsLayer implements Layer {
  private readonly server: Server;
  private readonly handshakes: Handshakes;

  /** @throws UserError that names the file and what is wrong with it */
  constructor(private readonly options: TlsOptions) {
    const { files } = options;
    this.handshakes = new Handshakes("tls", REASONS, options);
    this.server = usable(files, () =>
      createServer({
        ...readCertificates(files),
        minVersion: MIN_VERSION,
        requestCert: files.ca !== undefined,
        // By node:tls itself a refusal could not be told from a client that hangs up.
        rejectUnauthorized: false,
      }),
    );
  }

  /**
   * Reads the files again, for the connections to come.
   * @throws UserError that names the file and what is wrong with it; the certificates of before stay in use then
   */
  reload(): void {
    const { files } = this.options;
    const context = readCertificates(files);
    usable(files, () => this.server.setSecureContext({ ...context, minVersion: MIN_VERSION }));
  }

  wrap(stream: ByteStream, accept: Accept): void {
    const handshake = this.handshakes.begin(stream);
    // A stream may be half-open, a handshake cannot. On a kernel socket nobody hears it, and the time limit does the same.
    const onEnd = (): void => handshake.fail("aborted");
    stream.once("end", onEnd);
    // The server's events tell nothing of the stream. So each connection has an emitter of its own, which has everything
    // from the server and hears what is said of this connection.
    const connection = Object.create(this.server) as Server;
    connection.emit = (event: string | symbol, ...args: unknown[]): boolean => {
      if (event === "secureConnection") {
        stream.removeListener("end", onEnd);
        this.secured(args[0] as TLSSocket, stream, handshake, accept);
      } else if (event === "tlsClientError") {
        const error = args[0] as NodeJS.ErrnoException;
        handshake.fail(reasonOf(error), error.message);
        // Where it had no handle yet to be closed with.
        (args[1] as TLSSocket).destroy();
      } else return EventEmitter.prototype.emit.call(connection, event, ...args);
      return true;
    };
    EventEmitter.prototype.emit.call(connection, "connection", stream);
  }

  counters(): Readonly<Record<string, number>> {
    return this.handshakes.counters();
  }

  private secured(tls: TLSSocket, stream: ByteStream, handshake: Handshake, accept: Accept): void {
    // Damaged records are only reported: the socket is left open.
    tls.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code?.startsWith("ERR_SSL_") === true) this.handshakes.add("broken");
      tls.destroy();
    });
    // TLS 1.3 has none, and in 1.2 it is nothing but work that a client can ask for.
    tls.disableRenegotiation();
    const presented = tls.getPeerX509Certificate() !== undefined;
    if (presented ? !tls.authorized : this.options.requireClientCert === true) {
      return handshake.fail("client_certificate", presented ? String(tls.authorizationError) : "none");
    }
    let identity: string | undefined;
    if (presented && this.options.identityAsUsername === true) {
      identity = commonName(tls);
      if (identity === undefined) {
        return handshake.fail("no_identity", "the client's certificate has not exactly one common name");
      }
    }
    handshake.succeed();
    accept(Object.assign(tls, { peer: stream.peer, identity }));
  }
}

/** The one common name of the client's certificate, where it can be a user name (MQTT-1.5.3-2). */
function commonName(tls: TLSSocket): string | undefined {
  const name: unknown = tls.getPeerCertificate().subject?.CN;
  // Several come as an array.
  if (typeof name !== "string" || name === "" || Buffer.byteLength(name) > MAX_IDENTITY_BYTES)
    return undefined;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is not wanted
  return /[\u0000-\u001f\u007f\ufffd]/.test(name) ? undefined : name;
}

/** Node's names of OpenSSL's reasons, in the order of looking. */
const CODES: readonly (readonly [RegExp, Reason])[] = [
  [/PEER_DID_NOT_RETURN_A_CERTIFICATE|CERTIFICATE_VERIFY_FAILED/, "client_certificate"],
  [
    /NO_SHARED_CIPHER|NO_SUITABLE_(SIGNATURE|KEY_SHARE|GROUPS)|NO_SHARED_(SIGNATURE|GROUPS)/,
    "no_shared_cipher",
  ],
  [/_ALERT_/, "alert"],
  [/UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW|INAPPROPRIATE_FALLBACK|NO_PROTOCOLS_AVAILABLE/, "version"],
  [
    /WRONG_VERSION_NUMBER|HTTP_REQUEST|HTTPS_PROXY_REQUEST|PACKET_LENGTH|BAD_RECORD_TYPE|UNEXPECTED_MESSAGE/,
    "not_tls",
  ],
  [/^(ECONNRESET|EPIPE|ETIMEDOUT|ECONNABORTED)$/, "aborted"],
];

function reasonOf({ code = "", message }: NodeJS.ErrnoException): Reason {
  for (const [pattern, reason] of CODES) if (pattern.test(code)) return reason;
  return /peer did not return a certificate/.test(message) ? "client_certificate" : "failed";
}

/** What the files hold may still be refused by OpenSSL, e.g. a key that is too short. */
function usable<T>({ cert, key, ca }: CertificateFiles, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (error instanceof UserError) throw error;
    const names = ca === undefined ? `${cert} and ${key}` : `${cert}, ${key} and ${ca}`;
    throw new UserError(`TLS cannot be served with ${names}: ${(error as Error).message}`);
  }
}
