import { type ChildProcess, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { ContentVerdict } from "../content.js";
import { answersFd, FrameReader, jsonFrame, readVerdict } from "./frames.js";
import type { WorkerHello, WorkerSetup } from "./worker.js";

/** What the pool knows of a worker. */
export interface Worker {
  /** Undefined where there is none, because it could not be started. */
  readonly pid: number | undefined;
  /** Question frames, one or more. */
  send(frames: Buffer): void;
  /** Ends it at once, stopped or hung as it may be. `ended` follows. */
  kill(): void;
}

export interface WorkerEvents {
  ready(hello: { readonly engine: string; readonly rules: number }): void;
  /** The answer to the oldest open question. */
  answer(verdict: ContentVerdict): void;
  /** Once. `refused`: the rules do not load, in the engine's words. */
  ended(how: { readonly refused?: string; readonly reason: string }): void;
}

export type StartWorker = (events: WorkerEvents) => Worker;

/** What a worker says on stderr (assertions, the loader's errors) is kept to this length for the log. */
const complaintMax = 500;

/** Starts worker processes with these rules. */
export function workerStarter(setup: WorkerSetup): StartWorker {
  const hello = jsonFrame(setup);
  return (events) => {
    const child = start();
    // Too many files or processes, too little memory.
    if (child instanceof Error) {
      queueMicrotask(() => events.ended({ reason: child.message }));
      return { pid: undefined, send: () => {}, kill: () => {} };
    }
    const questions = child.stdio[0] as Writable;
    // A worker that is gone is told of by its end, not by a pipe that broke.
    questions.on("error", () => {});
    const state = listen(child, events);
    questions.write(hello);
    return {
      pid: child.pid,
      send: (frames) => void questions.write(frames),
      kill: () => {
        state.killed = true;
        child.kill("SIGKILL");
      },
    };
  };
}

/** In a session of its own: what a terminal sends to the agent's group is not meant for it. It ends with its stdin. */
function start(): ChildProcess | Error {
  try {
    const program = fileURLToPath(new URL("./worker.js", import.meta.url));
    const child = spawn(process.execPath, ["--max-old-space-size=128", program], {
      stdio: ["pipe", "ignore", "pipe", "pipe"],
      detached: true,
      env: {},
    });
    if (child.pid !== undefined) return child;
    child.on("error", () => {});
    return new Error("the process could not be started");
  } catch (error) {
    return error as Error;
  }
}

function listen(child: ChildProcess, events: WorkerEvents): { killed: boolean } {
  const state = { killed: false };
  const reader = new FrameReader();
  let greeted = false;
  let refused: string | undefined;
  let complaint = "";
  let ended = false;
  const end = (reason: string) => {
    if (ended) return;
    ended = true;
    events.ended(refused === undefined ? { reason } : { refused, reason });
  };
  (child.stdio[answersFd] as Readable).on("data", (data: Buffer) => {
    for (const body of reader.push(data)) {
      if (greeted) {
        events.answer(readVerdict(body));
        continue;
      }
      greeted = true;
      const hello = JSON.parse(body.toString()) as WorkerHello;
      if (hello.ready) events.ready(hello);
      else refused = hello.error;
    }
  });
  (child.stdio[2] as Readable).on("data", (data: Buffer) => {
    complaint = (complaint + data.toString()).slice(0, complaintMax);
  });
  child.on("error", (error) => end(error.message));
  // Not `exit`: what it wrote before its end is to be read first.
  child.on("close", (code, signal) => {
    const how = state.killed ? "killed" : (signal ?? `exit code ${code}`);
    end(complaint === "" ? String(how) : `${how}: ${complaint.trim()}`);
  });
  return state;
}
