import { readFileSync } from "node:fs";
import { startContentEngine } from "@topicast/agent/firewall/content/engine.js";
import { httpRequests } from "@topicast/agent/firewall/content/mapping.js";
import type { ContentSettings } from "@topicast/agent/firewall/content/settings.js";
import type { ContentRequest, ContentRule, ContentVerdict } from "@topicast/agent/firewall/content.js";
import { readRules } from "@topicast/agent/firewall/rule-file.js";
import { UserError } from "@topicast/protocol";
import type { Command } from "commander";

interface Options {
  readonly kind: string;
  readonly topic?: string;
  readonly payload?: string;
  readonly payloadFile?: string;
  readonly contentType?: string;
  readonly clientId: string;
  readonly user?: string;
  readonly peer: string;
  readonly paranoia?: string;
  readonly threshold?: string;
  readonly families?: string;
  readonly firewallRules?: string;
  readonly show?: true;
}

/** Exit code where the rules refuse the packet. */
const refused = 3;

/** Adds `topicast firewall-test`: what the content rules say of one packet. */
export function addFirewallTest(program: Command): void {
  program
    .command("firewall-test [RULES...]")
    .description("what the firewall's content rules say of one packet; RULES: own SecRule files")
    .helpOption("-h, --help", "print this help")
    .option("--kind <KIND>", "publish, connect, subscribe or unsubscribe", "publish")
    .option("-t, --topic <TOPIC>", "its topic or filter")
    .option("-p, --payload <TEXT>", "its payload")
    .option("--payload-file <FILE>", "its payload from a file; - is standard input")
    .option("--content-type <TYPE>", "MQTT 5's Content Type")
    .option("--client-id <ID>", "the client's identifier", "test")
    .option("--user <NAME>", "its user name")
    .option("--peer <ADDRESS>", "its address", "192.0.2.1")
    .option("--firewall-rules <FILE>", "the agent's firewall rules (YAML), for their content section")
    .option("--paranoia <LEVEL>", "1 to 4 (default: 1)")
    .option("--threshold <SCORE>", "the score at which a packet is refused (default: 5)")
    .option("--families <LIST>", "families of the core rule set, with commas between (default: rce,xss,sqli)")
    .option("--show", "print the packet as the rules see it")
    .addHelpText(
      "after",
      `
Exit code: 0 the rules let it pass, ${refused} they refuse it, 1 there is no verdict.

Examples:
  topicast firewall-test -t plant/7/note -p "x' or 1=1--"
  topicast firewall-test own.conf -t plant/7/temp -p '{"temp": 900}' --show`,
    )
    .action(async (files: string[], options: Options) => {
      process.exitCode = await firewallTest(files, options);
    });
}

async function firewallTest(files: readonly string[], options: Options): Promise<number> {
  const request = requestOf(options);
  if (options.show) process.stdout.write(shown(request));
  // Nothing else keeps the process alive between two workers.
  const awake = setInterval(() => {}, 60_000);
  try {
    const engine = await startContentEngine({ ...settingsOf(options, files), workers: 1, timeout: 10_000 });
    try {
      const verdict = await engine.inspect(request);
      process.stdout.write(said(verdict));
      return "failed" in verdict ? 1 : verdict.clean ? 0 : refused;
    } finally {
      await engine.close();
    }
  } finally {
    clearInterval(awake);
  }
}

function requestOf(options: Options): ContentRequest {
  const kinds = ["publish", "connect", "subscribe", "unsubscribe"] as const;
  const kind = kinds.find((one) => one === options.kind);
  if (kind === undefined)
    throw new UserError(`--kind is ${options.kind}: it is one of ${kinds.join(", ")}`, 2);
  if (options.payload !== undefined && options.payloadFile !== undefined) {
    throw new UserError("--payload and --payload-file exclude each other: give one", 2);
  }
  return {
    kind,
    topics: options.topic === undefined ? [] : [options.topic],
    clientId: options.clientId,
    username: options.user,
    peer: options.peer,
    payload:
      options.payloadFile === undefined ? Buffer.from(options.payload ?? "") : read(options.payloadFile),
    contentType: options.contentType,
    properties: [],
  };
}

function read(file: string): Buffer {
  try {
    return readFileSync(file === "-" ? 0 : file);
  } catch (error) {
    throw new UserError(`cannot read the payload from ${file}: ${(error as Error).message}`);
  }
}

/** The rule file's, then what the command line says. */
function settingsOf(
  { firewallRules, paranoia, threshold, families }: Options,
  files: readonly string[],
): Partial<ContentSettings> {
  const ruled = firewallRules === undefined ? {} : (readRules(firewallRules).content?.engine ?? {});
  return {
    ...ruled,
    files: [...(ruled.files ?? []), ...files],
    ...(paranoia !== undefined && { paranoia: Number(paranoia) }),
    ...(threshold !== undefined && { threshold: Number(threshold) }),
    ...(families !== undefined && {
      families: families.split(",").filter(Boolean) as ContentSettings["families"][number][],
    }),
  };
}

function said(verdict: ContentVerdict): string {
  if ("failed" in verdict) return `no verdict: ${verdict.failed}\n`;
  if (!verdict.clean) {
    // A rule that denies by itself needs no score.
    const score = verdict.score === 0 ? "" : `, score ${verdict.score}`;
    return `refused${score}\n${verdict.rules.map(ruleLine).join("")}`;
  }
  const noted = verdict.noted ?? [];
  return noted.length === 0 ? "passes: no rule matches\n" : `passes, noted:\n${noted.map(ruleLine).join("")}`;
}

function ruleLine({ id, severity, message, matched }: ContentRule): string {
  const data = matched === "" ? "" : `\n          ${printable(matched)}`;
  return `  ${String(id).padEnd(6)}  ${severity.padEnd(8)}  ${printable(message)}${data}\n`;
}

/** The packet as HTTP, the body as text. */
function shown(request: ContentRequest): string {
  return httpRequests(request)
    .map(({ method, uri, headers, body }) => {
      const lines = [`${method} ${uri}`, ...headers.map(([name, value]) => `${name}: ${value}`)];
      if (body.length > 0) lines.push("", body.toString());
      return `${lines.map((line) => `  ${printable(line)}`).join("\n")}\n`;
    })
    .join("\n");
}

/** Terminals obey control characters. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
