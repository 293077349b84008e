import type { AgentConfig } from "./config.js";
import type { Log } from "./mqtt/log.js";
import type { HandshakeFailure } from "./transport/handshakes.js";
import { type Listener, Listeners } from "./transport/listeners.js";
import { ProxyLayer } from "./transport/proxy.js";
import { RawTransport } from "./transport/raw.js";
import { SocketTransport } from "./transport/socket.js";
import { TlsLayer } from "./transport/tls.js";
import type { Layer, Transport } from "./transport/transport.js";
import { WebSocketLayer } from "./transport/websocket.js";

/** The agent's ports for clients. */
export interface AgentListeners {
  readonly transport: Transport;
  /** Reads the certificates again, and logs how that went. Undefined where no port has TLS. */
  readonly reload: (() => void) | undefined;
}

/**
 * What a configuration's ports are made of; nothing listens yet.
 * @param onVacant which of the intercepted addresses no machine has; at each change
 * @throws UserError that names the certificate file and what is wrong with it
 */
export function openListeners(
  config: AgentConfig,
  log: Log,
  onVacant: (addresses: readonly string[]) => void,
): AgentListeners {
  const { tcpport, tlsport, wsport, wssport, wspath } = config;
  const onFailure = ({ peer, counter, detail }: HandshakeFailure) =>
    log.info({ peer, reason: counter, detail }, "client refused");
  const tls = tlsLayer(config, onFailure);
  const secure = tls === undefined ? [] : [tls];
  const webSocket = new WebSocketLayer({ path: wspath, onFailure });
  const proxy = config.proxyProtocol ? [new ProxyLayer({ onFailure })] : [];
  const listeners: Listener[] = [];
  const add = (port: number | undefined, flag: string, ...layers: Layer[]) => {
    if (port !== undefined) {
      listeners.push({
        transport: transportAt(config, port, flag, onVacant, log),
        layers: [...proxy, ...layers],
      });
    }
  };
  add(tcpport, "-t");
  add(tlsport, "--tlsport", ...secure);
  add(wsport, "--wsport", webSocket);
  add(wssport, "--wssport", ...secure, webSocket);
  return { transport: new Listeners(listeners), reload: tls && (() => reload(tls, log)) };
}

function tlsLayer(
  { tls }: AgentConfig,
  onFailure: (failure: HandshakeFailure) => void,
): TlsLayer | undefined {
  if (tls === undefined) return undefined;
  const { cert, key, ca, requireClientCert, identityAsUsername } = tls;
  return new TlsLayer({ files: { cert, key, ca }, requireClientCert, identityAsUsername, onFailure });
}

function transportAt(
  config: AgentConfig,
  port: number,
  flag: string,
  onVacant: (addresses: readonly string[]) => void,
  log: Log,
): Transport {
  const { limits, transport, address } = config;
  if (transport === "socket") {
    const { maxConnections } = limits;
    return new SocketTransport({
      ...{ port, flag, address },
      ...(maxConnections === undefined ? {} : { maxConnections }),
    });
  }
  const onWarning = (message: string) => log.warn({ port }, message);
  // The plain port has them all: one responder to ARP for each address.
  const intercepts = port === config.tcpport ? (config.intercept ?? []) : [];
  return new RawTransport({
    ...{ interface: config.interface!, port, flag, tcp: limits, intercepts, onVacant, onWarning },
  });
}

function reload(tls: TlsLayer, log: Log): void {
  try {
    tls.reload();
    log.info({}, "certificates read again");
  } catch (error) {
    log.error(
      { reason: (error as Error).message },
      "certificates not taken over; those of before stay in use",
    );
  }
}
