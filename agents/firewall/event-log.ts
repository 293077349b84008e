import { closeSync, openSync } from "node:fs";
import { UserError } from "@topicast/protocol";
import { pino } from "pino";
import type { Log } from "../mqtt/log.js";
import { eventLine } from "./event.js";
import type { LocatedEvent } from "./located.js";

/** Bytes that wait to be written; what comes then is lost. */
const WAITING_MAX = 1_048_576;

export interface EventLogOptions {
  /** Path of the file that lines are appended to; undefined: standard error. */
  readonly file: string | undefined;
  /** Id of the agent. */
  readonly agent: string;
  readonly log: Log;
}

/** Where events go: a line each. Never waits for the disk. */
export class EventLog {
  readonly counters = { events_lost: 0 };
  private readonly out: ReturnType<typeof pino.destination>;
  private failed = false;

  /** @throws UserError where the file cannot be written */
  constructor(private readonly options: EventLogOptions) {
    const { file, log } = options;
    if (file !== undefined) checkWritable(file);
    this.out = pino.destination({
      dest: file ?? 2,
      append: true,
      sync: file === undefined,
      maxLength: WAITING_MAX,
    });
    this.out.on("drop", () => {
      this.counters.events_lost += 1;
    });
    this.out.on("error", (error) => {
      this.counters.events_lost += 1;
      if (!this.failed)
        log.error({ file, reason: (error as Error).message }, "firewall events cannot be written");
      this.failed = true;
    });
  }

  write({ event, suppressed, time, at }: LocatedEvent): void {
    const { agent } = this.options;
    this.out.write(`${eventLine(event, agent, new Date(time).toISOString(), suppressed, at)}\n`);
  }

  /** Opens the file again, for who moves it away to rotate it. */
  reopen(): void {
    if (this.options.file === undefined) return;
    this.failed = false;
    this.out.reopen();
  }

  /** Resolves when everything is written. */
  close(): Promise<void> {
    const { out } = this;
    if (this.options.file === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      out.once("close", resolve);
      out.once("error", () => resolve());
      out.end();
    });
  }
}

function checkWritable(file: string): void {
  try {
    closeSync(openSync(file, "a"));
  } catch (error) {
    throw new UserError(
      `--firewall-log ${file}: cannot be written (${(error as NodeJS.ErrnoException).code})`,
      2,
    );
  }
}
