import { isIP } from "node:net";
import type { Child } from "./child.js";
import type { Network } from "./network.js";
import type { Run } from "./run.js";

/** Where and as whom a client connects. */
export interface ClientOptions {
  /** Host of the agent to connect to, e.g. `h1`, or a broker's address that agents answer for. */
  readonly agent: string;
  readonly username: string;
  readonly password: string;
  readonly port?: number;
  /** Seconds, at least 5; mosquitto's own default is 60. */
  readonly keepAlive?: number;
  readonly qos?: 0 | 1 | 2;
}

/** A mosquitto program that tells what it does, line by line: into a pipe it would keep its lines to itself. */
function client(program: string, network: Network, options: ClientOptions): string[] {
  const { agent, port = 1883, username, password, keepAlive = 60, qos = 0 } = options;
  const access = [
    "-h",
    isIP(agent) !== 0 ? agent : network.address(agent),
    "-p",
    String(port),
    "-u",
    username,
    "-P",
    password,
  ];
  return ["stdbuf", "-oL", program, "-d", ...access, "-k", String(keepAlive), "-q", String(qos)];
}

export interface Received {
  readonly topic: string;
  readonly payload: string;
}

/** A mosquitto_sub that is subscribed. */
export class Subscriber {
  readonly received: Received[] = [];

  private constructor(readonly child: Child) {
    child.onLine((line) => {
      const match = /^MSG (\S+) (.*)$/.exec(line);
      if (match !== null) this.received.push({ topic: match[1]!, payload: match[2]! });
    });
  }

  /** Resolves once the SUBACK is there. */
  static async start(
    run: Run,
    network: Network,
    host: string,
    options: ClientOptions & { readonly filter: string },
  ): Promise<Subscriber> {
    const command = [...client("mosquitto_sub", network, options), "-t", options.filter, "-F", "MSG %t %p"];
    const child = run.start({
      name: `mosquitto_sub on ${host} (${options.filter})`,
      command: network.inHost(host, command),
    });
    const subscriber = new Subscriber(child);
    await child.waitFor(/ received SUBACK/, 15_000);
    return subscriber;
  }

  /** Resolves when `count` messages have come, or after `ms`; whether they have. */
  async has(count: number, ms: number): Promise<boolean> {
    const until = performance.now() + ms;
    while (this.received.length < count && performance.now() < until && this.child.exit === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return this.received.length >= count;
  }

  async stop(): Promise<void> {
    await this.child.stop();
  }
}

/** A mosquitto_pub that is connected and publishes to one topic, one message per `publish`. */
export class Publisher {
  private constructor(readonly child: Child) {}

  static async start(
    run: Run,
    network: Network,
    host: string,
    options: ClientOptions & { readonly topic: string },
  ): Promise<Publisher> {
    const command = [...client("mosquitto_pub", network, options), "-t", options.topic, "-l"];
    const child = run.start({
      name: `mosquitto_pub on ${host} (${options.topic})`,
      command: network.inHost(host, command),
    });
    await child.waitFor(/ received CONNACK \(0\)/, 15_000);
    return new Publisher(child);
  }

  /** Publishes `payload`, which must be one line. */
  publish(payload: string): void {
    this.child.write(`${payload}\n`);
  }

  /**
   * Publishes the payloads, at least 1/`perSecond` apart: a late one is never made up for by two at once, so that each
   * leaves on its own.
   */
  async publishAll(payloads: readonly string[], perSecond: number): Promise<void> {
    const interval = 1000 / perSecond;
    let next = performance.now();
    for (const payload of payloads) {
      const wait = next - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      this.publish(payload);
      next = Math.max(next + interval, performance.now());
    }
  }

  /** Lets it publish what it has read, and disconnect. */
  async stop(): Promise<void> {
    this.child.endInput();
    const timer = setTimeout(() => this.child.signal("SIGTERM"), 5000);
    await this.child.exited;
    clearTimeout(timer);
  }
}
