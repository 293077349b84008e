import { Capture } from "@topicast/agent/capture/capture.js";
import type { Inspection, InspectOptions } from "./inspect.js";
import { Inspector } from "./inspector.js";
import { Database } from "./tables/database.js";
import { tableNames } from "./tables/schema.js";

export interface LiveOptions extends InspectOptions {
  readonly interfaces: readonly string[];
  /** In tcpdump's language; empty: everything. */
  readonly filter: string;
  /** When to stop, beside Ctrl-C. */
  readonly seconds: number | undefined;
  readonly count: number | undefined;
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** LINKTYPE_ numbers of the tcpdump registry, by the names that cap has for them. */
const LINK_TYPES = new Map([
  ["NULL", 0],
  ["ETHERNET", 1],
  ["RAW", 101],
  ["LINKTYPE_LINUX_SLL", 113],
]);
const RING_BYTES = 64 << 20;
/** Only signals wait meanwhile, in ms. On a busy machine a few frames can take as long as many. */
const MAX_BURST = 1_000;

/**
 * Captures on interfaces until a signal, or what `options` say.
 *
 * @throws UserError where it cannot be captured on, or what is captured cannot be written
 */
export async function inspectLive(options: LiveOptions): Promise<Inspection> {
  const { decodeAs = [], output, tables = tableNames } = options;
  const database = await Database.open(output, tables);
  try {
    const inspector = new Inspector(database, { decodeAs });
    await capture(options, inspector);
    inspector.end();
    await database.finish();
    return { database, frames: inspector.frames, problems: inspector.problems };
  } catch (error) {
    database.close();
    throw error;
  }
}

async function capture(options: LiveOptions, inspector: Inspector): Promise<void> {
  const { interfaces, seconds } = options;
  const captures: Capture[] = [];
  let timer: NodeJS.Timeout | undefined;
  let stop = () => {};
  try {
    await new Promise<void>((resolve, reject) => {
      stop = resolve;
      for (const name of interfaces) captures.push(open(name, options, inspector, resolve, reject));
      if (seconds !== undefined) timer = setTimeout(stop, seconds * 1000);
      for (const signal of SIGNALS) process.once(signal, stop);
      process.stderr.write(`topicast: capturing on ${interfaces.join(", ")}; Ctrl-C ends it\n`);
    });
  } finally {
    clearTimeout(timer);
    for (const signal of SIGNALS) process.off(signal, stop);
    for (const each of captures) each.close();
  }
  for (const [i, { counters }] of captures.entries()) {
    const { capture_shed: shed, capture_truncated: truncated } = counters;
    if (shed + truncated === 0) continue;
    const what = `${shed} frames came faster than they could be read, ${truncated} were too long`;
    inspector.onDamage(`${interfaces[i]}: ${what}`);
  }
}

/** @param onEnd the last frame that was asked for is there */
function open(
  name: string,
  { onFrame, count, filter, interfaces }: LiveOptions,
  inspector: Inspector,
  onEnd: () => void,
  onError: (error: unknown) => void,
): Capture {
  const opened = Capture.open({
    interface: name,
    filter,
    linkTypes: [...LINK_TYPES.keys()],
    maxBurst: MAX_BURST,
    ringBytes: Math.floor(RING_BYTES / interfaces.length),
    onWarning: (message) => process.stderr.write(`topicast: ${message}\n`),
    onFrame: (bytes, length) => {
      if (count !== undefined && inspector.frames >= count) return;
      const frame = {
        // cap tells no time of its own.
        timeUs: Math.round((performance.timeOrigin + performance.now()) * 1000),
        nanos: 0,
        linkType: LINK_TYPES.get(opened.linkType)!,
        bytes: bytes.subarray(0, length),
        length,
        interface: name,
      };
      try {
        onFrame?.(frame);
        inspector.onFrame(frame);
      } catch (error) {
        // Thrown here it would end the process.
        onError(error);
      }
      if (inspector.frames === count) onEnd();
    },
  });
  return opened;
}
