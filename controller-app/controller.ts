import {
  type AccessLists,
  FabricSocket,
  isSourceOfAny,
  type KeyFile,
  openKeyFile,
  parseAcl,
  parsePasswords,
  payloadBytes,
  readAccessFile,
  sourceOf,
  systemClock,
} from "@topicast/protocol";
import { type Logger, pino } from "pino";
import type { ControllerConfig } from "./config.js";
import type { Dataplane } from "./dataplane/dataplane.js";
import { OpenFlowDataplane } from "./dataplane/openflow.js";
import { RyuAccess } from "./dataplane/ryu-access.js";
import { UnicastDataplane } from "./dataplane/unicast.js";
import { Forwarder } from "./forwarder/forwarder.js";
import { wasteOf } from "./forwarder/groups.js";
import type { ForwarderEvent } from "./forwarder/options.js";
import { RestServer } from "./rest/server.js";
import { RetainedKeeper } from "./retained/keeper.js";
import { type ForwarderStorage, nowhere, openStorage } from "./retained/storage.js";

export interface RunningController {
  /** Stops serving and leaves agents and switches as they are, so that known routes go on delivering. Idempotent. */
  close(): Promise<void>;
  /**
   * Reads the password and ACL files again, for all agents, and the fabric's keys; those that cannot be used are logged,
   * and those of before stay. Undefined where there are none.
   */
  readonly reload: (() => void) | undefined;
}

/**
 * Starts the forwarder. Rejects with a UserError that names the thing and the remedy; nothing is left behind then.
 * A Ryu that cannot be reached is no error: the forwarder serves by unicast and retries (see /healthz).
 */
export async function startController(config: ControllerConfig): Promise<RunningController> {
  const log = pino({ name: "forwarder", level: config.logLevel }, pino.destination({ fd: 2, sync: true }));
  const cleanups: Array<() => unknown> = [];
  const close = async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  };
  try {
    const lists = readLists(config);
    const dataplane = makeDataplane(config, log);
    const keys = config.fabricKey === undefined ? undefined : openKeyFile(config.fabricKey, Date.now());
    const storage = await openKept(config, log);
    cleanups.push(() => storage.retained.close());
    const kept = { clock: systemClock, unixTime: Date.now, storage: storage.retained };
    const retained = await RetainedKeeper.open(kept);
    const wills: Array<readonly [string, Buffer]> = [];
    for await (const entry of storage.wills.entries()) wills.push(entry);
    const absent: Array<readonly [string, Buffer]> = [];
    for await (const entry of storage.absent.entries()) absent.push(entry);
    const socket = await FabricSocket.open({
      seal: keys?.seal,
      address: config.listen.address,
      port: config.listen.port,
      onDatagram: (bytes, from) => forwarder.onDatagram(bytes, from),
    });
    cleanups.push(() => socket.close());
    const forwarder = new Forwarder({
      clock: systemClock,
      unixTime: Date.now,
      dataplane,
      groupRange: config.groupRange,
      waste: wasteOf(config.mergeWaste),
      port: config.listen.port,
      payloadBytes: payloadBytes(config.fabricMtu, keys !== undefined),
      retained,
      wills: { storage: storage.wills, entries: wills },
      quarantine: storage.quarantine,
      absent: { storage: storage.absent, entries: absent, limits: config.absent },
      isSafe: (source) => isSafe(config, source),
      socketStats: () => socket.stats,
      legacyProxies: config.legacyProxies,
      transmitPlain: (packets, to) => socket.sendPlain(packets, to),
      transmit: (header, payload, to) => socket.send(header, payload, to),
      onEvent: (event) => logEvent(log, event),
    });
    const rest = await RestServer.open({ view: forwarder, listen: config.rest, log });
    cleanups.push(() => rest.close());
    cleanups.push(() => dataplane.close());
    cleanups.push(() => forwarder.close());
    forwarder.setAccess(lists);
    forwarder.start();
    advise(config, log);
    const hasFiles = config.passwordFile !== undefined || config.aclFile !== undefined;
    const reloadAll = () => {
      if (hasFiles) reload(config, forwarder, log);
      if (keys !== undefined) reloadKeys(keys, log);
    };
    return { close, reload: hasFiles || keys !== undefined ? reloadAll : undefined };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Says once, when all has been opened, what an operator may want to have otherwise. */
function advise({ fabricKey, store }: ControllerConfig, log: Logger): void {
  if (fabricKey === undefined) log.info({}, "fabric datagrams are not sealed: see --fabric-key");
  if (store !== undefined) return;
  log.info(
    {},
    "retained messages, and those for edges that are away, are kept in memory only: --store DIR keeps them over this process's end",
  );
}

/** Where retained messages, wills, the quarantine and what edges miss are kept. Rejects with a UserError where the directory cannot be used. */
async function openKept(
  { store, storeSync: sync }: ControllerConfig,
  log: Logger,
): Promise<ForwarderStorage> {
  if (store === undefined) return { retained: nowhere, wills: nowhere, quarantine: nowhere, absent: nowhere };
  const errors = { error: (message: string) => log.error({}, message) };
  return openStorage({ directory: store, sync, clock: systemClock, log: errors });
}

/** The forwarder itself, and what its settings name, is never shut out. */
export function isSafe(
  { listen, ryu, quarantineSafe }: Pick<ControllerConfig, "listen" | "ryu" | "quarantineSafe">,
  source: string,
): boolean {
  const ryuHost = ryu === undefined ? undefined : new URL(ryu).hostname.replace(/^\[(.*)\]$/, "$1");
  const own = [listen.address, ...(ryuHost === undefined ? [] : [ryuHost])];
  return own.some((address) => sourceOf(address) === source) || isSourceOfAny(quarantineSafe, source);
}

/** @throws UserError that names the file, the line and what is wrong there */
function readLists({ passwordFile, aclFile }: ControllerConfig): AccessLists {
  const passwords = passwordFile === undefined ? null : readAccessFile("--password-file", passwordFile);
  const acl = aclFile === undefined ? null : readAccessFile("--acl-file", aclFile);
  if (passwords !== null) parsePasswords(passwords, passwordFile!);
  if (acl !== null) parseAcl(acl, aclFile!);
  return { passwords, acl };
}

function reload(config: ControllerConfig, forwarder: Forwarder, log: Logger): void {
  try {
    forwarder.setAccess(readLists(config));
    log.info({}, "users and rules read again, and on their way to the agents");
  } catch (error) {
    log.error(
      { reason: (error as Error).message },
      "users and rules not taken over; those of before stay in force",
    );
  }
}

function reloadKeys(keys: KeyFile, log: Logger): void {
  try {
    keys.reload();
  } catch (error) {
    log.error({ reason: (error as Error).message }, "fabric keys not taken over; those of before stay");
  }
}

function makeDataplane(config: ControllerConfig, log: Logger): Dataplane {
  if (config.ryu === undefined) return new UnicastDataplane();
  const access = new RyuAccess(config.ryu);
  const { groupRange: range, listen: forwarder, switchLimits: limits } = config;
  const options = { access, clock: systemClock, range, forwarder, log };
  return new OpenFlowDataplane({ ...options, ...(limits && { limits }) });
}

function logEvent(log: Logger, event: ForwarderEvent): void {
  switch (event.type) {
    case "settled":
      return log.info(
        { afterMs: Math.round(event.afterMs), agents: event.agents },
        "settled: routes may change now",
      );
    case "agent_up":
      return log.info({ agent: event.id, at: event.at }, "agent registered");
    case "agent_down":
      return log.warn({ agent: event.id }, `agent is gone: ${event.why}`);
    case "agent_refused":
      return log.warn({ agent: event.id, at: event.at }, `agent refused: ${event.why}`);
  }
}
