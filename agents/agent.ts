import { readFileSync } from "node:fs";
import {
  FabricSocket,
  formatEndpoint,
  type KeyFile,
  openKeyFile,
  payloadBytes,
  systemClock,
} from "@topicast/protocol";
import { Store } from "@topicast/protocol/store";
import { type Logger, pino } from "pino";
import { Access } from "./auth/policies.js";
import type { AgentConfig } from "./config.js";
import { AgentFabric, type FabricOptions } from "./fabric/fabric.js";
import { localAddress } from "./fabric/local.js";
import { AgentFirewall } from "./firewall/agent-firewall.js";
import { AgentHttp } from "./http.js";
import { openListeners } from "./listeners.js";
import { Broker } from "./mqtt/index.js";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};
/** As often as mosquitto looks at its `$SYS` values. */
const SYS_INTERVAL_MS = 10_000;

export interface RunningAgent {
  /** Closes clients in order, takes leave of the forwarder, undoes the firewall rule. Idempotent. */
  close(): Promise<void>;
  /**
   * Reads the TLS certificates again, for the connections to come, the password and ACL files, the firewall's rules, and the
   * fabric's keys; what fails is logged, and that of before stays. Undefined where there are no such files.
   */
  readonly reload: (() => void) | undefined;
}

/**
 * Starts one edge agent: a complete broker by itself, and an edge of the fabric where the configuration names a
 * forwarder. Rejects with a UserError that names the thing and the remedy; nothing is left behind then.
 */
export async function startAgent(config: AgentConfig): Promise<RunningAgent> {
  const log = pino({ name: "agent", level: config.logLevel }, pino.destination({ fd: 2, sync: true }));
  const cleanups: Array<() => unknown> = [];
  const close = async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  };
  try {
    const store = await openStore(config, log);
    if (store !== undefined) cleanups.push(() => store.close());
    const access = new Access(config, {
      clock: systemClock,
      log,
      onRevoked: (loses) => broker.revoke(loses),
    });
    const firewall = await AgentFirewall.open(config, {
      ...{ clock: systemClock, unixTime: Date.now, log },
      onQuarantine: (entry) => fabric?.core.quarantine.report(entry),
      onGuess: (whose, limit) => fabric?.core.quarantine.guessed(whose, limit),
      locate: (address, hear) =>
        fabric === undefined ? hear(undefined) : fabric.core.whereabouts.locate(address, hear),
    });
    if (firewall !== undefined) cleanups.push(() => firewall.close());
    const fabric = await openFabric(config, access, log, {
      deliver: (message) => broker.deliver(message),
      durable: () => broker.unwritten(),
      quarantine: firewall?.screen,
    });
    if (fabric !== undefined) cleanups.push(fabric.close);
    const broker = new Broker({
      ...(fabric === undefined ? {} : { uplink: fabric.core }),
      authority: access.control,
      limits: config.sessionLimits,
      ...(firewall === undefined ? {} : { screen: firewall.screen }),
      sys: { intervalMs: SYS_INTERVAL_MS, version: `topicast ${version}` },
      ...(store === undefined ? {} : { store: { entries: store, unixTime: Date.now } }),
      log,
    });
    // Whatever fails from here on; in good order it has been closed before the transport by then.
    cleanups.push(() => broker.close());
    await broker.restore();
    let vacant: readonly string[] = [];
    const onVacant = (addresses: readonly string[]) => {
      vacant = addresses;
      log.info({ vacant }, "intercepted addresses that no machine has");
      fabric?.core.setVacant(vacant);
    };
    const bars = (address: string) => firewall?.screen.bars(address) ?? false;
    const { transport, reload: reloadCertificates } = openListeners(config, log, onVacant, bars);
    if (config.rest !== undefined) {
      const http = await AgentHttp.open(config.rest, {
        id: config.id,
        broker,
        transport,
        access: access.control,
        firewall,
        fabric: fabric?.core,
        store,
        intercepts: config.intercept ?? [],
        vacant: () => vacant,
      });
      cleanups.push(() => http.close());
    }
    await transport.listen((stream) => broker.accept(stream));
    cleanups.push(() => transport.close());
    cleanups.push(() => broker.close());
    access.advise();
    if (fabric !== undefined && fabric.keys === undefined) {
      log.info("fabric datagrams are not sealed: see --fabric-key");
    }
    fabric?.core.start();
    const reload = () => {
      reloadCertificates?.();
      access.reload();
      void firewall?.reload();
      if (fabric?.keys !== undefined) reloadKeys(fabric.keys, log);
    };
    const reloads = [reloadCertificates, firewall, fabric?.keys].some((part) => part !== undefined);
    return { close, reload: reloads || access.reloads ? reload : undefined };
  } catch (error) {
    await close();
    throw error;
  }
}

function reloadKeys(keys: KeyFile, log: Logger): void {
  try {
    keys.reload();
  } catch (error) {
    log.error({ reason: (error as Error).message }, "fabric keys not taken over; those of before stay");
  }
}

/** Rejects with a UserError where the directory cannot be used. */
async function openStore(
  { store: directory, storeSync: sync }: AgentConfig,
  log: Logger,
): Promise<Store | undefined> {
  if (directory === undefined) return undefined;
  return Store.open({ directory, sync, clock: systemClock, log: { error: (message) => log.error(message) } });
}

interface OpenFabric {
  readonly core: AgentFabric;
  readonly keys: KeyFile | undefined;
  readonly close: () => Promise<void>;
}

async function openFabric(
  config: AgentConfig,
  access: Access,
  log: Logger,
  sessions: Pick<FabricOptions, "deliver" | "durable" | "quarantine">,
): Promise<OpenFabric | undefined> {
  const { forwarder } = config;
  if (forwarder === undefined) return undefined;
  const { address, mac } = await localAddress(config, forwarder);
  const keys = config.fabricKey === undefined ? undefined : openKeyFile(config.fabricKey, Date.now());
  const socket = await FabricSocket.open({
    address,
    port: config.udpport,
    seal: keys?.seal,
    onDatagram: (bytes, from) => core.onDatagram(bytes, from),
  });
  const core = new AgentFabric({
    clock: systemClock,
    unixTime: Date.now,
    id: config.id,
    forwarder,
    local: { ...socket.local, mac },
    intercepts: config.intercept,
    access,
    payloadBytes: payloadBytes(config.fabricMtu, keys !== undefined),
    socketStats: () => socket.stats,
    transmit: (header, payload, to) => socket.sendEach(header, payload, to),
    defer: setImmediate,
    random: Math.random,
    ...sessions,
    onState: (state, detail) => {
      const at = formatEndpoint(forwarder);
      if (state === "registered") log.info({ forwarder: at }, "registered with the forwarder");
      else log.warn({ forwarder: at, state }, `${detail}; local clients and known routes go on, retrying`);
    },
  });
  return {
    core,
    keys,
    close: async () => {
      core.close();
      await socket.close();
    },
  };
}
