import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Run } from "topicast/testbed/run";
import { ROOT } from "./support.js";

const SETUP = `${ROOT}/scripts/setup`;

describe("scripts/setup", () => {
  const run = new Run();
  const folder = mkdtempSync(join(tmpdir(), "topicast-setup-"));
  before(() => run.output([SETUP], 600_000));
  after(() => rmSync(folder, { recursive: true }));

  /** Runs it where the programs `hidden` are not there: an overlay over their folders, in a mount namespace. */
  async function without(...hidden: string[]): Promise<string> {
    const hide = `
      set -e
      mount -t tmpfs tmpfs "$0"
      for program in ${hidden.join(" ")}; do
        for folder in $(type -aP "$program" | xargs -n 1 dirname | xargs -n 1 readlink -f | sort -u); do
          layer="$0/$program$folder"
          mkdir -p "$layer/upper" "$layer/work"
          mknod "$layer/upper/$program" c 0 0 # a whiteout, in overlayfs' terms
          mount -t overlay overlay -o "lowerdir=$folder,upperdir=$layer/upper,workdir=$layer/work" "$folder"
        done
      done
      exec "$@"`;
    const scratch = mkdtempSync(join(folder, "without-"));
    const { code, stderr } = await run.exec(
      ["unshare", "--mount", "bash", "--norc", "-c", hide, scratch, SETUP],
      60_000,
    );
    assert.equal(code, 1, `without ${hidden.join(", ")}: ${stderr}`);
    return stderr;
  }

  it("has nothing to do the second time, from any directory and in an empty environment", async () => {
    const started = performance.now();
    const said = await run.output(["env", "--ignore-environment", "--chdir=/", SETUP], 60_000);
    assert.ok(performance.now() - started < 10_000, "in seconds");
    assert.match(said, /^setup: git, Node\.js v\d+\S* and npm are there$/m);
    assert.match(said, /^setup: Debian packages are there$/m);
    assert.match(said, /^setup: npm packages are there$/m);
    assert.match(said, /^setup: Ryu is there$/m);
    assert.equal(await run.output([SETUP, "--quiet", "--tests"], 60_000), "");
  });

  it("names what is missing and where to get it, in one line", async () => {
    assert.match(
      await without("git"),
      /^setup: git is missing: install it \(Debian: apt-get install git\)\n$/,
    );
    assert.match(
      await without("node"),
      /^setup: Node\.js is missing: install version 20 or later with npm.*\n$/,
    );
    assert.match(await without("npm"), /^setup: npm is missing: it comes with Node\.js.*\n$/);
    assert.match(
      await without("apt-get", "mosquitto_sub"),
      /^setup: this is .*, and mosquitto_sub is missing: set-up is made for Debian 12; install .*\n$/,
    );
  });

  it("refuses an old Node.js", async () => {
    const old = join(folder, "node");
    writeFileSync(old, "#!/bin/sh\necho v18.19.0\n");
    chmodSync(old, 0o755);
    const { code, stderr } = await run.exec(["env", `PATH=${folder}:${process.env.PATH}`, SETUP]);
    assert.equal(code, 1);
    assert.match(stderr, /^setup: Node\.js v18\.19\.0 is too old: install version 20 or later.*\n$/);
  });

  it("tells how it is used", async () => {
    assert.match(await run.output([SETUP, "--help"]), /^usage: scripts\/setup/);
    const wrong = await run.exec([SETUP, "--nonsense"]);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /--nonsense is not an option/);
  });
});
