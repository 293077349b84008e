/**
 * The main job, narrated: `node scripts/dist/demo.js [--hold] [--json FILE] [--capture FILE]`, run by scripts/demo.
 * Exit code 0 when every message arrived and every link carried the least possible, 1 otherwise.
 */
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { UserError } from "@topicast/protocol";
import type { Child } from "./testbed/child.js";
import type { Subscriber } from "./testbed/clients.js";
import { ROOT } from "./testbed/run.js";
import { FABRIC_PORT, Testbed } from "./testbed/testbed.js";
import type { TreeLink } from "./testbed/tree.js";

const MESSAGES = 200;
const PER_SECOND = 200;
const TOPIC = "plant/7/temp";
const FILTER = "plant/+/temp";
/** Host of each agent, by its id. */
const AGENTS = { e1: "h1", e3: "h3", e5: "h5", e7: "h7" } as const;
const SUBSCRIBED = ["e1", "e5"] as const;
const PUBLISHING = "e3";
/** The publishing device is configured with this broker, which exists nowhere: transparent mode. */
const BROKER = "192.168.1.250";

interface LinkResult {
  readonly link: TreeLink;
  readonly datagrams: number;
  readonly least: number;
}

const say = (line = "") => process.stdout.write(`${line}\n`);
let step = 0;
const next = (line: string) => say(`\n${++step}. ${line}`);
const detail = (line: string) => say(`   ${line}`);

/** The client's host beside an agent's: h2 for the agent on h1. */
const neighbour = (host: string) => `h${Number(host.slice(1)) + 1}`;

async function main(signal: AbortSignal): Promise<boolean> {
  const { values } = parseArgs({
    options: { hold: { type: "boolean" }, json: { type: "string" }, capture: { type: "string" } },
  });
  if (values.json !== undefined) writeJson(values.json, { ok: false });
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
  // It may come while nobody waits for it.
  stopped.catch(() => {});

  next("Network: Ryu, and a tree of Open vSwitch switches in Mininet");
  const testbed = await Testbed.start({ fanouts: [2, 2, 2], say: detail, signal });
  try {
    const capture = values.capture === undefined ? undefined : await startCapture(testbed, values.capture);
    const ok = await Promise.race([job(testbed, values.json), stopped]);
    if (capture !== undefined) await explain(capture, values.capture!);
    if (values.hold === true) await Promise.race([hold(testbed), stopped]);
    return ok;
  } finally {
    next("Taking everything down");
    await testbed.stop();
    detail("nothing is left");
  }
}

async function job(testbed: Testbed, json: string | undefined): Promise<boolean> {
  drawTree(testbed);

  next("Forwarder, and an agent on each edge");
  await testbed.startForwarder();
  detail(`forwarder in fwd (192.168.1.100), REST at ${testbed.forwarderUrl}`);
  await Promise.all(
    Object.entries(AGENTS).map(async ([id, host]) => {
      await testbed.startAgent(host, id, "--intercept", BROKER);
      detail(`agent ${id} in ${host} (${testbed.network.address(host)}:1883)`);
    }),
  );
  await testbed.waitForIntercept(BROKER, true);
  detail(`nobody has ${BROKER}: the switches lead its clients to the agent of their edge`);

  next("MQTT clients");
  const subscribers = new Map<string, Subscriber>();
  for (const id of SUBSCRIBED) {
    const host = neighbour(AGENTS[id]);
    subscribers.set(id, await testbed.subscribe(host, { agent: AGENTS[id], filter: FILTER }));
    detail(`mosquitto_sub in ${host} is subscribed to ${FILTER} at agent ${id}`);
  }
  const publisherHost = neighbour(AGENTS[PUBLISHING]);
  const publisher = await testbed.publisher(publisherHost, { agent: BROKER, topic: TOPIC });
  detail(
    `mosquitto_pub in ${publisherHost} keeps its configured broker, ${BROKER}: agent ${PUBLISHING} answers`,
  );

  next("The first message asks for the way");
  const asked = await testbed.openRoute(AGENTS[PUBLISHING], publisher, [...subscribers.values()]);
  detail(
    `the forwarder relayed ${asked} message(s) and told agent ${PUBLISHING} the group; the rules are in place`,
  );

  next(`${MESSAGES} messages on ${TOPIC}, ${PER_SECOND} a second`);
  const before = await testbed.links.snapshot();
  const skip = new Map([...subscribers].map(([id, s]) => [id, s.received.length]));
  const payloads = Array.from({ length: MESSAGES }, (_, i) => `${i + 1}`);
  await publisher.publishAll(payloads, PER_SECOND);
  const delivered: Record<string, number> = {};
  let complete = true;
  for (const [id, subscriber] of subscribers) {
    await subscriber.has(skip.get(id)! + MESSAGES, 5000);
    const received = subscriber.received.slice(skip.get(id)!).map((m) => m.payload);
    const inOrder = received.join() === payloads.join();
    delivered[id] = received.length;
    complete &&= inOrder;
    const order = inOrder ? "all, in order" : "NOT all in order";
    detail(`the client of ${id} received ${received.length} of ${MESSAGES}: ${order}`);
  }

  next("What each link carried (fabric datagrams, counted by the kernel on the link)");
  const members = SUBSCRIBED.map((id) => AGENTS[id]);
  const links = (await testbed.links.since(before)).map(({ link, datagrams }) => {
    const least = testbed.tree.least(link, AGENTS[PUBLISHING], members) * MESSAGES;
    return { link, datagrams, least };
  });
  drawLinks(testbed, links);
  const minimal = links.every((l) => l.datagrams === l.least);
  detail(
    minimal ? "every link carried exactly the least possible" : "NOT every link carried the least possible",
  );

  next("GET /topics");
  const topics = await countedTopics(testbed);
  // A list of plain values reads better in one line.
  const text = JSON.stringify(topics, null, 2).replace(/\[\s+("[^[\]]*")\s+\]/g, (_, list: string) => {
    return `[${list.replace(/\s*\n\s*/g, " ")}]`;
  });
  for (const line of text.split("\n")) detail(line);

  const ok = complete && minimal;
  if (json !== undefined) {
    const flat = links.map(({ link, datagrams, least }) => ({
      from: link.from,
      to: link.to,
      datagrams,
      least,
    }));
    writeJson(json, { ok, published: MESSAGES, delivered, links: flat });
  }
  return ok;
}

/** Captures the links between switches, and those to agents: what a client sends is there once. */
async function startCapture(testbed: Testbed, file: string): Promise<Child> {
  const agents = new Set<string>(Object.values(AGENTS));
  const links = testbed.tree.links.filter((link) => testbed.tree.isInner(link) || agents.has(link.to));
  const flags = [
    ...links.flatMap(({ from, port }) => ["-i", `${from}-eth${port}`]),
    "-f",
    `port ${FABRIC_PORT}`,
  ];
  const capture = testbed.run.start({
    name: "topicast inspect",
    command: [process.execPath, `${ROOT}/scripts/bin/topicast.js`, "inspect", ...flags, "-w", file],
  });
  await capture.waitFor(/capturing on/, 15_000);
  detail(`capturing on ${links.length} links into ${file}`);
  return capture;
}

async function explain(capture: Child, file: string): Promise<void> {
  next(`What the wires say: topicast inspect ${file}`);
  capture.signal("SIGINT");
  await capture.exited;
  const aside = new Set(capture.stderrLines);
  for (const line of capture.lines) if (!aside.has(line)) detail(line);
}

/** The forwarder's topics, once it has read the switches' packet counters again (it does so every second or two). */
async function countedTopics(testbed: Testbed): Promise<unknown> {
  for (let tries = 0; ; tries++) {
    const answer = (await testbed.get("/topics")) as { topics: { packets: number }[] };
    if (tries === 40 || answer.topics.every((t) => t.packets >= MESSAGES)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function drawTree(testbed: Testbed): void {
  const { tree } = testbed;
  const edges = new Map<string, string>(Object.entries(AGENTS).map(([id, host]) => [host, id]));
  const draw = (node: string, indent: string) => {
    const children = tree.children.get(node) ?? [];
    const hosts = children.filter((c) => !tree.children.has(c));
    const named = hosts.map((h) => (edges.has(h) ? `${h} (agent ${edges.get(h)})` : h));
    detail(`${indent}${node}${named.length > 0 ? `  ${named.join(", ")}` : ""}`);
    for (const child of children) if (tree.children.has(child)) draw(child, `${indent}   `);
  };
  draw(tree.switches[0]!, "");
}

function drawLinks(testbed: Testbed, links: readonly LinkResult[]): void {
  detail("link          datagrams   least possible");
  for (const { link, datagrams, least } of links) {
    const kind = testbed.tree.isInner(link) ? "" : "  (to a host)";
    const name = `${link.from} - ${link.to}`.padEnd(12);
    const verdict = datagrams === least ? "" : "   <-- more or fewer";
    detail(`${name}  ${String(datagrams).padStart(9)}   ${String(least).padStart(14)}${kind}${verdict}`);
  }
}

function writeJson(file: string, result: unknown): void {
  try {
    writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
  } catch (error) {
    throw new UserError(`--json ${file} cannot be written: ${(error as Error).message}`);
  }
}

/** Mininet's command line, until `exit` or end of input. */
async function hold(testbed: Testbed): Promise<void> {
  next("Holding: Mininet's command line (exit or Ctrl-D takes everything down)");
  detail(`forwarder's REST: ${testbed.forwarderUrl}/topics, also /agents /groups /topology /healthz`);
  detail(`Ryu's REST:       ${testbed.ryuUrl}/stats/switches`);
  const input = createInterface({ input: process.stdin, terminal: false });
  const prompt = () => process.stdout.write("mininet> ");
  const show = testbed.network.child.onLine((line) => {
    if (!line.startsWith("command ")) say(line);
  });
  prompt();
  for await (const line of input) {
    if (["exit", "quit", "EOF"].includes(line.trim())) break;
    await testbed.network.command(line, 2 ** 31 - 1);
    prompt();
  }
  show();
  say();
}

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
const abort = new AbortController();
let exitCode: number | undefined;
for (const signal of Object.keys(EXIT_CODES) as (keyof typeof EXIT_CODES)[]) {
  process.on(signal, () => {
    exitCode ??= EXIT_CODES[signal];
    abort.abort(new UserError(`stopped by ${signal}`, EXIT_CODES[signal]));
  });
}
// A terminal that was closed must not keep the network from being taken down.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

try {
  const ok = await main(abort.signal);
  say(ok ? "\nok" : "\nFAILED: see above");
  exitCode ??= ok ? 0 : 1;
} catch (error) {
  process.stderr.write(`demo: ${error instanceof UserError ? error.message : (error as Error).stack}\n`);
  exitCode ??= error instanceof UserError ? error.exitCode : 1;
}
process.exit(exitCode);
