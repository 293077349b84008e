import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { type Endpoint, systemClock } from "@topicast/protocol";
import { Capture } from "../capture/capture.js";
import { captureFilter } from "../capture/filter.js";
import { guardPort } from "../capture/firewall.js";
import { type InterfaceFacts, readInterface } from "../capture/interface.js";
import { claimIntercept, claimPort } from "../capture/port.js";
import { requireRawPrivileges } from "../capture/privileges.js";
import { NeighbourResponder } from "../neighbours/responder.js";
import type { TcpConfig } from "../tcp/config.js";
import { StackRunner } from "../tcp/runner.js";
import type { StackConnection } from "../tcp/stack.js";
import { TcpStream } from "../tcp/stream.js";
import type { ByteStream, Transport } from "./transport.js";

export interface RawTransportOptions {
  readonly interface: string;
  readonly port: number;
  /** The flag that chooses the port, for error messages. */
  readonly flag?: string;
  /** Endpoints of other stations, or of none, whose clients are answered here (transparent mode: ../neighbours). */
  readonly intercepts?: readonly Endpoint[];
  /** Those addresses of them, or of another port's, for whose MAC address who asks is answered where no machine has them. */
  readonly neighbours?: readonly string[];
  /** Which of these no machine has; at each change. */
  readonly onVacant?: (addresses: readonly string[]) => void;
  /** Whether an address gets no answer when it opens a connection: asked at each SYN. */
  readonly bars?: ((address: string) => boolean) | undefined;
  /** The TCP stack's numbers where they differ from the defaults. */
  readonly tcp?: Partial<TcpConfig>;
  /** Things a person should know that do not stop the agent; ignored where undefined. */
  readonly onWarning?: (message: string) => void;
}

/** IPv4 and TCP headers without options. */
const HEADERS = 40;
/** How often to look whether the interface has changed, in ms. */
const WATCH_INTERVAL = 1_000;
/** How long `close` waits for connections that are closing already, in ms. */
const CLOSE_GRACE = 500;
const CLOSE_POLL = 20;
/** `ByteStream.listener` of the clients of other stations. */
const INTERCEPT = "intercept";

interface Running {
  readonly runner: StackRunner;
  readonly capture: Capture;
  /** Undefined where nothing is intercepted. */
  readonly neighbours: NeighbourResponder | undefined;
}

/**
 * Byte streams from captured frames and our own TCP stack. The kernel has no socket on the port; a firewall rule keeps it
 * from answering. The interface may go down and come back, and its addresses may change: the transport follows.
 */
export class RawTransport implements Transport {
  private running: Running | undefined;
  private readonly cleanups: Array<() => unknown> = [];
  private watchTimer: NodeJS.Timeout | undefined;
  private lastCounters: Readonly<Record<string, number>> = {};

  constructor(private readonly options: RawTransportOptions) {}

  async listen(onStream: (stream: ByteStream) => void): Promise<void> {
    const { interface: name, port, flag = "-t", tcp, intercepts = [], onWarning = () => {} } = this.options;
    const { neighbours: addresses = [], bars } = this.options;
    requireRawPrivileges();
    try {
      const facts = await readInterface(name);
      const claim = await claimPort(name, port, facts, flag);
      this.cleanups.push(() => claim.release());
      for (const endpoint of intercepts) {
        const also = await claimIntercept(name, endpoint, facts);
        this.cleanups.push(() => also.release());
      }
      const guard = await guardPort({
        interface: name,
        port,
        ipv4: facts.ipv4,
        ipv6: facts.ipv6,
        intercepts,
      });
      const atExit = () => guard.removeSync();
      process.once("exit", atExit);
      this.cleanups.push(async () => {
        process.removeListener("exit", atExit);
        await guard.remove();
      });
      const capture = Capture.open({
        interface: name,
        filter: captureFilter(facts, port, intercepts, addresses),
        onFrame: (frame, length) => {
          if (neighbours?.receive(frame, length) !== true) runner.receive(frame, length);
        },
        onWarning,
      });
      this.cleanups.push(() => capture.close());
      const send = (frame: Buffer, length: number) => capture.send(frame, length);
      const runner = new StackRunner(
        facts,
        { clock: systemClock, defer: setImmediate, send, ...(bars === undefined ? {} : { bars }) },
        { ...tcp, mss: Math.min(tcp?.mss ?? Number.POSITIVE_INFINITY, facts.mtu - HEADERS) },
      );
      const neighbours = this.answerNeighbours(facts, send);
      const accept = (connection: StackConnection) => onStream(new TcpStream(connection));
      runner.stack.listen(port, accept);
      const acceptIntercepted = (connection: StackConnection) =>
        onStream(Object.assign(new TcpStream(connection), { listener: INTERCEPT }));
      for (const { address, port } of intercepts) runner.stack.intercept(address, port, acceptIntercepted);
      neighbours?.start();
      this.running = { runner, capture, neighbours };
      this.watch(facts, async (now) => {
        await guard.update(now);
        runner.stack.setStation(now);
        if (!capture.reopen(captureFilter(now, port, intercepts, addresses))) return false;
        neighbours?.restart(now.mac);
        return true;
      });
    } catch (error) {
      await this.undo();
      throw error;
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.watchTimer);
    const { running } = this;
    if (running !== undefined) {
      running.runner.beginClose();
      const end = performance.now() + CLOSE_GRACE;
      while (running.runner.stack.size.open > 0 && performance.now() < end) {
        await new Promise((resolve) => setTimeout(resolve, CLOSE_POLL));
      }
      this.lastCounters = this.counters();
      running.runner.close();
      this.running = undefined;
    }
    await this.undo();
  }

  counters(): Readonly<Record<string, number>> {
    if (this.running === undefined) return this.lastCounters;
    const { runner, capture, neighbours } = this.running;
    const { open, halfOpen, timeWait } = runner.stack.size;
    return {
      ...runner.stack.counters,
      ...capture.counters,
      ...(neighbours === undefined ? {} : { ...neighbours.counters, neighbour_vacant: neighbours.vacant }),
      connections_open: open,
      connections_half_open: halfOpen,
      connections_time_wait: timeWait,
      sources_known: runner.stack.sources,
      receive_memory_bytes: runner.stack.memory.inUse,
      fragment_memory_bytes: runner.stack.fragmentMemory,
    };
  }

  private answerNeighbours(
    { mac }: InterfaceFacts,
    send: (frame: Buffer, length: number) => void,
  ): NeighbourResponder | undefined {
    const { neighbours: addresses = [], onVacant = () => {} } = this.options;
    if (addresses.length === 0) return undefined;
    const responder = new NeighbourResponder({ clock: systemClock, mac, addresses, send, onVacant });
    this.cleanups.push(() => responder.close());
    return responder;
  }

  private async undo(): Promise<void> {
    for (const cleanup of this.cleanups.splice(0).reverse()) await cleanup();
  }

  /** Looks for changes of the interface, and has `apply` take them over, again until that goes well. */
  private watch(facts: InterfaceFacts, apply: (facts: InterfaceFacts) => Promise<boolean>): void {
    const { name } = facts;
    let known = signature(name);
    const look = async () => {
      const seen = signature(name);
      if (seen !== known) {
        // Down or without address: `readInterface` says so, and the next look tries again.
        const now = await readInterface(name).catch(() => undefined);
        if (now !== undefined && this.running !== undefined && (await apply(now).catch(() => false)))
          known = seen;
      }
      if (this.running !== undefined) this.watchTimer = setTimeout(look, WATCH_INTERVAL);
    };
    // Keeps the process alive while the interface is down and the capture with it.
    this.watchTimer = setTimeout(look, WATCH_INTERVAL);
  }
}

/** Something that differs when the interface was down in between, or has other addresses. */
function signature(name: string): string {
  const addresses = Object.entries(networkInterfaces())
    .filter(([label]) => label === name || label.startsWith(`${name}:`))
    .flatMap(([, entries]) => entries ?? [])
    .map((entry) => `${entry.mac} ${entry.address}`);
  let changes = "";
  try {
    changes = readFileSync(`/sys/class/net/${name}/carrier_changes`, "utf8");
  } catch {
    // /sys may show another network namespace, or the interface may be gone.
  }
  return `${changes.trim()} ${addresses.join(" ")}`;
}
