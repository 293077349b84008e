import type { Endpoint } from "@topicast/protocol";
import type { AgentConfig, AgentTls } from "./config.js";
import type { ListenerName, ListenerSettings } from "./listener-settings.js";
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
 * @param bars whether the firewall lets no connection of an address in, where it blocks
 * @throws UserError that names the certificate file and what is wrong with it
 */
export function openListeners(
  config: AgentConfig,
  log: Log,
  onVacant: (addresses: readonly string[]) => void,
  bars: (address: string) => boolean = () => false,
): AgentListeners {
  const onFailure = ({ peer, counter, detail }: HandshakeFailure) =>
    log.info({ peer, reason: counter, detail }, "client refused");
  const webSocket = new WebSocketLayer({ path: config.wspath, onFailure });
  const proxy = new ProxyLayer({ onFailure });
  const secure: TlsLayer[] = [];
  const listeners = portsOf(config).map((port): Listener => {
    const name = listenerNames[port.flag];
    const asked = config.listeners[name]!;
    const layers: Layer[] = asked.proxyProtocol ? [proxy] : [];
    if (config.tls !== undefined && (name === "tls" || name === "wss")) {
      const tls = tlsLayer(config.tls, asked, onFailure);
      secure.push(tls);
      layers.push(tls);
    }
    if (name === "ws" || name === "wss") layers.push(webSocket);
    return { name, transport: transportAt(config, asked, port, onVacant, log, bars), layers };
  });
  return {
    transport: new Listeners(listeners),
    reload: secure.length === 0 ? undefined : () => reload(secure, log),
  };
}

function tlsLayer(
  files: AgentTls,
  { requireClientCert, identityAsUsername }: ListenerSettings,
  onFailure: (failure: HandshakeFailure) => void,
): TlsLayer {
  return new TlsLayer({ files, requireClientCert, identityAsUsername, onFailure });
}

const portFlags = ["tcpport", "tlsport", "wsport", "wssport"] as const;
type PortFlag = (typeof portFlags)[number];
const listenerNames: Readonly<Record<PortFlag, ListenerName>> = {
  ...{ tcpport: "tcp", tlsport: "tls", wsport: "ws", wssport: "wss" },
};

/** One of the agent's own ports. */
export interface AgentPort {
  readonly flag: PortFlag;
  readonly port: number;
  /** What is answered in the same way. */
  readonly intercepts: readonly Endpoint[];
  /** Intercepted addresses for which it answers whoever asks for their MAC address, too. */
  readonly neighbours: readonly string[];
}

/**
 * The agent's ports. An intercepted endpoint belongs to the one of its number, otherwise to the plain one; one responder,
 * at the first port, has all the addresses.
 */
export function portsOf(config: AgentConfig): AgentPort[] {
  const { intercept = [] } = config;
  const own = portFlags.flatMap((flag) => {
    const port = config[flag];
    return port === undefined ? [] : [{ flag, port }];
  });
  const portOf = (number: number) => own.find(({ port }) => port === number)?.port ?? config.tcpport;
  const addresses = [...new Set(intercept.map((i) => i.address))];
  return own.map(({ flag, port }, i) => {
    const intercepts = intercept.filter((given) => portOf(given.port) === port);
    return { flag, port, intercepts, neighbours: i === 0 ? addresses : [] };
  });
}

function transportAt(
  config: AgentConfig,
  { maxConnections, firewall, proxyProtocol }: ListenerSettings,
  { flag: name, port, intercepts, neighbours }: AgentPort,
  onVacant: (addresses: readonly string[]) => void,
  log: Log,
  bars: (address: string) => boolean,
): Transport {
  const { limits, address, tcpKeepAlive } = config;
  const flag = name === "tcpport" ? "-t" : `--${name}`;
  const keepAliveMs = tcpKeepAlive === undefined ? 0 : tcpKeepAlive * 1_000;
  if (config.transport === "socket") {
    return new SocketTransport({
      ...{ port, flag, address, keepAliveMs },
      ...(maxConnections === undefined ? {} : { maxConnections }),
    });
  }
  // Intercepted connections have a mode of their own, and behind a proxy the address is the proxy's.
  const modes = [firewall, ...(intercepts.length === 0 ? [] : [config.listeners.intercept?.firewall])];
  const isBarring = !proxyProtocol && modes.every((mode) => mode === "block");
  const onWarning = (message: string) => log.warn({ port }, message);
  return new RawTransport({
    interface: config.interface!,
    port,
    flag,
    intercepts,
    neighbours,
    onVacant,
    onWarning,
    bars: isBarring ? bars : undefined,
    tcp: {
      ...limits,
      ...(maxConnections === undefined ? {} : { maxConnections }),
      keepAliveIdle: keepAliveMs,
    },
  });
}

function reload(layers: readonly TlsLayer[], log: Log): void {
  try {
    for (const tls of layers) tls.reload();
    log.info({}, "certificates read again");
  } catch (error) {
    log.error(
      { reason: (error as Error).message },
      "certificates not taken over; those of before stay in use",
    );
  }
}
