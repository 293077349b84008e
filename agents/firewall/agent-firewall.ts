import type { Clock } from "@topicast/protocol";
import type { AgentConfig } from "../config.js";
import type { Log } from "../mqtt/log.js";
import { DEFAULT_RULES } from "./default-rules.js";
import { EventLog } from "./event-log.js";
import { Firewall } from "./firewall.js";
import { readRules } from "./rule-file.js";

export interface AgentFirewallOptions {
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly unixTime: () => number;
  readonly log: Log;
}

/** An agent's firewall with its files: the rules and the events. */
export class AgentFirewall {
  readonly screen: Firewall;
  private readonly events: EventLog;

  private constructor(
    private readonly config: AgentConfig,
    private readonly options: AgentFirewallOptions,
  ) {
    const { clock, unixTime, log } = options;
    const rules = rulesOf(config);
    const modes = new Map(
      Object.entries(config.listeners).map(([listener, { firewall }]) => [listener, firewall] as const),
    );
    this.events = new EventLog({ file: config.firewallLog, agent: config.id, unixTime, log });
    this.screen = new Firewall({
      clock,
      rules,
      modes,
      onEvent: (event, suppressed) => this.events.write(event, suppressed),
      onQuarantine: ({ source, rule }) => log.warn({ source, rule }, "address quarantined"),
    });
  }

  /**
   * Undefined where no listener has a firewall.
   * @throws UserError that names the file, the line and what is wrong there
   */
  static open(config: AgentConfig, options: AgentFirewallOptions): AgentFirewall | undefined {
    const isOff = Object.values(config.listeners).every(({ firewall }) => firewall === "off");
    return isOff ? undefined : new AgentFirewall(config, options);
  }

  /** Reads the rules again, and opens the log again; rules that cannot be used are logged, and those of before stay. */
  reload(): void {
    const { log } = this.options;
    this.events.reopen();
    if (this.config.firewallRules === undefined) return;
    try {
      this.screen.setRules(rulesOf(this.config));
      log.info({ path: this.config.firewallRules }, "firewall rules read again");
    } catch (error) {
      const reason = (error as Error).message;
      log.error({ reason }, "firewall rules not taken over; those of before stay in force");
    }
  }

  counters(): Readonly<Record<string, number>> {
    return { ...this.screen.counters(), ...this.events.counters };
  }

  /** After the last connection. Resolves when all events are written. */
  close(): Promise<void> {
    return this.events.close();
  }
}

function rulesOf({ firewallRules }: AgentConfig) {
  return firewallRules === undefined ? DEFAULT_RULES : readRules(firewallRules);
}
