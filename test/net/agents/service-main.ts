/**
 * The transports' test service on a raw transport, as a process of its own: service-main.js INTERFACE PORT [JSON of TCP
 * settings]. Prints `ready` or the error to standard error; ends on SIGTERM, dies of an uncaught exception on SIGHUP, tells its
 * counters and heap_bytes, after collecting what is garbage, on SIGUSR2. Further arguments are endpoints to intercept, ADDRESS:PORT each; `vacant` and a list is printed at
 * each change.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { RawTransport } from "@topicast/agent/transport/raw.js";
import { parseEndpoint, UserError } from "@topicast/protocol";
import { Service } from "../../unit/agents/transport/service.js";

const [name, port, tcp = "{}", ...endpoints] = process.argv.slice(2);
const intercepts = endpoints.map((endpoint) => parseEndpoint(endpoint)!);
const transport = new RawTransport({
  interface: name!,
  port: Number(port),
  tcp: JSON.parse(tcp),
  intercepts,
  neighbours: [...new Set(intercepts.map((i) => i.address))],
  onVacant: (addresses) => console.error(`vacant ${addresses.join(" ")}`),
  onWarning: (message) => console.error(`warning: ${message}`),
});
const service = new Service(transport);
try {
  await transport.listen((stream) => service.accept(stream));
} catch (error) {
  console.error(error instanceof UserError ? error.message : error);
  process.exit(1);
}
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
process.on("SIGUSR2", () => {
  collect();
  console.error(JSON.stringify({ ...transport.counters(), heap_bytes: process.memoryUsage().heapUsed }));
});
process.once("SIGTERM", () => void transport.close());
process.once("SIGHUP", () => {
  throw new Error("on purpose");
});
console.error("ready");
