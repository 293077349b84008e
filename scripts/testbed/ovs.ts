import { execFile } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { UserError } from "@topicast/protocol";

const OVS_CTL = "/usr/share/openvswitch/scripts/ovs-ctl";
/** There while the Open vSwitch that runs is one that we started; mininet/ and scripts/cleanup know it too. */
const STARTED = "/run/topicast/openvswitch-started";

export interface Ovs {
  /** Stops Open vSwitch if this call of `ensureOvs` started it and no bridge is left in it. */
  stop(): Promise<void>;
}

/**
 * Makes sure that Open vSwitch runs: where it does (a service, somebody's network), it is left alone, and `stop` does
 * nothing; otherwise it is started, by systemd where that runs the machine, else by Open vSwitch's own script, which
 * needs no init system. Rejects with a UserError where it is not installed, does not start, or we are not root.
 */
export async function ensureOvs(): Promise<Ovs> {
  if ((await exec(["ovs-vsctl", "--version"])).code === 127) {
    throw new UserError(
      "Open vSwitch is not installed: run scripts/setup, or apt-get install openvswitch-switch",
    );
  }
  if (await running()) return { stop: async () => {} };
  if (process.getuid?.() !== 0) throw new UserError("starting Open vSwitch needs root: start me with sudo");
  const systemd = existsSync("/run/systemd/system");
  mkdirSync(dirname(STARTED), { recursive: true });
  writeFileSync(STARTED, "");
  const start = systemd
    ? ["systemctl", "start", "openvswitch-switch"]
    : [OVS_CTL, "start", "--system-id=random", "--no-record-hostname"];
  const { code, output } = await exec(start, 60_000);
  if (code !== 0 || !(await running())) {
    rmSync(STARTED, { force: true });
    throw new UserError(
      `Open vSwitch does not start: ${start.join(" ")} says: ${output.trim() || "nothing"}`,
    );
  }
  return {
    async stop() {
      const bridges = await exec(["ovs-vsctl", "--timeout=5", "list-br"]);
      if (bridges.code === 0 && bridges.output.trim() !== "") return;
      await exec(systemd ? ["systemctl", "stop", "openvswitch-switch"] : [OVS_CTL, "stop"], 60_000);
      rmSync(STARTED, { force: true });
    },
  };
}

/** Both of its processes answer: the database and the switch. */
async function running(): Promise<boolean> {
  const database = await exec(["ovs-vsctl", "--timeout=3", "--no-wait", "show"]);
  return database.code === 0 && (await exec(["ovs-appctl", "--timeout=3", "version"])).code === 0;
}

function exec([program, ...args]: string[], timeout = 10_000): Promise<{ code: number; output: string }> {
  // Without a run's mark: whoever ends the run's processes must not end the switch's.
  const { TOPICAST_RUN: _, ...env } = process.env;
  return new Promise((resolve) => {
    execFile(program!, args, { timeout, env }, (error, stdout, stderr) => {
      const failed = typeof error?.code === "number" ? error.code : 127;
      resolve({ code: error === null ? 0 : failed, output: `${stdout}${stderr}` });
    });
  });
}
