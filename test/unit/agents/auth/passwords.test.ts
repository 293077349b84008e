import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decoy, hashOf, PasswordChecker } from "@topicast/agent/auth/passwords.js";
import { type PasswordHash, parsePasswords, SimClock, systemClock } from "@topicast/protocol";

/** Written by mosquitto_passwd 2.0.11. */
const FILE = `alice:$7$101$xUHn2yVt/TnqBhrw$Qls2Q3DZhuIvYYoM0m3RLc1FTnQyibt2eUps5wSLNQBUqHxhB0tJrHqGAcMOE6WTLziUL6HugZ/of0I18zXE0g==
old:$6$Fd3HmskB+YTZp3NZ$+g1Qrqh2qs30aFMzOdg6SS6eC71dsYvgzkS2VD+7d/Q8/zWGDdSQYQ6z36j/wFIqfmB97+YL0nyNIQZOtUM7rw==`;
const users = parsePasswords(FILE, "users");
const alice = users.get("alice")!;
const old = users.get("old")!;

describe("passwords", () => {
  const table: [hash: PasswordHash, password: string, verdict: string][] = [
    [alice, "secret", "right"],
    [alice, "Secret", "wrong"],
    [alice, "", "wrong"],
    [old, "oldpass", "right"],
    [old, "oldpas", "wrong"],
    [hashOf("p"), "p", "right"],
    [hashOf("p"), "q", "wrong"],
  ];
  for (const [hash, password, verdict] of table) {
    it(`${JSON.stringify(password)} is ${verdict}, ${hash.iterations ?? "no"} iterations`, async () => {
      assert.equal(await new PasswordChecker(systemClock).check(hash, Buffer.from(password)), verdict);
    });
  }

  it("of nobody take as many iterations as somebody's, and none is right", async () => {
    assert.equal(decoy(alice).iterations, 101);
    assert.equal(decoy(undefined).iterations, undefined);
    assert.equal(await new PasswordChecker(systemClock).check(decoy(alice), Buffer.from("secret")), "wrong");
  });

  it("are checked two at a time, in order; what comes beyond the queue is turned away at once", async () => {
    const checker = new PasswordChecker(systemClock);
    const order: number[] = [];
    const logins = Array.from({ length: 1_100 }, async (_, i) => {
      const verdict = await checker.check(alice, Buffer.from("secret"));
      if (verdict === "right") order.push(i);
      return verdict;
    });
    assert.equal(checker.stats.logins_checking, 2);
    assert.equal(checker.stats.logins_busy, 1_100 - 1_026);
    const verdicts = await Promise.all(logins);
    assert.deepEqual(verdicts, [...Array(1_026).fill("right"), ...Array(74).fill("busy")]);
    // Whenever one is done, at most one that came before it is still being checked.
    let last = -1;
    for (const [done, i] of order.entries()) {
      last = Math.max(last, i);
      assert.ok(last - done <= 1, `${order.slice(0, done + 1)}`);
    }
    assert.deepEqual(checker.stats, { logins_checking: 0, logins_busy: 74, logins_late: 0 });
  });

  it("leave the event loop free meanwhile", async () => {
    const checker = new PasswordChecker(systemClock);
    const slow = { ...alice, iterations: 50_000 };
    let turns = 0;
    const ticking = setInterval(() => {
      turns += 1;
    }, 1);
    await Promise.all(Array.from({ length: 4 }, () => checker.check(slow, Buffer.from("x"))));
    clearInterval(ticking);
    assert.ok(turns >= 5, `${turns} turns`);
  });

  it("that have waited for 10 s are not checked any more", async () => {
    const clock = new SimClock();
    const checker = new PasswordChecker(clock);
    const checks = Array.from({ length: 5 }, () => checker.check(alice, Buffer.from("secret")));
    clock.advance(10_000);
    assert.deepEqual(await Promise.all(checks), ["right", "right", "busy", "busy", "busy"]);
    assert.equal(checker.stats.logins_late, 3);
  });
});
