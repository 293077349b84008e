import { networkInterfaces } from "node:os";
import { UserError } from "@topicast/protocol";
import type { Child } from "./child.js";
import { ROOT, type Run } from "./run.js";
import { parseTree, type Tree } from "./tree.js";

export interface NetworkOptions {
  /** Fan-out per level, the last one hosts; the script's default when empty. */
  readonly fanouts: readonly number[];
  /** Ryu's OpenFlow port on this machine. */
  readonly openflowPort: number;
  /** Ryu's REST port on this machine. */
  readonly ryuPort: number;
  /** Further arguments of the topology script. */
  readonly extra?: readonly string[];
}

/** The Mininet tree: a child process that ends, and takes the network with it, when its input does. */
export class Network {
  private constructor(
    readonly child: Child,
    readonly tree: Tree,
    private readonly pids: ReadonlyMap<string, number>,
    /** Ryu's REST as the forwarder's host reaches it. */
    readonly ryuUrl: string,
    /** The forwarder's host as this machine reaches it. */
    readonly forwarderManagementAddress: string,
  ) {}

  static async start(run: Run, options: NetworkOptions): Promise<Network> {
    const subnet = freeSubnet();
    const child = run.start({
      name: "Mininet",
      command: [
        "python3",
        `${ROOT}/mininet/topo_mqtt_lora_VM_bridged.py`,
        ...options.fanouts.flatMap((n) => ["-f", String(n)]),
        ...["--controller", `tcp:127.0.0.1:${options.openflowPort}`],
        ...["--ryu-port", String(options.ryuPort), "--management", `${subnet}.0/30`],
        ...(options.extra ?? []),
      ],
    });
    await child.waitFor(/^\*\*\* ready$/, 60_000);
    const answer = await commandLine(child, "py ' '.join('%s=%d' % (h.name, h.pid) for h in net.hosts)");
    const pids = new Map<string, number>();
    for (const [, name, pid] of answer.join(" ").matchAll(/(\w+)=(\d+)/g)) pids.set(name!, Number(pid));
    return new Network(
      child,
      parseTree(child.lines),
      pids,
      `http://${subnet}.1:${options.ryuPort}`,
      `${subnet}.2`,
    );
  }

  /** Runs one line in Mininet's command line; resolves with what it printed. */
  command(line: string, ms?: number): Promise<string[]> {
    return commandLine(this.child, line, ms);
  }

  /** The command that runs `command` in a host's network and mount namespaces. */
  inHost(host: string, command: readonly string[]): string[] {
    const pid = this.pids.get(host);
    if (pid === undefined) {
      throw new UserError(`there is no host ${host}; there are ${[...this.pids.keys()].join(", ")}`);
    }
    return ["nsenter", `--target=${pid}`, "--net", "--mount", "--", ...command];
  }

  address(host: string): string {
    const number = host === "fwd" ? 0 : Number(/^h(\d+)$/.exec(host)?.[1]);
    if (!this.pids.has(host) || Number.isNaN(number)) throw new UserError(`there is no host ${host}`);
    return `192.168.1.${100 + number}`;
  }

  /** Ends the network as a person would: end of input. */
  async stop(): Promise<void> {
    this.child.endInput();
    const timer = setTimeout(() => this.child.signal("SIGTERM"), 15_000);
    await this.child.exited;
    clearTimeout(timer);
  }
}

let commands = 0;

function commandLine(child: Child, line: string, ms = 30_000): Promise<string[]> {
  const end = `command ${++commands} done`;
  const output: string[] = [];
  const stopListening = child.onLine((text) => {
    if (text !== end) output.push(text);
  });
  child.write(`${line}\nsh echo ${end}\n`);
  return child
    .waitFor(new RegExp(`^${end}$`), ms)
    .then(() => output)
    .finally(stopListening);
}

/** The first three numbers of a /24 whose first /30 is nobody's here (RFC 3927 link-local). */
function freeSubnet(): string {
  const taken = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((a) => a.address));
  for (let n = 240; n < 255; n++) {
    if (!taken.some((address) => address.startsWith(`169.254.${n}.`))) return `169.254.${n}`;
  }
  throw new UserError("169.254.240.0 to 169.254.254.0 are all in use on this machine");
}
