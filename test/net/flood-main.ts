/** Sends garbage to fabric ports for a while: node flood-main.js SECONDS PER-SECOND ADDRESS:PORT... ; says how many. */
import { createSocket } from "node:dgram";
import { setTimeout as later } from "node:timers/promises";
import { encodeHeader, encodePacket, Kind, START, WHOLE } from "@topicast/protocol";
import { random } from "../unit/fabric/sim.js";

const [seconds = 0, perSecond = 0] = process.argv.slice(2, 4).map(Number);
const targets = process.argv.slice(4).map((text) => text.split(":") as [string, string]);
const rand = random(1);
const u32 = () => Math.floor(rand() * 2 ** 32);
const noise = Buffer.from(Array.from({ length: 1_400 }, () => u32() & 255));
const some = () => noise.subarray(0, Math.floor(rand() * noise.length));
const header = (kind: Kind, flags: number, number = u32()) =>
  encodeHeader({ kind, flags, source: u32(), epoch: u32(), stream: 0xefc0_0000 + (u32() & 0xffff), number });

/** Noise, streams that nobody sends, pieces of packets without end, agents that are none, and reports of nobody. */
const inventions: readonly (() => Buffer)[] = [
  some,
  () => Buffer.concat([header(Kind.DATA, WHOLE, 1 + (u32() & 0xff)), noise]),
  () => Buffer.concat([header(Kind.DATA, START, 0), noise]),
  () => Buffer.concat([header(Kind.HEARTBEAT, 0), some()]),
  () => Buffer.concat([header(Kind.STATUS, 0), some()]),
  () => Buffer.concat([header(Kind.CONTROL, WHOLE), some()]),
  register,
];

function register(): Buffer {
  const control = { kind: Kind.CONTROL, flags: WHOLE, source: u32(), epoch: u32(), stream: 0, number: 0 };
  const properties = { userProperties: { address: "127.0.0.1", port: "9", epoch: "1" } };
  const rest = { protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 5 } as const;
  const connect = encodePacket({ cmd: "connect", clientId: `nobody${u32()}`, properties, ...rest });
  return Buffer.concat([encodeHeader(control), connect]);
}

const socket = createSocket("udp4");
socket.on("error", () => {});
let sent = 0;
for (const begin = performance.now(); ; await later(1)) {
  const passed = (performance.now() - begin) / 1_000;
  if (passed > seconds) break;
  for (; sent < passed * perSecond; sent++) {
    const [address, port] = targets[sent % targets.length]!;
    socket.send(inventions[Math.floor(rand() * inventions.length)]!(), Number(port), address);
  }
}
console.log(`sent ${sent}`);
process.exit(0);
