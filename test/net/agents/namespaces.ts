/**
 * Two network namespaces with a veth between them: `server` (10.77.0.1, fd77::1) for the raw transport, `client`
 * (10.77.0.2, fd77::2).
 * Everything is named after this process and removed by `close`.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export const SERVER_ADDRESS = "10.77.0.1";
export const CLIENT_ADDRESS = "10.77.0.2";
export const SERVER_ADDRESS6 = "fd77::1";
export const CLIENT_ADDRESS6 = "fd77::2";
export const PORT = 1883;

export class Namespaces {
  readonly server = `tc${process.pid}s`;
  readonly client = `tc${process.pid}c`;
  readonly middle: string | undefined;
  readonly interface = "edge0";
  private readonly children: ChildProcess[] = [];

  /** @param relayed puts a third namespace in between, where relay-main.ts can carry frames from `left0` to `right0` */
  constructor(relayed = false) {
    if (relayed) this.middle = `tc${process.pid}m`;
    for (const name of this.all) execFileSync("ip", ["netns", "add", name]);
    const edge = [this.server, this.interface] as const;
    const dev = [this.client, "dev0"] as const;
    if (this.middle === undefined) lay(edge, dev);
    else {
      lay(edge, [this.middle, "left0"]);
      lay([this.middle, "right0"], dev);
    }
    for (const [[name, link], address, address6] of [
      [edge, SERVER_ADDRESS, SERVER_ADDRESS6],
      [dev, CLIENT_ADDRESS, CLIENT_ADDRESS6],
    ] as const) {
      execFileSync("ip", ["-n", name, "address", "add", `${address}/24`, "dev", link]);
      execFileSync("ip", ["-n", name, "address", "add", `${address6}/64`, "dev", link, "nodad"]);
      execFileSync("ip", ["-n", name, "link", "set", "lo", "up"]);
    }
  }

  private get all(): string[] {
    return [this.server, this.client, ...(this.middle === undefined ? [] : [this.middle])];
  }

  /** Has every frame hold one segment, so that what happens to a frame happens to a segment. */
  sendSingleSegments(): void {
    const offloads = ["tso", "gso", "gro", "tx"].flatMap((offload) => [offload, "off"]);
    for (const [name, link] of [
      [this.server, this.interface],
      [this.client, "dev0"],
      ...(this.middle === undefined
        ? []
        : [
            [this.middle, "left0"],
            [this.middle, "right0"],
          ]),
    ] as Array<[string, string]>) {
      this.run(name, "ethtool", "-K", link, ...offloads);
    }
  }

  /** Runs a command in a namespace and returns what it prints. */
  run(namespace: string, ...command: string[]): string {
    return execFileSync("ip", ["netns", "exec", namespace, ...command], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  serverMac(): string {
    return this.run(this.server, "cat", `/sys/class/net/${this.interface}/address`).trim();
  }

  /** nft in the server's namespace. */
  rules(): string {
    return this.run(this.server, "nft", "list", "ruleset");
  }

  /** Starts a compiled program of this folder (or of the path given) in a namespace. */
  spawn(namespace: string, program: string, ...args: string[]): ChildProcess {
    const file = program.startsWith("/") ? program : `${import.meta.dirname}/${program}`;
    const child = spawn("ip", ["netns", "exec", namespace, process.execPath, file, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.children.push(child);
    return child;
  }

  /** Starts the service and waits until it is ready. */
  async serve(...args: string[]): Promise<ServiceProcess> {
    const child = this.spawn(this.server, "service-main.js", this.interface, String(PORT), ...args);
    const service = new ServiceProcess(child);
    await service.ready;
    return service;
  }

  async close(): Promise<void> {
    for (const child of this.children)
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    for (const name of this.all) execFileSync("ip", ["netns", "delete", name]);
  }
}

/** Lays a cable between two namespaces and takes it into use. */
function lay(from: readonly [name: string, link: string], to: readonly [name: string, link: string]): void {
  const [a, b] = [from, to].map(([name, link]) => ["name", link, "netns", name]);
  execFileSync("ip", ["link", "add", ...a!, "type", "veth", "peer", ...b!]);
  for (const [name, link] of [from, to]) execFileSync("ip", ["-n", name, "link", "set", link, "up"]);
}

/** A running service-main.js. */
export class ServiceProcess {
  readonly ready: Promise<void>;
  /** Everything it wrote to standard error. */
  errors = "";
  private onCounters: (line: string) => void = () => {};

  constructor(readonly child: ChildProcess) {
    this.ready = new Promise((resolve, reject) => {
      createInterface({ input: child.stderr! }).on("line", (line) => {
        this.errors += `${line}\n`;
        if (line === "ready") resolve();
        if (line.startsWith("{")) this.onCounters(line);
      });
      child.on("exit", (code) => reject(new Error(`the service ended with ${code}: ${this.errors}`)));
    });
    child.stdout?.resume();
  }

  /** Its counters and `heap_bytes`, without using the network. */
  async counters(): Promise<Record<string, number>> {
    const told = new Promise<string>((resolve) => {
      this.onCounters = resolve;
    });
    this.child.kill("SIGUSR2");
    return JSON.parse(await told) as Record<string, number>;
  }

  /** What can be said of it when a client gets no answer. */
  async describe(): Promise<string> {
    this.child.kill("SIGUSR2");
    await new Promise((resolve) => setTimeout(resolve, 500));
    const { exitCode, signalCode } = this.child;
    return `service: exit ${exitCode}, signal ${signalCode}, standard error:\n${this.errors}`;
  }

  /** Sends a signal and waits for the end; returns the exit code, or the signal that ended it. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | NodeJS.Signals | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null)
      return this.child.exitCode ?? this.child.signalCode;
    const ended = once(this.child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
    this.child.kill(signal);
    const [code, by] = await ended;
    return code ?? by;
  }
}
