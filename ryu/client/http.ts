import { setMaxListeners } from "node:events";
import * as http from "node:http";
import * as https from "node:https";
import { RyuError, type RyuErrorKind } from "./errors.js";

export interface HttpOptions {
  /** Base URL, e.g. `http://127.0.0.1:8080`; a path in it is kept in front of every call's. */
  readonly url: string;
  readonly timeoutMs: number;
  readonly maxConnections: number;
  readonly maxPending: number;
  readonly maxAnswerBytes: number;
}

/** What a call may set for itself. */
export interface CallOptions {
  /** Milliseconds until the call fails with kind `timeout`, waiting for a free connection included. */
  readonly timeoutMs?: number;
  /** Aborts the call (kind `aborted`). A command may have reached the switch nevertheless. */
  readonly signal?: AbortSignal;
}

export interface Call {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly dpid?: bigint;
  readonly body?: string;
  /** A read, which may be sent again if a kept connection turns out to be closed. */
  readonly read: boolean;
}

export interface Answer {
  readonly text: string;
  /** Milliseconds between having a connection and the end of the answer. */
  readonly elapsedMs: number;
}

interface Failure {
  readonly kind: RyuErrorKind;
  readonly detail: string;
  readonly status?: number;
  readonly cause?: unknown;
}

const CLOSED = "the client was closed";

/** HTTP to one Ryu over a bounded number of kept connections. */
export class HttpConnection {
  private readonly base: URL;
  private readonly agent: http.Agent;
  private readonly request: typeof http.request;
  /** How to abort each call that is under way. */
  private readonly underWay = new Set<(kind: "timeout" | "aborted", detail: string) => void>();
  private closed = false;

  constructor(private readonly options: HttpOptions) {
    this.base = new URL(options.url);
    const secure = this.base.protocol === "https:";
    if (!secure && this.base.protocol !== "http:") {
      throw new TypeError(`Ryu's URL must start with http:// or https://, not ${this.base.protocol}//`);
    }
    const settings = { keepAlive: true, maxSockets: options.maxConnections };
    this.agent = secure ? new https.Agent(settings) : new http.Agent(settings);
    this.request = secure ? https.request : http.request;
  }

  /** Calls that have been made and not yet answered. */
  get pending(): number {
    return this.underWay.size;
  }

  close(): void {
    this.closed = true;
    for (const stop of this.underWay) stop("aborted", CLOSED);
    this.agent.destroy();
  }

  /** Resolves with the answer's text if its status is 200; rejects with a RyuError otherwise. */
  async send(call: Call, { timeoutMs = this.options.timeoutMs, signal }: CallOptions): Promise<Answer> {
    if (this.closed) throw this.error(call, { kind: "aborted", detail: CLOSED });
    if (this.pending >= this.options.maxPending) {
      throw this.error(call, {
        kind: "overloaded",
        detail: `${this.pending} calls are waiting already; make fewer at a time`,
      });
    }
    const abort = new AbortController();
    const stop = (kind: "timeout" | "aborted", detail: string) => abort.abort({ kind, detail });
    this.underWay.add(stop);
    const timer = setTimeout(() => stop("timeout", `no complete answer within ${timeoutMs} ms`), timeoutMs);
    const onAbort = () => stop("aborted", "aborted by the caller");
    if (signal !== undefined) {
      // Any number of calls may share one signal; Node.js would take more than ten for a leak.
      setMaxListeners(0, signal);
      signal.addEventListener("abort", onAbort);
      if (signal.aborted) onAbort();
    }
    try {
      return await this.attempt(call, abort.signal, call.read ? 1 : 0);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      this.underWay.delete(stop);
    }
  }

  error(call: Call, failure: Failure): RyuError {
    return new RyuError(failure.kind, {
      url: this.options.url,
      call: `${call.method} ${call.path}`,
      dpid: call.dpid,
      ...failure,
    });
  }

  private attempt(call: Call, abort: AbortSignal, retries: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const fail = (failure: Failure) => reject(this.error(call, failure));
      if (abort.aborted) {
        fail(abort.reason as Failure);
        return;
      }
      const body = call.body === undefined ? undefined : Buffer.from(call.body);
      const request = this.request(this.target(call.path), {
        method: call.method,
        agent: this.agent,
        ...(body === undefined
          ? {}
          : { headers: { "content-type": "application/json", "content-length": body.length } }),
      });
      const stop = () => {
        fail(abort.reason as Failure);
        request.destroy();
      };
      abort.addEventListener("abort", stop);
      request.on("close", () => abort.removeEventListener("abort", stop));
      let start = performance.now();
      request.on("socket", () => {
        start = performance.now();
      });
      request.on("error", (error: NodeJS.ErrnoException) => {
        if (abort.aborted) return;
        // The server may close a kept connection at the very moment we use it: nothing was answered, ask again.
        if (retries > 0 && request.reusedSocket && error.code === "ECONNRESET") {
          this.attempt(call, abort, retries - 1).then(resolve, reject);
          return;
        }
        fail(unreachable(error));
      });
      request.on("response", (response) => {
        this.collect(response).then(
          (text) => {
            if (response.statusCode === 200) resolve({ text, elapsedMs: performance.now() - start });
            else fail(refusal(response.statusCode ?? 0, text));
          },
          (failure: Failure) => fail(failure),
        );
      });
      request.end(body);
    });
  }

  private target(path: string): URL {
    const target = new URL(this.base);
    target.pathname = this.base.pathname.replace(/\/$/, "") + path;
    return target;
  }

  private collect(response: http.IncomingMessage): Promise<string> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        chunks.push(chunk);
        if (size <= this.options.maxAnswerBytes) return;
        reject({
          kind: "bad-answer",
          detail: `the answer is longer than ${this.options.maxAnswerBytes} bytes (maxAnswerBytes)`,
        } satisfies Failure);
        response.destroy();
      });
      response.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
      response.on("error", (error) => reject(unreachable(error)));
    });
  }
}

function unreachable(error: NodeJS.ErrnoException): Failure {
  const detail =
    error.code === "ECONNREFUSED"
      ? "connection refused; is ryu-manager running there, with ofctl_rest and rest_topology?"
      : `no answer: ${error.code ?? error.message}`;
  return { kind: "unreachable", detail, cause: error };
}

/** What an answer with a status other than 200 means (wrapper functions stats_method and command_method of ofctl_rest). */
function refusal(status: number, text: string): Failure {
  const said = lastLine(text);
  switch (status) {
    case 400:
      return { kind: "bad-request", status, detail: said ?? "400: Ryu could not parse the body or the id" };
    case 404:
      // The applications answer with an empty body, the router with a page.
      return said === undefined
        ? { kind: "unknown-switch", status, detail: "404: not connected to Ryu, or no such port" }
        : { kind: "no-such-path", status, detail: "404: no application of this Ryu serves this path" };
    case 501:
      return {
        kind: "unsupported",
        status,
        detail: said ?? "501: not in the OpenFlow version of this switch",
      };
    case 502:
      return { kind: "refused", status, detail: said ?? "502: the switch answered with an error" };
    case 504:
      return { kind: "no-answer", status, detail: said ?? "504: the switch did not answer Ryu" };
    default:
      return { kind: "server", status, detail: `${status}: ${said ?? "no explanation"}` };
  }
}

/** A failing application answers with a Python traceback, whose last line says what happened. */
function lastLine(text: string): string | undefined {
  const line = text.trimEnd().split("\n").at(-1)?.trim();
  return line === undefined || line === "" ? undefined : line.slice(0, 300);
}
