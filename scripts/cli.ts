import { readFileSync } from "node:fs";
import { type AgentConfig, agentSettings, loadAgentConfig } from "@topicast/agent/config.js";
import {
  type ControllerConfig,
  controllerSettings,
  loadControllerConfig,
} from "@topicast/controller/config.js";
import {
  formatEndpoint,
  type Setting,
  type SettingSources,
  type Settings,
  UserError,
} from "@topicast/protocol";
import { Command, Option } from "commander";
import { addFirewallTest } from "./firewall-test.js";
import { report, serve } from "./serve.js";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const program = new Command("topicast")
  .description(
    "MQTT carried by the network itself: edge agents speak MQTT with the clients next to them, " +
      "the switches copy the messages, and a forwarder tells the switches where to.",
  )
  .version(version, "-V, --version", "print the version")
  .helpOption("-h, --help", "print this help")
  .helpCommand(false)
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
  .configureOutput({
    outputError: (text, write) => write(`${oneLine(text.replace(/^error: /, "topicast: "))}\n`),
  });

command("agent", "an edge agent: MQTT for the clients of one switch", agentSettings)
  .addHelpText(
    "after",
    `
Examples:
  topicast agent --transport socket --allow-anonymous      a complete broker by itself, without root
  topicast agent -i h1-eth0 -F 192.168.1.100 --password-file users --acl-file rules        an edge of the fabric
  topicast agent -i h1-eth0 --tlsport 8883 --cert server.pem --key server.key --ca clients.pem --require-client-cert
  topicast agent --config edge.yaml --log-level debug

The keys of the configuration file are the long flags, e.g. \`forwarder: 192.168.1.100\`. A flag wins over the
environment, the environment over the file. A password on the command line shows in the process list: prefer
TOPICAST_PASSWORD or the file. SIGHUP reads the certificates, the password file, the ACL file and the fabric's keys again.`,
  )
  .action((_options, self: Command) => {
    const config = loadAgentConfig(sourcesOf(self, agentSettings));
    return serve(agentReady(config), async () => {
      const { startAgent } = await import("@topicast/agent/agent.js");
      return startAgent(config);
    });
  });

command(
  "controller",
  "the forwarder: who wants which topic, and the switches' rules for it",
  controllerSettings,
)
  .addHelpText(
    "after",
    `
Examples:
  topicast controller --listen 192.168.1.100 --ryu http://127.0.0.1:8080
  topicast controller --listen 127.0.0.1             no switches: routes are served by unicast

The keys of the configuration file are the long flags, e.g. \`ryu: http://127.0.0.1:8080\`. A flag wins over the file.`,
  )
  .action((_options, self: Command) => {
    const config = loadControllerConfig(sourcesOf(self, controllerSettings));
    return serve(controllerReady(config), async () => {
      const { startController } = await import("@topicast/controller/controller.js");
      return startController(config);
    });
  });

program
  .command("check-config")
  .description("what is wrong with a file of settings, or of firewall rules: each mistake with its line")
  .helpOption("-h, --help", "print this help")
  .argument("<FILE>", "of `topicast agent --config`, `topicast controller --config` or `--firewall-rules`")
  .action(async (file: string) => {
    const { checkConfig } = await import("./check-config.js");
    const { lines, isInOrder } = await checkConfig(file);
    process.stdout.write(lines.map((line) => `${line}\n`).join(""));
    if (!isInOrder) process.exitCode = 2;
  });
addFirewallTest(program);

/** DuckDB is large: it is loaded only for this command. */
async function addInspect(): Promise<void> {
  const { defineInspect } = await import("@topicast/inspect/command.js");
  const inspect = program
    .command("inspect")
    .description("what is on the wire: captures as tables that one can ask");
  defineInspect(inspect.helpOption("-h, --help", "print this help"));
}

function command(name: string, description: string, settings: Settings): Command {
  const result = program.command(name).description(description).helpOption("-h, --help", "print this help");
  for (const [flag, setting] of Object.entries(settings)) result.addOption(optionOf(flag, setting));
  return result.option("--config <FILE>", "read settings from a YAML file");
}

function optionOf(name: string, setting: Setting): Option {
  const short = setting.short === undefined ? "" : `-${setting.short}, `;
  const preset = setting.presetHelp ?? setting.preset;
  const notes = [
    ...(preset === undefined ? [] : [`default: ${preset}`]),
    ...(setting.env === undefined ? [] : [`environment: ${setting.env}`]),
  ];
  const help = notes.length === 0 ? setting.help : `${setting.help} (${notes.join("; ")})`;
  const argument = setting.argument === undefined ? "" : ` <${setting.argument}>`;
  const option = new Option(`${short}--${name}${argument}`, help);
  if (setting.repeatable !== true) return option;
  return option.argParser((text: string, before: readonly string[] | undefined) => [...(before ?? []), text]);
}

type Given = string | readonly string[] | undefined;

/** What the command line itself gave. Checking is for the settings; commander only splits. */
function sourcesOf(self: Command, settings: Settings): SettingSources {
  const { config: file, ...options } = self.opts<{ config?: string } & Record<string, Given | true>>();
  const flags: Record<string, Given> = {};
  for (const option of self.options) {
    const name = option.long?.slice(2) ?? "";
    if (!Object.hasOwn(settings, name)) continue;
    const given = options[option.attributeName()];
    flags[name] = given === true ? "true" : given;
  }
  return { flags, env: process.env, file };
}

function agentReady({
  id,
  transport,
  interface: iface,
  intercept,
  forwarder,
  ...config
}: AgentConfig): string {
  const where = transport === "raw" ? `on ${iface}` : "on the kernel's sockets";
  const fabric = forwarder === undefined ? "by itself" : `forwarder ${formatEndpoint(forwarder)}`;
  const others = intercept === undefined ? "" : `, also for ${intercept.map(formatEndpoint).join(" and ")}`;
  const ports = [
    ["MQTT", config.tcpport],
    ["TLS", config.tlsport],
    ["WebSocket", config.wsport],
    ["secure WebSocket", config.wssport],
  ].flatMap(([name, port]) => (port === undefined ? [] : [`${name} port ${port}`]));
  return `agent ${id} is ready: ${ports.join(", ")} ${where}${others}, ${fabric}`;
}

function controllerReady({ listen, rest, ryu }: ControllerConfig): string {
  const dataplane = ryu === undefined ? "no switches, unicast" : `Ryu ${ryu}`;
  return `controller is ready: agents at ${formatEndpoint(listen)}, REST http://${formatEndpoint(rest)}, ${dataplane}`;
}

function oneLine(text: string): string {
  return text.trim().replaceAll(/\s*\n\s*/g, " ");
}

try {
  const first = process.argv[2];
  if (first === "inspect") await addInspect();
  else
    program
      .command("inspect [FILE...]")
      .description("what is on the wire: captures as tables that one can ask");
  await program.parseAsync();
} catch (error) {
  if (error instanceof UserError) {
    process.stderr.write(`topicast: ${oneLine(error.message)}\n`);
    process.exit(error.exitCode);
  }
  report(error);
  process.exit(1);
}
