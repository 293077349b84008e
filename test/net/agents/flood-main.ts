/**
 * Sends segments of no connection as fast as the interface takes them: flood-main.js INTERFACE SERVER-MAC SERVER-ADDRESS PORT MS.
 */
import { Capture } from "@topicast/agent/capture/capture.js";
import { captureFilter } from "@topicast/agent/capture/filter.js";
import { readInterface } from "@topicast/agent/capture/interface.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { emptySegment, RST } from "@topicast/agent/tcp/wire/tcp.js";

const [name, mac, remote, port, ms] = process.argv.slice(2) as [string, string, string, string, string];
const facts = await readInterface(name);
const capture = Capture.open({
  interface: name,
  filter: captureFilter(facts, 1),
  onFrame: () => {},
  onWarning: () => {},
});
const path = Path.between({
  localMac: facts.mac,
  remoteMac: parseMac(mac),
  local: facts.ipv4[0]!,
  localPort: 41_000,
  remote,
  remotePort: Number(port),
});
const frame = Buffer.alloc(100);
const length = path.write({ ...emptySegment(), flags: RST }, frame);
for (const end = performance.now() + Number(ms); performance.now() < end; ) {
  for (let i = 0; i < 100; i++) capture.send(frame, length);
}
capture.close();
