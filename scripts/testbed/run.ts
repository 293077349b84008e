import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { UserError } from "@topicast/protocol";
import { Child, type ChildOptions } from "./child.js";

/** The clone's top folder. */
export const ROOT = resolve(import.meta.dirname, "../../..");

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Everything that one owner process starts. Each child carries the owner's mark in its environment and gets SIGTERM
 * from the kernel when the owner dies.
 */
export class Run {
  /** `<pid>.<start time>`: names the owner for good, also after its pid is used again. */
  readonly id = ownerId();
  private readonly children: Child[] = [];
  private closed = false;

  /** Starts a long-lived process; `stopAll` ends it. */
  start(options: ChildOptions): Child {
    if (this.closed) throw new UserError(`${options.name} is not started: everything is being taken down`);
    const child = new Child({
      ...options,
      command: ["setpriv", "--pdeathsig", "TERM", ...options.command],
      env: { ...(options.env ?? process.env), TOPICAST_RUN: this.id },
    });
    this.children.push(child);
    void child.exited.then(() => {
      const at = this.children.indexOf(child);
      if (at >= 0) this.children.splice(at, 1);
    });
    return child;
  }

  /** Runs a command to its end, at most `ms`. Any exit code is an answer, a missing program is 127. */
  exec(command: readonly string[], ms = 10_000): Promise<CommandResult> {
    const [program, ...args] = command;
    return new Promise((resolve) => {
      const env = { ...process.env, TOPICAST_RUN: this.id, LC_ALL: "C" };
      const options = { timeout: ms, env, maxBuffer: 64 << 20 };
      execFile(program!, args, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : 127;
        resolve({ code, stdout, stderr: stderr || (error !== null && code === 127 ? error.message : "") });
      });
    });
  }

  /** Like `exec`, but anything other than exit code 0 is an error that shows what the command said. */
  async output(command: readonly string[], ms?: number): Promise<string> {
    const { code, stdout, stderr } = await this.exec(command, ms);
    if (code !== 0)
      throw new UserError(`${command.join(" ")} failed (${code}): ${(stderr || stdout).trim()}`);
    return stdout;
  }

  /** Ends every process that still runs, the last one started first; from then on none can be started. */
  async stopAll(): Promise<void> {
    this.closed = true;
    for (const child of [...this.children].reverse()) await child.stop(10_000);
  }
}

function ownerId(): string {
  const stat = readFileSync("/proc/self/stat", "latin1");
  // Field 22, counted behind the command name, which may hold spaces and brackets (proc(5)).
  const started = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  return `${process.pid}.${started}`;
}
