import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { UserError } from "@topicast/protocol";
import { checkConfig } from "topicast/check-config.js";

const directory = mkdtempSync(join(tmpdir(), "topicast-check-"));
after(() => rmSync(directory, { recursive: true }));

async function check(text: string): Promise<string[]> {
  const file = join(directory, "f.yaml");
  writeFileSync(file, text);
  const { lines, isInOrder } = await checkConfig(file);
  return [String(isInOrder), ...lines.map((line) => line.replaceAll(`${directory}/`, "").slice(0, 90))];
}

describe("check-config", () => {
  it("tells firewall rules, an agent's and a controller's settings apart", async () => {
    assert.deepEqual(await check("rates: []\nsafe: [10.0.0.1]\n"), [
      "true",
      "f.yaml: firewall rules, in order",
    ]);
    assert.deepEqual(await check("transport: socket\nfirewall: block\n"), [
      "true",
      "f.yaml: settings of an agent, in order",
    ]);
    assert.deepEqual(await check("listen: 10.0.0.1\nryu: http://127.0.0.1:8080\n"), [
      "true",
      "f.yaml: settings of a controller, in order",
    ]);
    assert.deepEqual(await check(""), ["true", "f.yaml: firewall rules, in order"]);
  });

  it("has the content engine read the SecRule files that firewall rules name", async () => {
    writeFileSync(join(directory, "own.conf"), `SecAction "id:1001,phase:1,pass,nolog"\n`);
    assert.deepEqual(await check("content: { files: [own.conf] }\n"), [
      "true",
      "f.yaml: firewall rules, in order",
    ]);
    writeFileSync(join(directory, "own.conf"), "\nSecFoo\n");
    assert.deepEqual(await check("content: { files: [own.conf] }\n"), [
      "false",
      "own.conf:2:7: Invalid input:  SecFoo",
      "f.yaml: firewall rules, 1 mistake",
    ]);
  });

  it("tells every mistake with its line", async () => {
    assert.deepEqual(await check("transport: quic\ntcpport: 99999\ninterface: h1-eth0\nspeed: 1\n"), [
      "false",
      'f.yaml:1: transport: "quic" is not accepted: must be raw or socket',
      "f.yaml:2: tcpport: 99999 is not accepted: must be a port number, 1 to 65535, or none",
      'f.yaml:4: there is no setting "speed": must be one of interface, tcpport, intercept, tlspo',
      "f.yaml: settings of an agent, 3 mistakes",
    ]);
    assert.deepEqual(await check("mqtt3: no\n"), [
      "false",
      'f.yaml:1: mqtt3: "no" must be one of acknowledge, disconnect',
      "f.yaml: firewall rules, 1 mistake",
    ]);
    assert.match((await check("a: [\n"))[1]!, /^f\.yaml:\d: not valid YAML/);
    await assert.rejects(() => checkConfig(join(directory, "none")), UserError);
  });

  it("looks into the rules that an agent's settings name, and says what they need beside them", async () => {
    writeFileSync(join(directory, "rules.yaml"), "safe: [x]\n");
    const rules = join(directory, "rules.yaml");
    assert.deepEqual(await check(`firewall: block\nfirewall-rules: ${rules}\n`), [
      "false",
      'rules.yaml:1: safe[0]: "x" must be an address or a network, such as 192.168.1.7 or 10.0.0.',
      "f.yaml: settings of an agent, 1 mistake",
    ]);
    assert.deepEqual(await check("firewall: block\nfirewall-rules: /nowhere/rules.yaml\n"), [
      "false",
      "f.yaml:2: firewall-rules: /nowhere/rules.yaml: no such file",
      "f.yaml: settings of an agent, 1 mistake",
    ]);
    assert.match(
      (await check("firewall: block\ntcpport: 1884\n"))[2]!,
      /^f\.yaml: not enough by itself: .*interface/,
    );
  });

  it("is a command, with an exit code", async () => {
    const bin = fileURLToPath(new URL("../../../../scripts/bin/topicast.js", import.meta.url));
    writeFileSync(join(directory, "good"), "rates: []\n");
    writeFileSync(join(directory, "bad"), "rates: 3\n");
    const out = execFileSync(process.execPath, [bin, "check-config", join(directory, "good")], {
      encoding: "utf8",
    });
    assert.equal(out, `${join(directory, "good")}: firewall rules, in order\n`);
    const bad = spawnSync(process.execPath, [bin, "check-config", join(directory, "bad")], {
      encoding: "utf8",
    });
    assert.equal(bad.status, 2);
    assert.match(bad.stdout, /bad:1: rates: 3 must be a list of rates, or off\n/);
    const none = spawnSync(process.execPath, [bin, "check-config", join(directory, "none")], {
      encoding: "utf8",
    });
    assert.deepEqual([none.status, none.stderr], [2, `topicast: ${join(directory, "none")}: no such file\n`]);
  });
});
