import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

const RUNNER = new URL("../../runner/", import.meta.url);

/** Says in a line what it counted, after the block about second runs. */
const MAIN = `
  import { basename } from "node:path";
  import { countUp, describeSecondRuns, runRealTime } from ${JSON.stringify(new URL("second.js", RUNNER))};
  import { runFiles } from ${JSON.stringify(new URL("files.js", RUNNER))};
  const [mode, ...files] = process.argv.slice(2);
  const { outcomes, secondRuns } =
    mode === "real" ? await runRealTime(files, process.stderr) : { outcomes: await runFiles(files, 2, process.stderr), secondRuns: [] };
  process.stdout.write(describeSecondRuns(secondRuns, (file) => basename(file)));
  process.stdout.write(JSON.stringify(countUp(outcomes.values())));
`;

/** Each keeps count of its runs in a file beside it. */
const HEAD = `
  const { appendFileSync, readFileSync } = require("node:fs");
  const { describe, it, before, after } = require("node:test");
  appendFileSync(__filename + ".runs", "x");
  const run = readFileSync(__filename + ".runs", "utf8").length;
`;
const FILES = {
  good: `it("is fine", () => {}); it("is not for here", { skip: true }, () => {});`,
  noise: `describe("clock", () => { it("is slow at first", () => { if (run === 1) throw new Error("50 ms late\\nat noon"); });
    it("goes", () => {}); });`,
  fault: `it("never works", () => { throw new Error("broken in run " + run); }); it("works", () => {});`,
  other: `it("a", () => { if (run === 1) throw new Error("a fails"); }); it("b", () => { if (run === 2) throw new Error("b fails"); });`,
  dies: `if (run === 1) process.exit(3); it("lives the second time", () => {});`,
  hooks: `describe("closing", () => { after(() => { if (run === 1) throw new Error("cannot close"); }); it("opens", () => {}); });`,
} as const;

describe("second runs", () => {
  let folder: string;
  let runs = 0;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), "second-run-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  /** Runs copies of these files, and says how often each ran. */
  async function play(mode: "real" | "virtual", ...names: Array<keyof typeof FILES>) {
    const here = join(folder, String(runs++));
    mkdirSync(here);
    writeFileSync(join(here, "main.mjs"), MAIN);
    const files = names.map((name, i) => join(here, `${i}-${name}.test.cjs`));
    for (const [i, file] of files.entries()) writeFileSync(file, HEAD + FILES[names[i]!]);
    // Else node:test takes it for a file of this run, and runs nothing.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const out = await new Promise<string>((resolve, reject) => {
      execFile(
        process.execPath,
        [join(here, "main.mjs"), mode, ...files],
        { env },
        (error, stdout, stderr) => {
          if (error === null) resolve(stdout);
          else reject(new Error(stderr));
        },
      );
    });
    const lines = out.split("\n");
    return {
      counted: JSON.parse(lines.at(-1)!) as object,
      block: lines.slice(0, -1),
      ran: files.map((file) => readFileSync(`${file}.runs`, "utf8").length),
    };
  }

  it("are not for what passes", async () => {
    const { counted, block, ran } = await play("real", "good");
    assert.deepEqual(counted, { passed: 1, failed: 0, skipped: 1 });
    assert.deepEqual(block, []);
    assert.deepEqual(ran, [1]);
  });

  it("make a file pass that was disturbed, and name the test with its first error", async () => {
    const { counted, block, ran } = await play("real", "good", "noise");
    assert.deepEqual(counted, { passed: 3, failed: 0, skipped: 1 });
    assert.deepEqual(block, [
      "needed a second run:",
      "  1-noise.test.cjs",
      "    clock > is slow at first",
      "      50 ms late",
      "      at noon",
    ]);
    assert.deepEqual(ran, [1, 2]);
  });

  it("do not make a fault pass, and tell both errors", async () => {
    const { counted, block, ran } = await play("real", "fault");
    assert.deepEqual(counted, { passed: 1, failed: 1, skipped: 0 });
    assert.deepEqual(block, [
      "needed a second run:",
      "  0-fault.test.cjs, in vain; first",
      "    never works",
      "      broken in run 1",
      "  then",
      "    never works",
      "      broken in run 2",
    ]);
    assert.deepEqual(ran, [2]);
  });

  it("count as failed when another test of the file fails then", async () => {
    const { counted } = await play("real", "other");
    assert.deepEqual(counted, { passed: 1, failed: 1, skipped: 0 });
  });

  it("are for a file that dies, and for hooks", async () => {
    const { counted, block } = await play("real", "dies", "hooks");
    assert.deepEqual(counted, { passed: 2, failed: 0, skipped: 0 });
    assert.match(block.join("\n"), /0-dies[\s\S]*test failed[\s\S]*1-hooks[\s\S]*closing\n[\s\S]*after hook/);
  });

  it("are for three files at most: more are no noise, and none runs again", async () => {
    const three = await play("real", "noise", "good", "noise", "noise");
    assert.deepEqual(three.counted, { passed: 7, failed: 0, skipped: 1 });
    assert.deepEqual(three.ran, [2, 1, 2, 2]);
    const four = await play("real", "noise", "noise", "noise", "noise");
    assert.deepEqual(four.counted, { passed: 4, failed: 4, skipped: 0 });
    assert.deepEqual(four.ran, [1, 1, 1, 1]);
  });

  it("are not for virtual time", async () => {
    const { counted, ran } = await play("virtual", "noise", "hooks", "dies");
    assert.deepEqual(counted, { passed: 2, failed: 3, skipped: 0 });
    assert.deepEqual(ran, [1, 1, 1]);
  });
});
