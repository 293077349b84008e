import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ContentEngine } from "@topicast/agent/firewall/content.js";
import { DEFAULT_RULES } from "@topicast/agent/firewall/default-rules.js";
import type { FirewallEvent } from "@topicast/agent/firewall/event.js";
import { Firewall } from "@topicast/agent/firewall/firewall.js";
import { RuleMistakes, readRules } from "@topicast/agent/firewall/rule-file.js";
import type { Mode, Rules } from "@topicast/agent/firewall/rules.js";
import type { BrokerOptions } from "@topicast/agent/mqtt/index.js";
import { SimClock } from "@topicast/protocol";
import { type MemoryStream, streamPair, TestBroker, TestClient } from "../mqtt/harness.js";

/** Rules that nobody breaks, but for those given. */
export function rulesWith(given: Partial<Rules>): Rules {
  const nothing: Partial<Rules> = {
    rates: [],
    subscribeAll: undefined,
    protocol: undefined,
    takeOver: undefined,
  };
  return {
    ...DEFAULT_RULES,
    ...nothing,
    guessing: { address: undefined, user: undefined },
    ...given,
  };
}

/** Files in a directory of their own, gone at the end of `use`. */
export function withFiles<T>(files: Record<string, string>, use: (path: (name: string) => string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), "topicast-firewall-"));
  const path = (name: string) => join(directory, name);
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(path(name), text);
    return use(path);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** What a rule file says. */
export function rulesIn(yaml: string, files: Record<string, string> = {}): Rules {
  return withFiles({ ...files, "rules.yaml": yaml }, (path) => readRules(path("rules.yaml")));
}

/** All that is wrong with a rule file, `line: message`, or `file:line: message` for files that it names. */
export function mistakesIn(yaml: string, files: Record<string, string> = {}): string[] {
  return withFiles({ ...files, "rules.yaml": yaml }, (path) => {
    try {
      readRules(path("rules.yaml"));
    } catch (error) {
      if (!(error instanceof RuleMistakes)) throw error;
      return error.mistakes.map(({ file, line, message }) => {
        const name = file === path("rules.yaml") ? "" : `${file.slice(path("/").length)}:`;
        return `${name}${line}: ${message.replaceAll(path("/"), "")}`;
      });
    }
    return [];
  });
}

/** A broker behind a firewall, with clients at addresses of their own. */
export class WalledBroker extends TestBroker {
  readonly events: (FirewallEvent & { suppressed: number })[] = [];
  readonly firewall: Firewall;
  /** Sources of wrong passwords that the network is told of. */
  readonly guesses: string[] = [];

  constructor(
    rules: Partial<Rules>,
    {
      mode = "block",
      engine,
      ownAddresses = () => [],
      ...options
    }: BrokerOptions & { mode?: Mode; engine?: ContentEngine; ownAddresses?: () => readonly string[] } = {},
  ) {
    const clock = new SimClock();
    const firewall = new Firewall({
      clock,
      rules: rulesWith(rules),
      modes: new Map([["tcp", mode]]),
      engine,
      ownAddresses,
      onGuess: (whose) => this.guesses.push("source" in whose ? whose.source : whose.user),
      onEvent: (event, suppressed) => this.events.push({ ...event, suppressed }),
    });
    super({ ...options, screen: firewall }, clock);
    this.firewall = firewall;
  }

  /** A stream from `address` by the listener tcp. */
  from(address: string, version: 3 | 4 | 5 = 4): TestClient {
    const [server, client] = streamPair();
    (server as { peer: string }).peer = address.includes(":") ? `[${address}]:50000` : `${address}:50000`;
    (server as MemoryStream & { listener?: string }).listener = "tcp";
    this.broker.accept(server);
    return new TestClient(client, server, version);
  }

  override open(version: 3 | 4 | 5 = 4): TestClient {
    return this.from("192.0.2.1", version);
  }

  /** The events since the last call: `rule answer client: detail`. */
  told(): string[] {
    return this.events
      .splice(0)
      .map(({ rule, answer, client, detail }) => `${rule} ${answer} ${client ?? "-"}: ${detail}`);
  }

  counter(name: string): number {
    return this.firewall.counters()[name] ?? 0;
  }
}

/** A connected client at an address. */
export async function at(
  broker: WalledBroker,
  address: string,
  clientId: string,
  { version = 5 as 3 | 4 | 5, username = undefined as string | undefined, password = "p" } = {},
): Promise<TestClient> {
  const client = broker.from(address, version);
  const user = username === undefined ? {} : { username, password: Buffer.from(password) };
  client.send({ cmd: "connect", clientId, clean: true, keepalive: 0, protocolVersion: version, ...user });
  return client;
}
