/**
 * One million retained messages (or as many as TOPICAST_RETAINED says) through the forwarder: how fast it takes them, what it and
 * its store grow to, how long an edge takes that knows none of them until a subscriber of everything has its SUBACK, and all
 * of them, and how long a forwarder takes that starts with that store. Processes of their own over loopback; the one that
 * fills it is an agent's part for retained messages alone.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Registration } from "@topicast/agent/fabric/registration.js";
import { Retainer } from "@topicast/agent/fabric/retainer.js";
import type { RetainedReplica } from "@topicast/agent/mqtt/uplink.js";
import {
  agentNumber,
  decodeDatagram,
  epochAt,
  FabricSocket,
  FabricTopic,
  payloadBytes,
  systemClock,
} from "@topicast/protocol";
import { connectAsync } from "mqtt";
import { ROOT } from "topicast/testbed/run";
import { freePort } from "../unit/ports.js";

export const name = "retained-million";

const COUNT = Number(process.env.TOPICAST_RETAINED ?? 1_000_000);
const PAYLOAD = Buffer.alloc(100, "x");
/** Handed over and not answered: those of a few milliseconds. */
const WINDOW = 5_000;
const MIB = 1024 * 1024;

export async function run(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "topicast-bench-"));
  const [udp, rest, tcp, agentUdp] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const forwarder = `127.0.0.1:${udp}`;
  const controller = [
    "controller",
    "--listen",
    forwarder,
    "--rest",
    `127.0.0.1:${rest}`,
    "--store",
    directory,
  ];
  const processes: ChildProcess[] = [];
  try {
    const first = await start(processes, controller, /\bready\b/);
    const before = memory(first.child);
    const seconds = await fill(udp);
    await sleep(2_000);
    console.log(
      `  ${COUNT.toLocaleString("en")} of ${PAYLOAD.length} bytes: taken in ${seconds.toFixed(1)} s, ` +
        `${Math.round(COUNT / seconds).toLocaleString("en")}/s, durable; the forwarder grows by ` +
        `${memory(first.child) - before} MiB, its store to ${folderSize(directory)} MiB`,
    );
    const agent = [
      "agent",
      "--transport",
      "socket",
      "--address",
      "127.0.0.1",
      "--id",
      "new",
      "-F",
      forwarder,
    ];
    const edge = await start(
      processes,
      [...agent, "-t", String(tcp), "-U", String(agentUdp), "--allow-anonymous"],
      /registered with the forwarder/,
    );
    const empty = memory(edge.child);
    const { granted, all } = await subscribe(tcp);
    console.log(
      `  a new edge: SUBACK of # after ${granted.toFixed(1)} s, all at the client after ${all.toFixed(1)} s; ` +
        `it grows by ${memory(edge.child) - empty} MiB`,
    );
    await end(edge.child);
    await end(first.child);
    const again = await start(processes, controller, /\bready\b/);
    console.log(
      `  a forwarder that starts with them: ready after ${again.seconds.toFixed(1)} s, ${memory(again.child)} MiB`,
    );
  } finally {
    for (const child of processes) await end(child);
    rmSync(directory, { recursive: true });
  }
}

/** Hands over all messages; seconds until the last one is kept. */
async function fill(udp: number): Promise<number> {
  const id = "filler";
  let onRegistered = () => {};
  const registered = new Promise<void>((resolve) => {
    onRegistered = resolve;
  });
  const socket = await FabricSocket.open({
    ...{ address: "127.0.0.1", port: await freePort(), seal: undefined },
    onDatagram: (bytes) => onDatagram(bytes),
  });
  const registration = new Registration({
    ...{
      clock: systemClock,
      unixTime: Date.now,
      id,
      number: agentNumber(id),
      dataEpoch: epochAt(Date.now()),
    },
    ...{ local: { ...socket.local, mac: undefined }, payloadBytes: payloadBytes(1_500, false) },
    transmit: (header, payload) => socket.sendEach(header, payload, [{ address: "127.0.0.1", port: udp }]),
    onRegistered: ({ retained }) => {
      retainer.onRegistered(retained);
      registration.endOfState();
      onRegistered();
    },
    announce: () => {},
    onLost: () => retainer.onLost(),
    onPacket: (packet) => {
      if (packet.cmd === "publish" && packet.topic === FabricTopic.KEPT)
        retainer.onKept(packet.payload as Buffer);
    },
    onState: () => {},
  });
  function onDatagram(bytes: Buffer): void {
    const datagram = decodeDatagram(bytes);
    if (typeof datagram === "object") registration.onDatagram(datagram);
  }
  const replica = { link() {}, unlink() {}, beginRound() {}, settle() {} } as unknown as RetainedReplica;
  const retainer = new Retainer(systemClock, registration, replica);
  registration.start();
  await registered;
  const began = performance.now();
  const kept: (Promise<void> | undefined)[] = [];
  for (let i = 0; i < COUNT; i++) {
    const topic = `site/${i % 100}/device/${i}/state`;
    kept.push(retainer.retain({ topic, payload: PAYLOAD, qos: 1, retain: true }));
    if (kept.length >= WINDOW) await kept.splice(0, WINDOW / 2)[WINDOW / 2 - 1];
  }
  await Promise.all(kept);
  const seconds = (performance.now() - began) / 1_000;
  retainer.close();
  registration.close();
  await socket.close();
  return seconds;
}

/** Seconds until a client's subscription to everything is granted, and until all is there. */
async function subscribe(tcp: number): Promise<{ granted: number; all: number }> {
  const client = await connectAsync(`mqtt://127.0.0.1:${tcp}`, { protocolVersion: 5 });
  let got = 0;
  const done = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${got} of ${COUNT} after 180 s`)), 180_000);
    client.on("message", () => {
      got += 1;
      if (got < COUNT) return;
      clearTimeout(timer);
      resolve();
    });
  });
  const began = performance.now();
  await client.subscribeAsync("#", { qos: 0 });
  const granted = (performance.now() - began) / 1_000;
  await done;
  await client.endAsync();
  return { granted, all: (performance.now() - began) / 1_000 };
}

async function start(
  processes: ChildProcess[],
  args: readonly string[],
  ready: RegExp,
): Promise<{ child: ChildProcess; seconds: number }> {
  const began = performance.now();
  const child = spawn(process.execPath, [`${ROOT}/scripts/bin/topicast.js`, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  processes.push(child);
  for await (const line of createInterface(child.stderr!)) if (ready.test(line)) break;
  if (child.exitCode !== null) throw new Error(`topicast ${args.join(" ")} ended`);
  return { child, seconds: (performance.now() - began) / 1_000 };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill();
  await exited;
}

/** What the process takes, in MiB. */
function memory({ pid }: ChildProcess): number {
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))!;
  return Math.round(Number(kilobytes) / 1024);
}

function folderSize(directory: string): number {
  const bytes = readdirSync(directory).reduce((sum, file) => sum + statSync(join(directory, file)).size, 0);
  return Math.round(bytes / MIB);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
