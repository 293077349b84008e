import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { UserError } from "@topicast/protocol";

const MAX_LINES = 2000;

export interface ChildOptions {
  /** For messages, e.g. `agent e1`. */
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

/** How a process ended: its exit code, or the signal that ended it. */
export type Exit = number | NodeJS.Signals;

/** One long-lived process with its output (both streams, by line, the last 2,000 kept). */
export class Child {
  readonly lines: string[] = [];
  readonly stderrLines: string[] = [];
  /** Settles when the process has ended and its output is read. */
  readonly exited: Promise<Exit>;
  exit: Exit | undefined;
  private readonly process: ChildProcess;
  private readonly listeners = new Set<(line: string) => void>();

  constructor(readonly options: ChildOptions) {
    const [program, ...args] = options.command;
    this.process = spawn(program!, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      // A session of its own: the terminal's Ctrl-C is for the owner alone.
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.read(this.process.stdout!, this.lines);
    this.read(this.process.stderr!, this.lines, this.stderrLines);
    // Its reader may be gone by the time something is written; that shows as its exit.
    this.process.stdin!.on("error", () => {});
    this.exited = new Promise((resolve) => {
      this.process.once("error", (error) => {
        this.lines.push(error.message);
        this.finish(resolve, 127);
      });
      this.process.once("close", (code, signal) => this.finish(resolve, code ?? signal ?? 1));
      // A grandchild that keeps the output open does not keep the process alive.
      this.process.once("exit", (code, signal) =>
        setTimeout(() => this.finish(resolve, code ?? signal ?? 1), 1000).unref(),
      );
    });
  }

  get pid(): number | undefined {
    return this.process.pid;
  }

  get name(): string {
    return this.options.name;
  }

  onLine(fn: (line: string) => void): () => void {
    this.listeners.add(fn);
    return () => this.listeners.delete(fn);
  }

  write(text: string): void {
    this.process.stdin!.write(text);
  }

  endInput(): void {
    this.process.stdin!.end();
  }

  signal(signal: NodeJS.Signals): void {
    if (this.exit === undefined) this.process.kill(signal);
  }

  /**
   * The first line, past or future, that matches. Rejects with a UserError that shows the last output when the process
   * ends before or `ms` have passed.
   */
  waitFor(pattern: RegExp, ms: number): Promise<string> {
    const past = this.lines.find((line) => pattern.test(line));
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      const end = (error?: UserError) => {
        clearTimeout(timer);
        remove();
        if (error) reject(error);
      };
      const remove = this.onLine((line) => {
        if (!pattern.test(line)) return;
        end();
        resolve(line);
      });
      const timer = setTimeout(() => end(this.failure(`said nothing like ${pattern} within ${ms} ms`)), ms);
      void this.exited.then((exit) => end(this.failure(`ended (${exit}) before ${pattern}`)));
    });
  }

  failure(what: string): UserError {
    const tail = this.lines.slice(-15).map((line) => `\n    ${line}`);
    return new UserError(`${this.name} ${what}${tail.length > 0 ? `; its last lines:${tail.join("")}` : ""}`);
  }

  /** Asks it to end (SIGTERM), and after `graceMs` makes it (SIGKILL). */
  async stop(graceMs = 5000): Promise<Exit> {
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), graceMs);
    const exit = await this.exited;
    clearTimeout(timer);
    return exit;
  }

  private finish(resolve: (exit: Exit) => void, exit: Exit): void {
    this.exit ??= exit;
    resolve(this.exit);
  }

  private read(stream: Readable, ...into: string[][]): void {
    createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on("line", (line) => {
      for (const lines of into) {
        lines.push(line);
        if (lines.length > MAX_LINES) lines.splice(0, lines.length - MAX_LINES);
      }
      for (const fn of this.listeners) fn(line);
    });
  }
}
