/** Asks a real mosquitto and our own ACL the same questions about the same random files. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Acl, READ, WRITE } from "@topicast/agent/auth/acl.js";
import { parseAcl } from "@topicast/protocol";
import { connectAsync, type MqttClient } from "mqtt";
import type { Child } from "topicast/testbed/child";
import { Run } from "topicast/testbed/run";
import fc from "../../property.js";
import { freePort } from "../../unit/ports.js";

/** May do everything, so that what others may read can be published. */
const ROOT = "user root\ntopic #\ntopic $f/#\n";
const NOT_AUTHORIZED = 135;

const TOPICS = ["a", "b", "a/b", "a/a", "b/a", "a/x/y/b", "$f/a", "a/b/c", "x/y", "$f/x/y"];
const CLIENTS: readonly { clientId: string; username?: string }[] = [
  { clientId: "a" },
  { clientId: "b", username: "a" },
  { clientId: "x/y", username: "b" },
  { clientId: "$f", username: "x/y" },
  { clientId: "c", username: "a#" },
];

const level = fc.constantFrom("a", "b", "x", "y", "$f", "+", "%c", "%u", "a%c");
const filter = fc
  .tuple(fc.array(level, { maxLength: 3 }), fc.boolean())
  .map(([levels, all]) => [...levels, ...(all || levels.length === 0 ? ["#"] : [])].join("/"));
const rule = fc
  .tuple(
    fc.constantFrom("topic", "pattern"),
    fc.constantFrom("", "read ", "write ", "readwrite ", "deny "),
    filter,
  )
  .map(([word, access, f]) => `${word} ${access}${f}`);
const lines = fc.array(
  fc.oneof({ weight: 5, arbitrary: rule }, fc.constantFrom("user a", "user b", "user x/y", "user a#")),
  {
    maxLength: 14,
  },
);

describe("an ACL file's meaning", () => {
  const run = new Run();
  const folder = mkdtempSync(join(tmpdir(), "topicast-acl-"));
  const aclFile = join(folder, "rules");
  let mosquitto: Child;
  let port: number;
  let root: MqttClient;

  before(async () => {
    port = await freePort();
    writeFileSync(aclFile, ROOT);
    const config = join(folder, "mosquitto.conf");
    writeFileSync(
      config,
      `listener ${port} 127.0.0.1\nallow_anonymous true\nacl_file ${aclFile}\nuser root\n`,
    );
    mosquitto = run.start({ name: "mosquitto", command: ["/usr/sbin/mosquitto", "-c", config, "-v"] });
    await mosquitto.waitFor(/running/, 10_000);
    root = await connect({ clientId: "root", username: "root" });
  });

  after(async () => {
    await root?.endAsync(true);
    await run.stopAll();
    rmSync(folder, { recursive: true });
  });

  function connect(who: { clientId: string; username?: string }): Promise<MqttClient> {
    return connectAsync(`mqtt://127.0.0.1:${port}`, { ...who, protocolVersion: 5, reconnectPeriod: 0 });
  }

  function nextReload(): Promise<void> {
    return new Promise((resolve) => {
      const remove = mosquitto.onLine((line) => {
        if (!line.includes("Reloading config")) return;
        remove();
        resolve();
      });
    });
  }

  /** What mosquitto lets the client write and read of TOPICS. */
  async function measured(who: { clientId: string; username?: string }) {
    const client = await connect(who);
    const write: string[] = [];
    const read: string[] = [];
    try {
      for (const topic of TOPICS) {
        const reason = await client
          .publishAsync(topic, "w", { qos: 1 })
          .then(() => 0)
          .catch((error: { code?: number }) => error.code);
        if (reason !== NOT_AUTHORIZED) write.push(topic);
      }
      client.on("message", (topic) => read.push(topic));
      await client.subscribeAsync(["#", "$f/#"]);
      for (const topic of TOPICS) await root.publishAsync(topic, "r", { qos: 1 });
      // Its SUBACK comes behind what was published before.
      await client.subscribeAsync("end");
    } finally {
      await client.endAsync(true);
    }
    return { write, read };
  }

  it("is mosquitto's, for 40 random files, five clients, ten topics, reading and writing", async () => {
    let denied = 0;
    let granted = 0;
    for (const some of fc.sample(lines, { numRuns: 40, seed: 20_260_101 })) {
      const text = `${some.join("\n")}\n${ROOT}`;
      writeFileSync(aclFile, text);
      const reloaded = nextReload();
      mosquitto.signal("SIGHUP");
      await reloaded;
      const acl = new Acl(parseAcl(text, "rules"));
      for (const { clientId, username } of CLIENTS) {
        const who = { clientId, username };
        const ours = (access: number) => TOPICS.filter((topic) => acl.allows(who, topic, access));
        const expected = await measured(username === undefined ? { clientId } : { clientId, username });
        const got = { write: ours(WRITE), read: ours(READ) };
        assert.deepEqual(got, expected, `${JSON.stringify(who)} with\n${text}`);
        granted += got.write.length + got.read.length;
        denied += 2 * TOPICS.length - got.write.length - got.read.length;
      }
    }
    assert.ok(granted > 400 && denied > 400, `${granted} granted, ${denied} denied`);
  });

  const refused = [
    "topic a/#/b",
    "topic a b",
    "topic\ta",
    " # x",
    "user",
    "topic",
    "Topic a",
    "\ufefftopic a",
  ];
  const taken = [
    "topic a",
    "  topic a",
    "topic  read  a  b ",
    "user joe doe",
    "# x",
    "topic read",
    "pattern a",
    "user x\r",
  ];
  for (const line of [...refused, ...taken]) {
    const accepted = taken.includes(line);
    it(`${accepted ? "takes" : "refuses"} ${JSON.stringify(line)} as mosquitto does`, async () => {
      const file = join(folder, "one-line");
      writeFileSync(file, `${line}\n`);
      const config = join(folder, "one-line.conf");
      writeFileSync(config, `listener ${await freePort()} 127.0.0.1\nacl_file ${file}\nuser root\n`);
      const other = run.start({ name: "mosquitto", command: ["/usr/sbin/mosquitto", "-c", config, "-v"] });
      const theirs = await Promise.race([
        other.exited.then(() => false),
        other.waitFor(/running/, 10_000).then(
          () => true,
          () => false,
        ),
      ]);
      await other.stop(100);
      assert.equal(theirs, accepted, "mosquitto");
      const ours = () => parseAcl(`${line}\n`, "rules");
      if (accepted) ours();
      else assert.throws(ours, { name: "UserError" });
    });
  }
});
