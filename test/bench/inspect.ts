import { type ExecFileSyncOptions, execFileSync } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspectFiles } from "@topicast/inspect";
import { PcapngEncoder } from "@topicast/inspect/read/pcapng-writer.js";
import mqtt from "mqtt-packet";

export const name = "inspect: frames a second, against tshark on the same file";

const FRAMES = Number(process.env.INSPECT_FRAMES ?? 200_000);
const CLIENTS = 200;
const SAMPLE_MS = 50;
const RAW_IP = 101;

/** PUBLISHes of many clients to one server, a packet a segment, the server's ACK after each, with the CONNACK in its first. */
async function generate(path: string): Promise<void> {
  const file = createWriteStream(path);
  const encoder = new PcapngEncoder();
  file.write(encoder.header());
  const clients = Array.from({ length: CLIENTS }, () => ({ up: 1000, down: 5000, packets: 0 }));
  for (let i = 0; i < FRAMES; i++) {
    const client = (i >> 1) % CLIENTS;
    const state = clients[client]!;
    const isUp = (i & 1) === 0;
    const payload = isUp ? clientPacket(client, i, state.packets++ === 0) : serverPacket(state.packets === 1);
    const bytes = segment(client, isUp, state, payload);
    state[isUp ? "up" : "down"] += payload.length;
    const frame = {
      timeUs: 1_700_000_000_000_000 + i * 10,
      nanos: 0,
      linkType: RAW_IP,
      bytes,
      length: bytes.length,
    };
    if (!file.write(encoder.encode({ ...frame, interface: undefined }))) await once(file, "drain");
  }
  await new Promise<void>((resolve) => file.end(resolve));
}

function clientPacket(client: number, i: number, isFirst: boolean): Buffer {
  return isFirst
    ? mqtt.generate({
        cmd: "connect",
        clientId: `client-${client}`,
        protocolId: "MQTT",
        protocolVersion: 4,
        clean: true,
        keepalive: 60,
      })
    : mqtt.generate({
        cmd: "publish",
        topic: `plant/${client}/temp`,
        payload: `${i}`,
        qos: 0,
        dup: false,
        retain: false,
      });
}

function serverPacket(isFirst: boolean): Buffer {
  return isFirst ? mqtt.generate({ cmd: "connack", returnCode: 0, sessionPresent: false }) : Buffer.alloc(0);
}

function segment(
  client: number,
  isUp: boolean,
  next: { readonly up: number; readonly down: number },
  payload: Buffer,
): Buffer {
  const bytes = Buffer.alloc(40 + payload.length);
  const hosts = [Buffer.from([10, 0, client >> 8, client & 255]), Buffer.from([10, 9, 9, 9])];
  if (!isUp) hosts.reverse();
  bytes[0] = 0x45;
  bytes.writeUInt16BE(bytes.length, 2);
  bytes[8] = 64;
  bytes[9] = 6;
  bytes.set(hosts[0]!, 12);
  bytes.set(hosts[1]!, 16);
  bytes.writeUInt16BE(isUp ? 40_000 : 1883, 20);
  bytes.writeUInt16BE(isUp ? 1883 : 40_000, 22);
  bytes.writeUInt32BE(isUp ? next.up : next.down, 24);
  bytes.writeUInt32BE(isUp ? next.down : next.up, 28);
  bytes[32] = 0x50;
  bytes[33] = 0x18;
  payload.copy(bytes, 40);
  return bytes;
}

export async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "inspect-bench-"));
  const file = join(folder, "bench.pcapng");
  try {
    await generate(file);
    let peak = 0;
    const timer = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss);
    }, SAMPLE_MS);
    const all = await rate(async () => (await inspectFiles([file])).database.close());
    const asked = await rate(async () => (await inspectFiles([file], { tables: ["mqtt"] })).database.close());
    clearInterval(timer);
    const format = [
      "-T",
      "fields",
      "-e",
      "mqtt.topic",
      "-e",
      "mqtt.msgtype",
      "-e",
      "mqtt.qos",
      "-e",
      "ip.src",
    ];
    const options: ExecFileSyncOptions = { maxBuffer: 1 << 30, stdio: ["ignore", "pipe", "ignore"] };
    const listed = await rate(() => execFileSync("tshark", ["-r", file], options));
    const fields = await rate(() => execFileSync("tshark", ["-r", file, ...format], options));
    // Everything that it knows of a frame, as the tables have: of a tenth of the frames, for it takes its time.
    const share = FRAMES / 10;
    const json = ["-r", file, "-c", String(share), "-T", "json"];
    const told = (await rate(() => execFileSync("tshark", json, options))) / 10;
    const row = (what: string, perSecond: number) =>
      console.log(`  ${what.padEnd(44)}${Math.round(perSecond).toLocaleString("en").padStart(12)} frames/s`);
    row("all tables", all);
    row("table mqtt alone", asked);
    row("tshark, a line a frame", listed);
    row("tshark, four fields", fields);
    row("tshark, all it knows (-T json)", told);
    console.log(
      `  all tables: ${(all / fields).toFixed(1)} of tshark's fields, ${(all / told).toFixed(1)} of all it knows; ` +
        `mqtt alone: ${(asked / fields).toFixed(1)} of its fields`,
    );
    console.log(`  resident memory at most: ${Math.round(peak / 2 ** 20)} MiB`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function rate(work: () => unknown): Promise<number> {
  const started = performance.now();
  await work();
  return (FRAMES / (performance.now() - started)) * 1000;
}
