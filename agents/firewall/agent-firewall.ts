import { networkInterfaces } from "node:os";
import type { Clock, Guessed, GuessLimit, ShutOut } from "@topicast/protocol";
import type { AgentConfig } from "../config.js";
import type { Log } from "../mqtt/log.js";
import { type LibModSecurityEngine, startContentEngine } from "./content/engine.js";
import { DEFAULT_RULES } from "./default-rules.js";
import { EventLog } from "./event-log.js";
import { Firewall } from "./firewall.js";
import { type Locate, LocatedEvents } from "./located.js";
import { readRules } from "./rule-file.js";
import type { ContentRule, Rules } from "./rules.js";

export interface AgentFirewallOptions {
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly unixTime: () => number;
  readonly log: Log;
  /** Somebody is shut out from now on, by this agent. */
  readonly onQuarantine: (entry: ShutOut) => void;
  /** See `FirewallOptions`. */
  readonly onGuess: (whose: Guessed, limit: GuessLimit) => void;
  /** Where clients are, for events. */
  readonly locate: Locate;
}

/** An agent's firewall with its files and processes: the rules, the events, the content engine. */
export class AgentFirewall {
  readonly screen: Firewall;
  private readonly log: EventLog;
  private readonly events: LocatedEvents;
  private engine: LibModSecurityEngine | undefined;
  private isClosed = false;
  /** One reading of the rules at a time. */
  private reading: Promise<void> = Promise.resolve();

  private constructor(
    private readonly config: AgentConfig,
    private readonly options: AgentFirewallOptions,
    rules: Rules,
  ) {
    const { clock, unixTime, log, onQuarantine, onGuess, locate } = options;
    const modes = new Map(
      Object.entries(config.listeners).map(([listener, { firewall }]) => [listener, firewall] as const),
    );
    this.log = new EventLog({ file: config.firewallLog, agent: config.id, log });
    this.events = new LocatedEvents(locate, (event) => this.log.write(event));
    this.screen = new Firewall({
      clock,
      rules,
      modes,
      onEvent: (event, suppressed) => this.events.add(event, suppressed, unixTime()),
      onGuess,
      ownAddresses,
      onQuarantine: (entry) => {
        log.warn(entry, "address quarantined");
        onQuarantine(entry);
      },
    });
  }

  /**
   * Undefined where no listener has a firewall. Rejects with a UserError that names the file, the line and what is wrong
   * there; nothing is left behind then.
   */
  static async open(config: AgentConfig, options: AgentFirewallOptions): Promise<AgentFirewall | undefined> {
    if (Object.values(config.listeners).every(({ firewall }) => firewall === "off")) return undefined;
    const rules = rulesOf(config);
    const firewall = new AgentFirewall(config, options, rules);
    try {
      await firewall.setEngine(rules.content);
    } catch (error) {
      await firewall.close();
      throw error;
    }
    return firewall;
  }

  /**
   * Reads the rules again, the content engine's, too, and opens the log again. Rules that cannot be used are logged, and
   * those of before stay. Resolves when that is done.
   */
  reload(): Promise<void> {
    this.log.reopen();
    this.reading = this.reading.then(() => this.read());
    return this.reading;
  }

  counters(): Readonly<Record<string, number>> {
    return { ...this.screen.counters(), ...this.events.counters, ...this.log.counters };
  }

  /** After the last connection. Resolves when all events are written. */
  async close(): Promise<void> {
    this.isClosed = true;
    await this.engine?.close();
    this.events.close();
    await this.log.close();
  }

  private async read(): Promise<void> {
    const { log } = this.options;
    const path = this.config.firewallRules ?? "built in";
    try {
      const rules = rulesOf(this.config);
      await this.setEngine(rules.content);
      if (this.isClosed) return;
      this.screen.setRules(rules);
      log.info({ path }, "firewall rules read again");
    } catch (error) {
      const reason = (error as Error).message;
      log.error({ reason }, "firewall rules not taken over; those of before stay in force");
    }
  }

  /** Starts the engine, has it read its rules again, or ends it. Rejects, and nothing has changed, where it cannot. */
  private async setEngine(content: ContentRule | undefined): Promise<void> {
    const { clock, log } = this.options;
    if (content === undefined) {
      this.screen.engine = undefined;
      await this.engine?.close();
      this.engine = undefined;
      return;
    }
    if (this.engine !== undefined) return this.engine.reload(content.engine);
    try {
      const onLine = (line: string) => log.warn({}, line);
      this.engine = await startContentEngine(content.engine, { clock, log: onLine });
    } catch (error) {
      if (!content.isOptional) throw error;
      const reason = (error as Error).message;
      log.warn({ reason }, "what clients write is not judged: scripts/setup installs what that needs");
      return;
    }
    if (this.isClosed) await this.engine.close();
    this.screen.engine = this.engine;
  }
}

function ownAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.filter(({ internal }) => !internal).map(({ address }) => address);
}

function rulesOf({ firewallRules }: AgentConfig): Rules {
  return firewallRules === undefined ? DEFAULT_RULES : readRules(firewallRules);
}
