import { randomBytes } from "node:crypto";
import { readSync, writeSync } from "node:fs";
import { answersFd, FrameReader, jsonFrame, readRequest, verdictFrame } from "./frames.js";
import { judgeContent } from "./judge.js";
import { ModSecurity, RuleError, type RuleSource } from "./modsecurity.js";

/**
 * A worker process: rules in the first frame on stdin, then questions, each answered before the next is read, so the agent
 * knows which question a worker that fell silent was at. Ends when stdin does.
 */
export interface WorkerSetup {
  readonly sources: readonly RuleSource[];
}

/** The first answer. */
export type WorkerHello =
  | { readonly ready: true; readonly engine: string; readonly rules: number }
  | { readonly ready: false; readonly error: string };

/** Debian's `nobody` and `nogroup`. */
const nobody = 65534;

function main(): void {
  let engine: ModSecurity | undefined;
  for (const body of frames()) {
    if (engine === undefined) engine = start(JSON.parse(body.toString()) as WorkerSetup);
    else write(verdictFrame(judgeContent((request) => engine!.judge(request), readRequest(body))));
  }
}

function start(setup: WorkerSetup): ModSecurity {
  try {
    const engine = new ModSecurity(setup.sources, randomBytes(12).toString("hex"));
    leavePrivileges();
    write(jsonFrame({ ready: true, engine: engine.version, rules: engine.size } satisfies WorkerHello));
    return engine;
  } catch (error) {
    const { message } = error as Error;
    const said =
      error instanceof RuleError
        ? message
        : `libmodsecurity cannot be used (${message}): install Debian's libmodsecurity3 and modsecurity-crs`;
    write(jsonFrame({ ready: false, error: said } satisfies WorkerHello));
    process.exit(1);
  }
}

/** What reads attackers' bytes in C++ does not stay root. */
function leavePrivileges(): void {
  process.chdir("/");
  if (process.getuid?.() !== 0) return;
  process.setgroups!([]);
  process.setgid!(nobody);
  process.setuid!(nobody);
}

function* frames(): Generator<Buffer> {
  const reader = new FrameReader();
  const chunk = Buffer.allocUnsafe(65536);
  for (;;) {
    const length = readSync(0, chunk);
    if (length === 0) return;
    yield* reader.push(Buffer.from(chunk.subarray(0, length)));
  }
}

function write(framed: Buffer): void {
  for (let at = 0; at < framed.length; ) at += writeSync(answersFd, framed, at);
}

main();
