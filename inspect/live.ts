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

const LINKTYPE_ETHERNET = 1;
const RING_BYTES = 64 << 20;

/**
 * Captures on interfaces until Ctrl-C, SIGTERM, or what `options` say.
 *
 * @throws UserError where it cannot be captured on
 */
export async function inspectLive(options: LiveOptions): Promise<Inspection> {
  const { decodeAs = [], output, tables = tableNames, onFrame, seconds, count, filter } = options;
  const database = await Database.open(output, tables);
  try {
    const inspector = new Inspector(database, { decodeAs });
    let stop: () => void = () => {};
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    const open = (name: string) =>
      Capture.open({
        interface: name,
        filter,
        ringBytes: Math.floor(RING_BYTES / options.interfaces.length),
        onWarning: (message) => process.stderr.write(`topicast: ${message}\n`),
        onFrame: (bytes, length) => {
          if (count !== undefined && inspector.frames >= count) return;
          const frame = {
            // cap tells no time of its own.
            timeUs: Math.round((performance.timeOrigin + performance.now()) * 1000),
            nanos: 0,
            linkType: LINKTYPE_ETHERNET,
            bytes: bytes.subarray(0, length),
            length,
            interface: name,
          };
          onFrame?.(frame);
          inspector.onFrame(frame);
          if (inspector.frames === count) stop();
        },
      });
    const captures: Capture[] = [];
    try {
      for (const name of options.interfaces) captures.push(open(name));
    } catch (error) {
      for (const capture of captures) capture.close();
      throw error;
    }
    const timer = seconds === undefined ? undefined : setTimeout(stop, seconds * 1000);
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, stop);
    process.stderr.write(`topicast: capturing on ${options.interfaces.join(", ")}; Ctrl-C ends it\n`);
    await stopped;
    clearTimeout(timer);
    for (const [i, capture] of captures.entries()) {
      capture.close();
      const { capture_shed: shed, capture_truncated: truncated } = capture.counters;
      if (shed + truncated === 0) continue;
      const what = `${shed} frames came faster than they could be read, ${truncated} were too long`;
      inspector.onDamage(`${options.interfaces[i]}: ${what}`);
    }
    inspector.end();
    await database.finish();
    return { database, frames: inspector.frames, problems: inspector.problems };
  } catch (error) {
    database.close();
    throw error;
  }
}
