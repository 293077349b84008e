/**
 * Sends segments of no connection as fast as the interface takes them, or SYNs of forged addresses at a rate:
 * flood-main.js INTERFACE SERVER-MAC SERVER-ADDRESS PORT MS [SYNS-PER-SECOND].
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Capture } from "@topicast/agent/capture/capture.js";
import { captureFilter } from "@topicast/agent/capture/filter.js";
import { readInterface } from "@topicast/agent/capture/interface.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { emptySegment, RST, SYN } from "@topicast/agent/tcp/wire/tcp.js";

const [name, mac, remote, port, ms, rate] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string | undefined,
];
const facts = await readInterface(name);
const capture = Capture.open({
  interface: name,
  filter: captureFilter(facts, 1),
  onFrame: () => {},
  onWarning: () => {},
});
const ends = { localMac: facts.mac, remoteMac: parseMac(mac), remote, remotePort: Number(port) };
const frame = Buffer.alloc(100);
const end = performance.now() + Number(ms);
if (rate === undefined) resets();
else await syns(Number(rate));
capture.close();

function resets(): void {
  const path = Path.between({ ...ends, local: facts.ipv4[0]!, localPort: 41_000 });
  const length = path.write({ ...emptySegment(), flags: RST }, frame);
  while (performance.now() < end) for (let i = 0; i < 100; i++) capture.send(frame, length);
}

async function syns(perSecond: number): Promise<void> {
  const syn = { ...emptySegment(), flags: SYN, window: 65_535, mss: 1460 };
  const start = performance.now();
  for (let sent = 0; performance.now() < end; await sleep(5)) {
    for (const due = ((performance.now() - start) / 1_000) * perSecond; sent < due; sent++) {
      const local = `10.${(sent >> 16) & 255}.${(sent >> 8) & 255}.${sent & 255}`;
      const path = Path.between({ ...ends, local, localPort: 1_024 + (sent % 60_000) });
      capture.send(frame, path.write({ ...syn, seq: sent }, frame));
    }
  }
}
