/** Something that runs until it is told to stop. */
export interface Running {
  close(): Promise<void>;
  /** Reads again what can change while it runs; where it is undefined, SIGHUP closes the service like SIGTERM. */
  readonly reload?: (() => void) | undefined;
}

/**
 * Runs a service for the life of this process: starts it, says `ready` on standard error, closes it on SIGTERM and
 * SIGINT and exits 0 (a second signal exits at once). An error that nobody caught closes it too, so that nothing is
 * left behind, and exits 1.
 *
 * SIGHUP reloads, where the service has something to reload; otherwise it is a terminal that went away, and closes it.
 *
 * Rejects with what `start` rejects with.
 * @param ready the line that tells what is served; it holds the word `ready`
 */
export async function serve(ready: string, start: () => Promise<Running>): Promise<void> {
  let running: Running | undefined;
  let exitCode: number | undefined;

  const finish = async (): Promise<never> => {
    try {
      await running?.close();
    } catch (error) {
      report(error);
      exitCode = 1;
    }
    process.exit(exitCode);
  };
  const stop = (code: number): void => {
    if (exitCode !== undefined) process.exit(1);
    exitCode = code;
    process.exitCode = code;
    // While it is still starting, what it has set up so far is closed once it has started.
    if (running !== undefined) void finish();
  };
  const onSignal = (): void => stop(0);
  const onUncaught = (error: unknown): void => {
    report(error);
    stop(1);
  };
  const onHangup = (): void => {
    if (running?.reload === undefined) stop(0);
    else running.reload();
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  process.on("SIGHUP", onHangup);
  process.on("uncaughtException", onUncaught);

  try {
    running = await start();
  } catch (error) {
    // Nothing runs that would have to be closed: signals and errors end the process as they would any other.
    process.off("SIGTERM", onSignal);
    process.off("SIGINT", onSignal);
    process.off("SIGHUP", onHangup);
    process.off("uncaughtException", onUncaught);
    throw error;
  }
  if (exitCode !== undefined) await finish();
  process.stderr.write(`topicast: ${ready}\n`);
}

/** For errors that no one foresaw: with the stack, for whoever is going to repair it. */
export function report(error: unknown): void {
  process.stderr.write(`topicast: unexpected error: ${error instanceof Error ? error.stack : error}\n`);
}
