/**
 * A client of our own that tags its frames: vlan-main.js INTERFACE SERVER-MAC SERVER-ADDRESS PORT VLAN[,VLAN]. Asks the
 * service for its name and prints the answer. (The kernel may be built without VLAN interfaces.)
 */
import { isIPv6 } from "node:net";
import { Capture } from "@topicast/agent/capture/capture.js";
import { captureFilter } from "@topicast/agent/capture/filter.js";
import { readInterface } from "@topicast/agent/capture/interface.js";
import { StackRunner } from "@topicast/agent/tcp/runner.js";
import { TcpStream } from "@topicast/agent/tcp/stream.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { systemClock } from "@topicast/protocol";

const [name, mac, remote, port, vlans] = process.argv.slice(2) as [string, string, string, string, string];
const localPort = 40_000;
const facts = await readInterface(name);
const capture = Capture.open({
  interface: name,
  filter: captureFilter(facts, localPort),
  onFrame: (frame, length) => runner.receive(frame, length),
  onWarning: () => {},
});
const runner = new StackRunner(facts, {
  clock: systemClock,
  defer: setImmediate,
  send: (frame, length) => capture.send(frame, length),
});
const path = Path.between({
  localMac: facts.mac,
  remoteMac: parseMac(mac),
  vlans: vlans.split(",").map(Number),
  local: isIPv6(remote) ? facts.ipv6[0]! : facts.ipv4[0]!,
  localPort,
  remote,
  remotePort: Number(port),
});
const connection = runner.stack.connect(path, systemClock.now());
runner.flush();
while (connection.state === "SYN-SENT") await new Promise((resolve) => setTimeout(resolve, 5));
const stream = new TcpStream(connection);
stream.end("who\n");
for await (const chunk of stream) process.stdout.write(chunk);
capture.close();
