import { type Clock, systemClock, UserError } from "@topicast/protocol";
import type { ContentEngine, ContentRequest, ContentStats, ContentVerdict } from "../content.js";
import { requestFrame } from "./frames.js";
import { requestKey, VerdictMemory } from "./memory.js";
import { Pool } from "./pool.js";
import { ruleSources } from "./rule-sources.js";
import { type ContentSettings, contentSettings } from "./settings.js";
import { workerStarter } from "./worker-process.js";

export interface ContentEngineOptions {
  readonly clock?: Clock;
  /** One line about a worker that died, or about rules. */
  readonly log?: (line: string) => void;
}

/** Bytes of payloads in the queue, at most. */
const queueBytes = 16 * 1024 * 1024;

/** The most paranoid level at which numbers and times are known to match no rule (normal-form.ts). */
const inertParanoia = 2;

/** Rules with these may decide otherwise the next time, or are in files not seen here. */
const changing =
  /\b(?:TIME(?:_\w+)?|DURATION|UNIQUE_ID|IP|GLOBAL|RESOURCE|SESSION|USER|ENV)\b|initcol|@rbl|@inspectFile|@fuzzyHash|exec:|^\s*(?:Include|SecRuleScript|SecRuleRemote)/im;

/**
 * Starts workers with libmodsecurity and the rules that `given` asks for.
 *
 * @throws UserError for a setting out of range, rules that do not load (file and line), a library that is missing.
 */
export async function startContentEngine(
  given: Partial<ContentSettings> = {},
  options: ContentEngineOptions = {},
): Promise<LibModSecurityEngine> {
  const engine = new LibModSecurityEngine(contentSettings(given), options);
  await engine.reload();
  return engine;
}

/** What one reading of the rules brought: gone as a whole when they are read again. */
interface Generation {
  readonly pool: Pool;
  readonly memory: VerdictMemory;
  /** What waits for a verdict, by key: the same question is asked once. */
  readonly open: Map<string, Promise<ContentVerdict>>;
  readonly inert: boolean;
}

/** `ContentEngine` by worker processes; see README.md. */
export class LibModSecurityEngine implements ContentEngine {
  private current: Generation | undefined;
  private restartsBefore = 0;
  private readonly counts = {
    requests: 0,
    remembered: 0,
    clean: 0,
    matched: 0,
    busy: 0,
    crashed: 0,
    timeout: 0,
    oversize: 0,
  };
  private readonly clock: Clock;
  private closed = false;
  /** One reading of the rules at a time. */
  private loading: Promise<void> = Promise.resolve();

  constructor(
    private settings: ContentSettings,
    private readonly options: ContentEngineOptions,
  ) {
    this.clock = options.clock ?? systemClock;
  }

  get stats(): ContentStats {
    const pool = this.current?.pool;
    return {
      ...this.counts,
      restarts: this.restartsBefore + (pool?.restarts ?? 0),
      waiting: pool?.waiting ?? 0,
    };
  }

  /** Process ids of the workers. */
  get pids(): readonly number[] {
    return this.current?.pool.pids ?? [];
  }

  inspect(request: ContentRequest): ContentVerdict | Promise<ContentVerdict> {
    const { current } = this;
    this.counts.requests += 1;
    if (current === undefined) return this.count({ failed: "crashed" });
    if (sizeOf(request) > this.settings.maxBytes) return this.count({ failed: "oversize" });
    const key = requestKey(request, current.inert);
    const known = current.memory.get(key);
    if (known !== undefined) {
      this.counts.remembered += 1;
      return known;
    }
    return this.ask(current, key, request);
  }

  /**
   * Reads the rule files again, and takes over other settings where they are given.
   * @throws UserError that says what is wrong; then rules and settings stay.
   */
  reload(given?: Partial<ContentSettings>): Promise<void> {
    const loaded = this.loading.then(() => this.load(given));
    this.loading = loaded.catch(() => {});
    return loaded;
  }

  async close(): Promise<void> {
    this.closed = true;
    this.current?.pool.close();
    this.restartsBefore += this.current?.pool.restarts ?? 0;
    this.current = undefined;
  }

  private async load(given: Partial<ContentSettings> | undefined): Promise<void> {
    const settings = given === undefined ? this.settings : contentSettings(given);
    const sources = ruleSources(settings);
    const own = sources.flatMap((source) => (source.name === "topicast" ? [] : (source.text ?? [])));
    const pool = new Pool({ ...settings, queueBytes }, this.clock, workerStarter({ sources }), {
      died: (reason, pid, restartIn) =>
        this.options.log?.(
          `content worker ${pid ?? "(not started)"} ended (${reason}); the next starts in ${restartIn} ms`,
        ),
    });
    const error = await pool.started;
    if (error !== undefined) throw new UserError(error);
    if (this.closed) return pool.close();
    const before = this.current;
    this.settings = settings;
    this.current = {
      pool,
      memory: new VerdictMemory(own.some((text) => changing.test(text)) ? 0 : settings.remembered),
      open: new Map(),
      inert: own.length === 0 && settings.paranoia <= inertParanoia,
    };
    if (before === undefined) return;
    await before.pool.drain();
    this.restartsBefore += before.pool.restarts;
  }

  private ask(generation: Generation, key: string, request: ContentRequest): Promise<ContentVerdict> {
    const open = generation.open.get(key);
    if (open !== undefined) return open.then((verdict) => this.count(verdict));
    const answer = generation.pool.ask(requestFrame(request)).then((verdict) => {
      generation.open.delete(key);
      if ("clean" in verdict) generation.memory.set(key, verdict);
      return verdict;
    });
    generation.open.set(key, answer);
    return answer.then((verdict) => this.count(verdict));
  }

  private count(verdict: ContentVerdict): ContentVerdict {
    if ("failed" in verdict) this.counts[verdict.failed] += 1;
    else if (verdict.clean) this.counts.clean += 1;
    else this.counts.matched += 1;
    return verdict;
  }
}

/** Bytes of a payload, characters of all else that is judged. */
function sizeOf({ payload, topics, clientId, username = "", contentType = "", properties }: ContentRequest) {
  let size = payload.length + clientId.length + username.length + contentType.length;
  for (const topic of topics) size += topic.length;
  for (const [name, value] of properties) size += name.length + value.length;
  return size;
}
