import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { readAccessFile, readAtMost, readYamlTree } from "@topicast/protocol";

test("files are read as far as the bound, and no further", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "topicast-read-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "file");
  for (const size of [0, 1, 65_536, 65_537, 200_000]) {
    const bytes = Buffer.alloc(size, "x");
    writeFileSync(path, bytes);
    assert.ok(readAtMost(path, size).equals(bytes));
    if (size > 0) assert.throws(() => readAtMost(path, size - 1), { code: "EFBIG" });
  }
  assert.throws(() => readAtMost(directory, 10), { code: "EISDIR" });
  assert.throws(() => readAtMost(join(directory, "none"), 10), { code: "ENOENT" });
});

test("a device without an end is no reason to run out of memory", () => {
  assert.throws(() => readYamlTree("/dev/zero"), { message: "/dev/zero: at most 1048576 bytes" });
  assert.throws(() => readAccessFile("--acl-file", "/dev/zero"), {
    message: "--acl-file /dev/zero: holds too much",
  });
});
