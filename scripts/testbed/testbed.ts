import { createServer } from "node:net";
import { UserError } from "@topicast/protocol";
import type { Child } from "./child.js";
import { type ClientOptions, Publisher, Subscriber } from "./clients.js";
import { LinkCounters } from "./links.js";
import { Network } from "./network.js";
import { ROOT, Run } from "./run.js";
import { Switches } from "./switches.js";
import type { Tree } from "./tree.js";

export interface TestbedOptions {
  /** Fan-out per level, the last one hosts. */
  readonly fanouts: readonly number[];
  /** Further links between switches, which make loops; a switch beyond the tree's last is added. */
  readonly joins?: readonly (readonly [string, string])[];
  /** Told what is being done, one line each. */
  readonly say?: (line: string) => void;
  /** Stops half-way when aborted: `start` rejects with the reason and everything is taken down. */
  readonly signal?: AbortSignal;
}

/** Of `GET /topology`. */
interface Steering {
  readonly intercepts: {
    readonly address: string;
    readonly vacant: boolean;
    readonly wanted: number;
    readonly seen: number;
  }[];
  readonly switches: { readonly differing: number }[];
}

export const FABRIC_PORT = 1883;
export const CREDENTIALS = { username: "plant", password: "secret" };

/** Ryu, the tree, a forwarder and agents, each as the process that a person would start. */
export class Testbed {
  readonly run = new Run();
  readonly switches = new Switches(this.run);
  readonly agents = new Map<string, Child>();
  forwarder: Child | undefined;
  ryu!: Child;
  network!: Network;
  links!: LinkCounters;
  private starting: Promise<void> = Promise.resolve();
  private openflowPort = 0;
  private ryuPort = 0;

  private constructor(private readonly options: TestbedOptions) {}

  /** Ryu and the tree are up, every switch is connected, and Ryu knows every link. */
  static async start(options: TestbedOptions): Promise<Testbed> {
    const testbed = new Testbed(options);
    testbed.starting = testbed.startNetwork();
    try {
      await Promise.race([testbed.starting, abortion(options.signal)]);
    } catch (error) {
      await testbed.stop();
      throw error;
    }
    return testbed;
  }

  get tree(): Tree {
    return this.network.tree;
  }

  private get joins(): readonly (readonly [string, string])[] {
    return this.options.joins ?? [];
  }

  get ryuUrl(): string {
    return `http://127.0.0.1:${this.ryuPort}`;
  }

  /** The forwarder's REST as this machine reaches it. */
  get forwarderUrl(): string {
    return `http://${this.network.forwarderManagementAddress}:8081`;
  }

  private async startNetwork(): Promise<void> {
    await this.run.exec([`${ROOT}/scripts/cleanup`], 60_000);
    this.openflowPort = await freePort(6653);
    this.ryuPort = await freePort(8080);
    await this.startRyu();
    this.say(`building the tree (fan-outs ${this.options.fanouts.join(", ")}) in Mininet`);
    this.network = await Network.start(this.run, {
      fanouts: this.options.fanouts,
      openflowPort: this.openflowPort,
      ryuPort: this.ryuPort,
      extra: this.joins.flatMap(([one, other]) => ["-x", one, other]),
    });
    this.links = await LinkCounters.install(this.run, this.tree, FABRIC_PORT);
    await this.waitForTopology();
    this.say(`${this.tree.switches.length} switches are connected and Ryu knows every link`);
  }

  /** Starts Ryu; also again, on the same ports, after its end. */
  async startRyu(): Promise<void> {
    this.say(`starting Ryu (OpenFlow on port ${this.openflowPort}, REST on ${this.ryuPort})`);
    this.ryu = this.run.start({
      name: "Ryu",
      command: [
        `${ROOT}/ryu/ryu-manager`,
        ...["--ofp-tcp-listen-port", String(this.openflowPort), "--wsapi-port", String(this.ryuPort)],
      ],
    });
    await this.ryu.waitFor(/\bready\b/, 30_000);
  }

  /** Until Ryu knows every switch and both directions of every link between switches. */
  async waitForTopology(ms = 20_000): Promise<void> {
    const inner = this.tree.links.filter((l) => this.tree.isInner(l)).length + this.joins.length;
    const last = Math.max(
      this.tree.switches.length,
      ...this.joins.flat().map((name) => Number(name.slice(1))),
    );
    await eventually("Ryu knows every switch and link", ms, async () => {
      const switches = (await getJson(`${this.ryuUrl}/v1.0/topology/switches`)) as unknown[];
      const links = (await getJson(`${this.ryuUrl}/v1.0/topology/links`)) as unknown[];
      return switches.length === last && links.length === 2 * inner;
    });
  }

  /** Starts the forwarder in its host and waits until it serves; `extra` are further flags. */
  async startForwarder(...extra: string[]): Promise<Child> {
    const rest = `${this.network.forwarderManagementAddress}:8081`;
    const flags = ["--listen", `192.168.1.100:${FABRIC_PORT}`, "--ryu", this.network.ryuUrl, "--rest", rest];
    this.forwarder = this.topicast("forwarder", "fwd", ["controller", ...flags, ...extra]);
    await this.forwarder.waitFor(/\bready\b/, 15_000);
    return this.forwarder;
  }

  /** Starts the agent `id` in `host` and waits until the forwarder lists it; `extra` are further flags. */
  async startAgent(host: string, id: string, ...extra: string[]): Promise<Child> {
    const flags = ["--interface", `${host}-eth0`, "--forwarder", "192.168.1.100", "--id", id, ...extra];
    const agent = this.topicast(`agent ${id}`, host, ["agent", ...flags], {
      TOPICAST_USERNAME: CREDENTIALS.username,
      TOPICAST_PASSWORD: CREDENTIALS.password,
    });
    this.agents.set(id, agent);
    await agent.waitFor(/\bready\b/, 15_000);
    await eventually(`the forwarder lists agent ${id}`, 10_000, async () => {
      const { agents } = (await this.get("/agents")) as { agents: { id: string }[] };
      return agents.some((a) => a.id === id);
    });
    return agent;
  }

  /** Until every switch leads the clients of `address` to agents, and its owner, or that it has none, is known. */
  async waitForIntercept(address: string, vacant: boolean, ms = 15_000): Promise<void> {
    await eventually(`the switches lead clients of ${address} to agents`, ms, async () => {
      const { intercepts, switches } = (await this.get("/topology")) as Steering;
      const found = intercepts.find((i) => i.address === address);
      if (found === undefined) throw new Error("no agent answers for it");
      if (found.vacant !== vacant) throw new Error(found.vacant ? "it seems vacant" : "it seems owned");
      if (found.wanted === 0 || found.seen !== found.wanted)
        throw new Error(`${found.seen} of ${found.wanted}`);
      // What should not be there any more counts, too.
      if (switches.some((s) => s.differing > 0)) throw new Error("switches still hold other rules");
      return true;
    });
  }

  /** A process of the command line in a host. */
  topicast(name: string, host: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Child {
    const command = [process.execPath, `${ROOT}/scripts/bin/topicast.js`, ...args];
    return this.run.start({
      name,
      command: this.network.inHost(host, command),
      env: { ...process.env, ...env },
    });
  }

  subscribe(
    host: string,
    options: Partial<ClientOptions> & { agent: string; filter: string },
  ): Promise<Subscriber> {
    return Subscriber.start(this.run, this.network, host, { ...CREDENTIALS, ...options });
  }

  publisher(
    host: string,
    options: Partial<ClientOptions> & { agent: string; topic: string },
  ): Promise<Publisher> {
    return Publisher.start(this.run, this.network, host, { ...CREDENTIALS, ...options });
  }

  /**
   * Publishes single messages until one travels as a datagram of its group, not through the forwarder any more, and all
   * of `subscribers` have it. Answers how many went through the forwarder.
   *
   * @param host the host of the agent that `publisher` is connected to
   */
  async openRoute(host: string, publisher: Publisher, subscribers: readonly Subscriber[]): Promise<number> {
    const uplink = `${host}>${this.tree.parent(host)}`;
    const had = subscribers.map((s) => s.received.length);
    for (let sent = 1; sent <= 50; sent++) {
      const before = (await this.links.snapshot()).get(uplink);
      publisher.publish(`first ${sent}`);
      await eventually(`every subscriber has message ${sent}`, 5000, () =>
        subscribers.every((s, i) => s.received.length >= had[i]! + sent),
      );
      if ((await this.links.snapshot()).get(uplink) !== before) return sent - 1;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new UserError(`after 50 messages ${publisher.child.name} still has no route`);
  }

  /** Asks the forwarder's REST. */
  get(path: string): Promise<unknown> {
    return getJson(`${this.forwarderUrl}${path}`);
  }

  /** Takes everything down, in order, from whatever state it is in. */
  async stop(): Promise<void> {
    await Promise.all([...this.agents.values()].map((agent) => agent.stop()));
    await this.forwarder?.stop();
    await this.network?.stop();
    await this.run.stopAll();
    // A start that was interrupted finds that it can start nothing any more.
    await this.starting.catch(() => {});
    await this.run.exec([`${ROOT}/scripts/cleanup`], 60_000);
  }

  private say(line: string): void {
    this.options.say?.(line);
  }
}

/** Asks until `holds` answers true; an error counts as "not yet". Rejects after `ms`, with the last error if any. */
export async function eventually(
  what: string,
  ms: number,
  holds: () => Promise<boolean> | boolean,
): Promise<void> {
  const until = performance.now() + ms;
  let problem = "";
  for (;;) {
    try {
      if (await holds()) return;
      problem = "";
    } catch (error) {
      problem = `: ${(error as Error).message}`;
    }
    if (performance.now() > until) throw new UserError(`not within ${ms} ms: ${what}${problem}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export async function getJson(url: string): Promise<unknown> {
  const response = await fetch(url, { signal: AbortSignal.timeout(3000) }).catch((error: Error) => {
    throw new UserError(`GET ${url}: ${(error.cause as Error | undefined)?.message ?? error.message}`);
  });
  if (!response.ok) throw new UserError(`GET ${url}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** The first free TCP port from `first` upwards. */
async function freePort(first: number): Promise<number> {
  for (let port = first; port < first + 100; port++) {
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once("error", () => resolve(false));
      server.listen(port, () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new UserError(`the ports ${first} to ${first + 99} are all in use on this machine`);
}

function abortion(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    if (signal?.aborted) reject(signal.reason as Error);
  });
}
