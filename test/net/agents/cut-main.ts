/**
 * A client of our own whose segments come in fragments, the last first, or behind an extension header:
 * cut-main.js INTERFACE SERVER-MAC SERVER-ADDRESS PORT cut|options. Sends 100,000 bytes and prints what the service answers.
 */
import { isIPv6 } from "node:net";
import { Capture } from "@topicast/agent/capture/capture.js";
import { captureFilter } from "@topicast/agent/capture/filter.js";
import { guardPort } from "@topicast/agent/capture/firewall.js";
import { readInterface } from "@topicast/agent/capture/interface.js";
import { StackRunner } from "@topicast/agent/tcp/runner.js";
import { TcpStream } from "@topicast/agent/tcp/stream.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { systemClock } from "@topicast/protocol";
import { pattern } from "../../unit/agents/tcp/pattern.js";
import { cut, withOptions } from "../../unit/agents/tcp/wire/cut.js";

const [name, mac, remote, port, how] = process.argv.slice(2) as [string, string, string, string, string];
const localPort = 42_000;
const facts = await readInterface(name);
const guard = await guardPort({ ...facts, interface: name, port: localPort });
const capture = Capture.open({
  interface: name,
  filter: captureFilter(facts, localPort),
  onFrame: (frame, length) => runner.receive(frame, length),
  onWarning: () => {},
});
let identification = 1;
const send = (frame: Buffer, length: number) => {
  const whole = Buffer.from(frame.subarray(0, length));
  identification += 1;
  const cuts = length > 300 ? [24, 208] : [];
  const frames = how === "options" ? [withOptions(whole)] : cut(whole, cuts, identification).reverse();
  for (const each of frames) capture.send(each, each.length);
};
// Room for the options.
const runner = new StackRunner(facts, { clock: systemClock, defer: setImmediate, send }, { mss: 1_400 });
const path = Path.between({
  localMac: facts.mac,
  remoteMac: parseMac(mac),
  local: isIPv6(remote) ? facts.ipv6[0]! : facts.ipv4[0]!,
  localPort,
  remote,
  remotePort: Number(port),
});
const connection = runner.stack.connect(path, systemClock.now());
runner.flush();
while (connection.state === "SYN-SENT") await new Promise((resolve) => setTimeout(resolve, 5));
const stream = new TcpStream(connection);
stream.write("count\n");
stream.end(pattern(0, 100_000));
for await (const chunk of stream) process.stdout.write(chunk);
capture.close();
await guard.remove();
