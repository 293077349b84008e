import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { startContentEngine } from "@topicast/agent/firewall/content/engine.js";
import type { ContentSettings } from "@topicast/agent/firewall/content/settings.js";
import type { ContentVerdict } from "@topicast/agent/firewall/content.js";
import { UserError } from "@topicast/protocol";
import { full, refused, request } from "./oracle.js";
import { random } from "./ordinary.js";

async function engine(t: TestContext, settings: Partial<ContentSettings> = {}) {
  const log: string[] = [];
  const started = await startContentEngine(
    { workers: 1, timeout: 20_000, ...settings },
    { log: (line) => log.push(line) },
  );
  // The clock's timers let a process end, and between two workers there is nothing else.
  const awake = setInterval(() => {}, 1000);
  t.after(() => {
    clearInterval(awake);
    return started.close();
  });
  return Object.assign(started, { log });
}

function folder(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "topicast-content-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

const attack = (n: number) => request({ text: `{"n":"number ${n}","note":"x' or 1=1-- "}` });

async function until(what: string, done: () => boolean | Promise<boolean>): Promise<void> {
  const start = performance.now();
  while (!(await done())) {
    assert.ok(performance.now() - start < 10_000, `waited 10 s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("verdicts name rule, data and score; the second time they are remembered, numbers aside", async (t) => {
  const content = await engine(t);
  assert.deepEqual(await content.inspect(request({ text: '{"t":21.5}' })), { clean: true });
  assert.deepEqual(content.inspect(request({ text: '{"t":-3}' })), { clean: true });
  const verdict = await content.inspect(request({ text: '{"t":"1\' or 1=1--"}' }));
  assert.deepEqual(verdict, {
    clean: false,
    score: 5,
    rules: [
      {
        id: 942100,
        message: "SQL Injection Attack Detected via libinjection",
        matched: "Matched Data: s&1c found within ARGS:json.t: 1' or 1=1--",
        severity: "CRITICAL",
      },
    ],
  });
  assert.deepEqual(content.inspect(request({ payload: Buffer.alloc(70_000, 0x61) })), { failed: "oversize" });
  const { requests, remembered, clean, matched, oversize } = content.stats;
  assert.deepEqual(
    { requests, remembered, clean, matched, oversize },
    { requests: 4, remembered: 1, clean: 1, matched: 1, oversize: 1 },
  );
});

test("what is too large to be judged is so with its properties and filters, not with its payload alone", async (t) => {
  const content = await engine(t, { maxBytes: 1_000 });
  const oversize = { failed: "oversize" };
  const long = "x".repeat(1_000);
  assert.deepEqual(content.inspect(request({ properties: [["n", long]] })), oversize);
  assert.deepEqual(content.inspect(request({ kind: "subscribe", topics: [long, "a"] })), oversize);
  assert.deepEqual(content.inspect(request({ contentType: long })), oversize);
});

test("one question asked many times at once goes to the engine once", async (t) => {
  const content = await engine(t);
  const verdicts = await Promise.all(Array.from({ length: 5_000 }, () => content.inspect(attack(0))));
  assert.ok(verdicts.every(refused));
  assert.equal(content.stats.busy, 0);
});

test("own rules: they deny, they only log, they take away; relative files are found", async (t) => {
  const directory = folder(t);
  writeFileSync(join(directory, "words.data"), "forbidden\n");
  const file = join(directory, "own.conf");
  writeFileSync(
    file,
    `SecRule ARGS:payload "@pmFromFile words.data" "id:1001,phase:2,deny,msg:'a word that is not wanted',logdata:'%{MATCHED_VAR}',severity:ERROR"
SecRule REQUEST_METHOD "@streq PUBLISH" "id:1002,phase:2,pass,log,msg:'a message',chain"
  SecRule ARGS:topic "@beginsWith secret/" "t:none"
SecRuleRemoveById 942100
`,
  );
  const content = await engine(t, { files: [file] });
  const denied = await content.inspect(request({ text: "a forbidden word" }));
  assert.ok("rules" in denied && !denied.clean);
  assert.deepEqual(denied.rules, [
    { id: 1001, message: "a word that is not wanted", matched: "a forbidden word", severity: "ERROR" },
  ]);
  const noted = await content.inspect(request({ topics: ["secret/1"] }));
  assert.ok("noted" in noted && noted.noted?.[0]?.id === 1002, JSON.stringify(noted));
  assert.deepEqual(await content.inspect(request({ text: "1' or 1=1" })), { clean: true });
});

test("rules that do not load: file and line, and the old ones stay", async (t) => {
  const file = join(folder(t), "own.conf");
  writeFileSync(file, `SecRule ARGS "@contains first" "id:1001,phase:2,deny"\n`);
  const content = await engine(t, { files: [file] });
  assert.ok(refused(await content.inspect(request({ text: "the first" }))));
  for (const [text, where] of [
    [`# fine\n\nSecRule ARGS "@contains x" "id:1002,phase:2,denyy"\n`, `${file}:3:`],
    [`SecFoo On\n`, `${file}:1:`],
    // What its parser cannot read at all, the library writes to stdout.
    ['SecRule ARGS "@rx<(?i', `${file}:1:`],
    [`SecRule ARGS "@pmFromFile missing.data" "id:1002,phase:2,deny"\n`, file],
    [`SecRule ARGS "@contains x" "phase:2,deny"\n`, file],
    [`SecRule ARGS "@contains x" "id:942100,phase:2,deny"\n`, "942100"],
  ] as const) {
    writeFileSync(file, text);
    await assert.rejects(
      content.reload(),
      (error) => error instanceof UserError && error.message.includes(where),
      text,
    );
    assert.ok(refused(await content.inspect(request({ text: `the first ${text}` }))));
  }
  rmSync(file);
  await assert.rejects(content.reload(), /cannot read the rule file .*own\.conf/);
  writeFileSync(file, `SecRule ARGS "@contains second" "id:1001,phase:2,deny"\n`);
  await content.reload();
  assert.deepEqual(await content.inspect(request({ text: "the first" })), { clean: true });
  assert.ok(refused(await content.inspect(request({ text: "the second" }))));
  await assert.rejects(startContentEngine({ files: ["/nonexistent/own.conf"] }), UserError);
});

test("reading the rules again may bring other settings; several at once are done in order", async (t) => {
  const content = await engine(t);
  assert.ok(refused(await content.inspect(attack(1))));
  const [first, second] = [
    content.reload({ families: ["xss"] }),
    content.reload({ families: ["rce"], workers: 2 }),
  ];
  await Promise.all([first, second]);
  assert.deepEqual(await content.inspect(attack(1)), { clean: true });
  assert.ok(refused(await content.inspect(request({ text: "; cat /etc/passwd" }))));
  await assert.rejects(content.reload({ timeout: 1 }), /content\.timeout is 1/);
  assert.ok(refused(await content.inspect(request({ text: "; cat /etc/passwd" }))));
  await until("the second worker", () => content.pids.length === 2);
});

test("a worker that starts again has the rules that were loaded, whatever the file says by then", async (t) => {
  const file = join(folder(t), "own.conf");
  writeFileSync(file, `SecRule ARGS "@contains first" "id:1001,phase:2,deny"\n`);
  const content = await engine(t, { files: [file] });
  writeFileSync(file, "SecFoo On\n");
  process.kill(content.pids[0]!, "SIGKILL");
  await until("the next worker", () => content.stats.restarts === 1);
  await until("its verdicts", async () => refused(await content.inspect(request({ text: "the first" }))));
});

test("rules that count or look at the clock are asked each time", async (t) => {
  const file = join(folder(t), "own.conf");
  writeFileSync(file, `SecRule TIME_HOUR "@ge 0" "id:1001,phase:2,pass,nolog"\n`);
  const content = await engine(t, { files: [file] });
  for (let i = 0; i < 3; i++) await content.inspect(request({ text: "a" }));
  assert.equal(content.stats.remembered, 0);
});

test("kill -9 of a worker under load: all but one question at most are answered, and it comes back", async (t) => {
  const content = await engine(t);
  const verdicts: Promise<ContentVerdict>[] = [];
  for (let n = 0; n < 300; n++) {
    verdicts.push(Promise.resolve(content.inspect(attack(n))));
    if (n === 100) process.kill(content.pids[0]!, "SIGKILL");
    if (n % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const answers = await Promise.all(verdicts);
  const lost = answers.filter((verdict) => !refused(verdict));
  assert.ok(lost.length <= 1, JSON.stringify(lost));
  assert.equal(content.stats.restarts, 1);
  assert.equal(content.stats.crashed, lost.length);
  assert.match(content.log[0]!, /^content worker \d+ ended \(SIGKILL\); the next starts in 100 ms$/);
});

test("SIGSTOP of a worker under load: within the timeout everybody knows, and another takes its place", async (t) => {
  const content = await engine(t, { timeout: 300 });
  await content.inspect(attack(0));
  const [stopped] = content.pids;
  process.kill(stopped!, "SIGSTOP");
  const start = performance.now();
  const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => content.inspect(attack(n + 1))));
  assert.ok(performance.now() - start < 10_000);
  assert.ok(
    answers.every(
      (verdict) => "failed" in verdict && (verdict.failed === "timeout" || verdict.failed === "busy"),
    ),
  );
  assert.ok(content.stats.timeout >= 1);
  await until("verdicts again", async () =>
    refused(await content.inspect(attack(1000 + content.stats.requests))),
  );
  assert.throws(() => process.kill(stopped!, 0), /ESRCH/);
  assert.equal(content.stats.waiting, 0);
});

test("an agent whose own event loop stands still does not blame its workers", async (t) => {
  const content = await engine(t, { timeout: 500 });
  const verdict = Promise.resolve(content.inspect(attack(1)));
  await new Promise((resolve) => setImmediate(resolve));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500);
  assert.ok(refused(await verdict), JSON.stringify(await verdict));
  assert.equal(content.stats.timeout, 0);
});

test("workers end with an agent that is killed", async () => {
  const program = `
    import { startContentEngine } from ${JSON.stringify(import.meta.resolve("@topicast/agent/firewall/content/engine.js"))};
    const engine = await startContentEngine({ workers: 1 });
    console.log(engine.pids[0]);
    setInterval(() => {}, 1000);`;
  const agent = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(agent.stdout, "data")) as [Buffer];
  const worker = Number(line.toString());
  assert.doesNotThrow(() => process.kill(worker, 0));
  agent.kill("SIGKILL");
  await until("the worker's end", () => {
    try {
      return !process.kill(worker, 0);
    } catch {
      return true;
    }
  });
});

test("workers are not root", { skip: process.getuid?.() !== 0 && "only root can give it up" }, async (t) => {
  const content = await engine(t);
  const { readFileSync } = await import("node:fs");
  assert.match(
    readFileSync(`/proc/${content.pids[0]}/status`, "utf8"),
    /^Uid:\t65534\t65534\t65534\t65534$/m,
  );
});

test("any payload, topic and content type gets a verdict, and no worker dies of it", async (t) => {
  const content = await engine(t, { remembered: 0 });
  const next = random(5);
  const below = (n: number) => Math.floor(next() * n);
  const pieces = [
    "{",
    "}",
    "[",
    '"',
    ":",
    ",",
    "<?xml version='1.0'?>",
    "<a>",
    "<!DOCTYPE a [",
    "&x;",
    "\0",
    "\xff",
    "\xfe\xff",
    "%",
    "%u",
    "&",
    "=",
    "'",
    "--",
    "1",
    "e",
    "\\u0000",
    "\\ud800",
    "${",
    "\n",
    "é",
  ];
  const types = [
    undefined,
    "application/json",
    "text/xml",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "\r\nX: y",
  ];
  const made = () => Array.from({ length: below(40) }, () => pieces[below(pieces.length)]!).join("");
  const asked = Array.from({ length: full ? 6_000 : 300 }, (_, n) =>
    request({
      kind: (["connect", "publish", "subscribe", "unsubscribe"] as const)[n % 4]!,
      topics: [made()],
      clientId: made(),
      username: made(),
      contentType: types[below(types.length)],
      payload: Buffer.from(made(), n % 2 === 0 ? "latin1" : "utf8"),
    }),
  );
  for (let at = 0; at < asked.length; at += 100) {
    const verdicts = await Promise.all(asked.slice(at, at + 100).map((one) => content.inspect(one)));
    for (const verdict of verdicts) assert.ok("clean" in verdict, JSON.stringify(verdict));
  }
  assert.equal(content.stats.restarts, 0);
});

test("any rule file either loads or is refused in words; the engine goes on", async (t) => {
  const file = join(folder(t), "own.conf");
  writeFileSync(file, "");
  const content = await engine(t, { files: [file], families: [] });
  const next = random(6);
  const below = (n: number) => Math.floor(next() * n);
  const sound = `SecRule ARGS:payload|REQUEST_URI "@rx (?i)a{1,3}" "id:1001,phase:2,deny,t:lowercase,msg:'x',severity:2,chain"\n  SecRule &ARGS "@gt 1" "t:none,setvar:tx.a=+1"\nSecAction "id:1002,phase:1,pass,nolog"\n`;
  let refusals = 0;
  for (let i = 0; i < (full ? 150 : 8); i++) {
    const bytes = Buffer.from(sound);
    for (let j = 0; j <= below(4); j++) bytes[below(bytes.length)] = below(256);
    writeFileSync(file, below(3) === 0 ? bytes.subarray(0, below(bytes.length)) : bytes);
    await content.reload().catch((error) => {
      refusals += 1;
      assert.ok(error instanceof UserError && error.message.includes(file), String(error));
    });
    const verdict = await content.inspect(request({ text: `number ${i}` }));
    assert.ok("clean" in verdict, JSON.stringify(verdict));
  }
  assert.ok(refusals > 0);
});
