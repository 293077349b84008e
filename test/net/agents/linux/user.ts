import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { LINUX_ADDRESS, SCRIPT_ADDRESS } from "./lab.js";

const PROGRAM = fileURLToPath(new URL("../../../../net/agents/linux/user.py", import.meta.url));

/** What is known of one script's connection at Linux' side. */
export interface Told {
  readonly state: string;
  readonly closed: string | null;
  readonly read: number;
  /** What was read is not the test stream. */
  readonly faulty: boolean;
  readonly eof: boolean;
}

/** The sockets' user (user.py), in Linux' namespace; one process for all scripts. */
export class LinuxUser {
  private readonly child: ChildProcess;
  private closed = false;
  private readonly waiting = new Map<string, Array<(answer: string) => void>>();

  constructor(namespace: string) {
    this.child = spawn(
      "ip",
      ["netns", "exec", namespace, "/usr/bin/python3", PROGRAM, LINUX_ADDRESS, SCRIPT_ADDRESS],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    createInterface({ input: this.child.stdout! }).on("line", (line) => {
      const space = line.indexOf(" ");
      this.waiting.get(line.slice(0, space))?.shift()?.(line.slice(space + 1));
    });
    this.child.once("exit", (code) => {
      if (!this.closed) throw new Error(`user.py ended with ${code}`);
    });
  }

  /** The answer has a `fault` when there is no connection for the command. */
  async call(id: number, command: string): Promise<Partial<Told> & { readonly fault?: string }> {
    const name = String(id);
    const queue = this.waiting.get(name) ?? [];
    this.waiting.set(name, queue);
    const answer = new Promise<string>((resolve) => queue.push(resolve));
    this.child.stdin!.write(`${name} ${command}\n`);
    return JSON.parse(await answer) as Partial<Told>;
  }

  async ask(id: number): Promise<Told> {
    return (await this.call(id, "ask")) as Told;
  }

  close(): void {
    this.closed = true;
    this.child.stdin!.end();
  }
}
