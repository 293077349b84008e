/**
 * Runs the transports' scenarios with Linux' own TCP as the client: client-main.js HOST PORT. Prints one JSON line for each:
 * {"name": ..., "error": null or text, "ms": ...}.
 */
import { SCENARIOS, socketAccess } from "../../unit/agents/transport/scenarios.js";

const [host, port] = process.argv.slice(2);
const access = socketAccess(host!, Number(port), true);
for (const { name, run } of SCENARIOS) {
  const start = performance.now();
  let error: string | null = null;
  try {
    await run(access);
  } catch (failure) {
    error = failure instanceof Error ? failure.message : String(failure);
  }
  console.log(JSON.stringify({ name, error, ms: Math.round(performance.now() - start) }));
}
