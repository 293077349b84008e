import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

const bin = fileURLToPath(new URL("../../../../scripts/bin/topicast.js", import.meta.url));

function firewallTest(args: readonly string[], input = "") {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, "firewall-test", ...args], {
    input,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

test("firewall-test: refused with exit code 3 and the rule, or let pass", () => {
  const attack = firewallTest(["-t", "plant/7/note", "-p", "x' or 1=1--"]);
  assert.equal(attack.status, 3);
  assert.equal(
    attack.stdout,
    "refused, score 5\n  942100  CRITICAL  SQL Injection Attack Detected via libinjection\n" +
      "          Matched Data: s&1c found within ARGS:payload: x' or 1=1--\n",
  );
  assert.ok(firewallTest(["-p", "\u001b[2J", "--show"]).stdout.includes("payload=%1B%5B2J"));
  assert.ok(!firewallTest(["--client-id", "\u001b[2J", "--show"]).stdout.includes("\u001b"));
  assert.deepEqual(firewallTest(["-t", "a/b", "--payload-file", "-"], '{"t":21}'), {
    status: 0,
    stdout: "passes: no rule matches\n",
    stderr: "",
  });
});

test("firewall-test: own rules, and what they see", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "topicast-rules-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "own.conf");
  writeFileSync(
    file,
    `SecRule ARGS:json.temp "@gt 800" "id:1001,phase:2,deny,msg:'too hot',severity:WARNING"\n`,
  );
  const hot = firewallTest([file, "-t", "plant/7/temp", "-p", '{"temp":900}', "--show"]);
  assert.equal(hot.status, 3);
  assert.match(
    hot.stdout,
    /^ {2}PUBLISH \/plant\/7\/temp\?topic=plant%2F7%2Ftemp\n {2}Mqtt-Client-Id: test\n/,
  );
  assert.match(hot.stdout, /\nrefused\n {2}1001 {4}WARNING {3}too hot\n/);
  const rules = join(directory, "firewall.yaml");
  writeFileSync(rules, "content: { files: [own.conf], families: [rce] }\n");
  assert.equal(firewallTest(["--firewall-rules", rules, "-p", '{"temp":900}']).status, 3);
  assert.equal(firewallTest(["--firewall-rules", rules, "-p", "x' or 1=1--"]).status, 0);
  writeFileSync(file, "\nSecFoo\n");
  const bad = firewallTest([file]);
  assert.equal(bad.status, 1);
  assert.match(bad.stderr, new RegExp(`^topicast: ${file}:2:7: Invalid input`));
  assert.match(
    firewallTest(["--paranoia", "9"]).stderr,
    /content\.paranoia is 9: it is a whole number from 1 to 4/,
  );
  assert.equal(firewallTest(["--kind", "auth"]).status, 2);
});
