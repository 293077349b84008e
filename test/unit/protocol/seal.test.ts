import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  decodeDatagram,
  encodeHeader,
  FabricSocket,
  Kind,
  openKeyFile,
  parseFabricKeys,
  payloadBytes,
  REPLAY_WINDOW,
  ReplayWindow,
  Seal,
  UserError,
  WHOLE,
} from "@topicast/protocol";
import fc from "../../property.js";
import { random } from "../fabric/sim.js";

const A = "a1".repeat(32);
const B = "b2".repeat(32);
const keys = (text: string) => parseFabricKeys(text, "fabric.key");
const header = { kind: Kind.DATA, flags: WHOLE, source: 7, epoch: 2, stream: 3, number: 4 } as const;

function sealed(seal: Seal, text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([seal.seal(encodeHeader(header), payload), payload]);
}

describe("a seal", () => {
  it("lets in what was sealed with the same key, once, and leaves the datagram readable", () => {
    const [mine, theirs] = [new Seal(keys(A), 1), new Seal(keys(A), 9)];
    const bytes = sealed(mine, "hello");
    assert.equal(theirs.check(bytes), undefined);
    assert.deepEqual(decodeDatagram(bytes), { ...header, payload: Buffer.from("hello") });
    assert.equal(theirs.check(bytes), "replayed");
    assert.equal(theirs.check(sealed(mine, "hello")), undefined, "equal content, sent again");
    assert.equal(bytes.length, 1_500 - 28 - payloadBytes(1_500, true) + 5);
  });

  it("is broken by any bit that is changed, added or taken away", () => {
    const bytes = sealed(new Seal(keys(A), 1), "some payload");
    const check = (changed: Buffer) => new Seal(keys(A), 9).check(changed);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      assert.notEqual(check(changed), undefined, `bit ${bit}`);
    }
    assert.equal(check(Buffer.concat([bytes, Buffer.from([0])])), "wrong_tag");
    for (let length = 0; length < bytes.length; length++)
      assert.notEqual(check(bytes.subarray(0, length)), undefined);
  });

  it("does not let in what is not sealed, or with a key that is not known", () => {
    const seal = new Seal(keys(A), 1);
    assert.equal(seal.check(Buffer.concat([encodeHeader(header), Buffer.from("x".repeat(100))])), "unsealed");
    assert.equal(seal.check(sealed(new Seal(keys(B), 1), "x")), "unknown_key");
    assert.equal(seal.check(Buffer.alloc(0)), "unsealed");
  });

  it("changes its key without losing a datagram: add, send with it, take the old one away", () => {
    const [one, two] = [new Seal(keys(A), 1), new Seal(keys(A), 2)];
    const both = () => {
      assert.equal(two.check(sealed(one, "x")), undefined);
      assert.equal(one.check(sealed(two, "y").fill(8, 4, 8)), "wrong_tag");
    };
    // Each step reaches one of them before the other.
    for (const text of [`${A}\n${B}`, `${B}\n${A}`, B]) {
      for (const seal of [one, two]) {
        seal.replaceKeys(keys(text));
        both();
      }
    }
    assert.equal(one.check(sealed(new Seal(keys(A), 1), "x")), "unknown_key");
  });

  it("of a process that has started anew is let in, what it sealed before is not", () => {
    const receiver = new Seal(keys(A), 9);
    const before = new Seal(keys(A), 100);
    const held = Array.from({ length: 5 }, (_, i) => sealed(before, `${i}`));
    assert.equal(receiver.check(held[4]!), undefined);
    assert.equal(receiver.check(sealed(new Seal(keys(A), 101), "new life")), undefined);
    assert.equal(receiver.check(held[0]!), "replayed");
  });
});

describe("a key file", () => {
  it("holds one to four keys, comments and empty lines", () => {
    assert.equal(keys(`# the fabric of hall 3\n\n${A} # since May\r\n${B.toUpperCase()}\n`).length, 2);
    assert.notEqual(keys(A)[0]!.id, keys(B)[0]!.id);
    for (const [text, wrong] of [
      ["", /holds 0 keys, must be 1 to 4: make one with openssl rand -hex 32/],
      [`${A}\n`.repeat(5), /holds 5 keys/],
      [`${A}\n${A}0`, /line 2: not a key of 64 hexadecimal digits/],
      ["secret", /line 1/],
    ] as const) {
      assert.throws(
        () => keys(text),
        (error) => error instanceof UserError && wrong.test(error.message),
      );
    }
    assert.throws(() => openKeyFile("/nonexistent/key", 0), /\/nonexistent\/key cannot be read/);
  });
});

describe("the replay window", () => {
  it("lets each number in once, in any order within 4,096, over the wrap of the low half: as a set does", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), (seed) => {
        const rand = random(seed);
        const window = new ReplayWindow();
        const seen = new Set<number>();
        let highest = 2 ** 32 - 3_000;
        for (let i = 0; i < 500; i++) {
          const jump = rand() < 0.02 ? rand() * 20_000 : (rand() - 0.7) * 50 * (rand() < 0.1 ? 100 : 1);
          const number = Math.max(0, Math.floor(highest + jump));
          const fresh = !seen.has(number) && number > highest - REPLAY_WINDOW;
          assert.equal(window.admit(1, Math.floor(number / 2 ** 32), number % 2 ** 32), i === 0 || fresh);
          if (i === 0 || fresh) seen.add(number);
          highest = i === 0 ? number : Math.max(highest, number);
        }
      }),
    );
  });

  it("is each source's own", () => {
    const window = new ReplayWindow();
    assert.equal(window.admit(1, 5, 5), true);
    assert.equal(window.admit(2, 5, 5), true);
    assert.equal(window.admit(2, 5, 5), false);
  });
});

describe("a socket with a key file", () => {
  it("takes sealed datagrams only, counts the others, and takes new keys while it is open", async () => {
    const dir = mkdtempSync(join(tmpdir(), "topicast-seal-"));
    const file = join(dir, "fabric.key");
    writeFileSync(file, A);
    const got: string[] = [];
    const mine = openKeyFile(file, 1_700_000_000_000);
    const theirs = openKeyFile(file, 1_700_000_000_000);
    const open = (seal: Seal | undefined) =>
      FabricSocket.open({
        address: "127.0.0.1",
        port: 0,
        seal,
        onDatagram: (bytes) => {
          const datagram = decodeDatagram(bytes);
          got.push(typeof datagram === "string" ? datagram : datagram.payload.toString());
        },
      });
    const [a, b, bare] = await Promise.all([open(mine.seal), open(theirs.seal), open(undefined)]);
    try {
      a.send(header, Buffer.from("sealed"), b.local);
      bare.send(header, Buffer.from("bare"), b.local);
      bare.sendPlain(Buffer.from([0x30, 3, 0, 1, 0x61]), b.local);
      await until(() => b.stats.received === 3);
      assert.deepEqual(got, ["sealed", "plain"]);
      assert.equal(b.stats.unsealed, 1);
      writeFileSync(file, `${B}\n${A}`);
      mine.reload();
      a.send(header, Buffer.from("too early"), b.local);
      await until(() => b.stats.unknown_key === 1);
      theirs.reload();
      a.send(header, Buffer.from("new key"), b.local);
      await until(() => got.length === 3);
      writeFileSync(file, "rubbish");
      assert.throws(() => mine.reload(), UserError);
      a.send(header, Buffer.from("the keys of before"), b.local);
      await until(() => got.length === 4);
    } finally {
      await Promise.all([a.close(), b.close(), bare.close()]);
      rmSync(dir, { recursive: true });
    }
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 5_000; !condition(); ) {
    assert.ok(Date.now() < end, "in time");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
