import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AccessControl, losesAdmission, type Policy, Users } from "@topicast/agent/auth/access-control.js";
import { Acl } from "@topicast/agent/auth/acl.js";
import { hashOf } from "@topicast/agent/auth/passwords.js";
import type { ConnectRequest } from "@topicast/agent/mqtt/authority.js";
import { parseAcl, systemClock } from "@topicast/protocol";

const hashes = { alice: hashOf("a"), bob: hashOf("b") };
const users = (...names: (keyof typeof hashes)[]) => new Users(new Map(names.map((n) => [n, hashes[n]])));
const acl = (text: string) => new Acl(parseAcl(text, "rules"));

/** A source that the test exchanges. */
interface Open<T> {
  value: T | undefined;
}

function bench(allowAnonymous: boolean, passwords?: Users, rules?: Acl, refuseUnreadable = false) {
  const sources = { users: { value: passwords } as Open<Users>, acl: { value: rules } as Open<Acl> };
  const policy: Policy = { allowAnonymous, refuseUnreadable, ...sources };
  const control = new AccessControl({ clock: systemClock, policies: new Map([["tcp", policy]]) });
  const connect = async (given: Partial<Omit<ConnectRequest, "password">> & { password?: string }) => {
    const { password, ...rest } = given;
    const admission = await control.authenticate({
      ...{ clientId: "c", username: undefined, identity: undefined, peer: "192.0.2.7:1", listener: "tcp" },
      ...rest,
      password: password === undefined ? undefined : Buffer.from(password),
    });
    return admission.admitted ? (admission.username ?? "(anonymous)") : admission.reason;
  };
  return { control, connect, ...sources };
}

describe("who may connect", () => {
  const none = {};
  const right = { username: "alice", password: "a" };
  const wrong = { username: "alice", password: "b" };
  const unknown = { username: "carol", password: "a" };
  const mute = { username: "alice" };
  const secret = { password: "a" };
  const proven = { identity: "device", username: "alice", password: "?" };
  const given = { none, right, wrong, unknown, mute, secret, proven };
  // As mosquitto 2.0.11 answers (measured); it has no reasons but one.
  const expected = {
    "anonymous allowed, no users": {
      ...{ none: "(anonymous)", right: "alice", wrong: "alice", unknown: "carol", mute: "alice" },
      ...{ secret: "(anonymous)", proven: "device" },
    },
    "anonymous refused, no users": {
      ...{ none: "not_authorized", right: "not_authorized", wrong: "not_authorized" },
      ...{ unknown: "not_authorized", mute: "not_authorized", secret: "not_authorized", proven: "device" },
    },
    "anonymous allowed, users": {
      ...{ none: "(anonymous)", right: "alice", wrong: "bad_credentials", unknown: "bad_credentials" },
      ...{ mute: "bad_credentials", secret: "(anonymous)", proven: "device" },
    },
    "anonymous refused, users": {
      ...{ none: "not_authorized", right: "alice", wrong: "bad_credentials", unknown: "bad_credentials" },
      ...{ mute: "bad_credentials", secret: "not_authorized", proven: "device" },
    },
  };
  for (const [what, answers] of Object.entries(expected)) {
    it(what, async () => {
      const { connect } = bench(
        what.startsWith("anonymous allowed"),
        /, users/.test(what) ? users("alice") : undefined,
      );
      const got: Record<string, string> = {};
      for (const [name, request] of Object.entries(given)) got[name] = await connect(request);
      assert.deepEqual(got, answers);
    });
  }

  it("nobody at a port that is not configured, or without a name for it", async () => {
    const { connect } = bench(true, users("alice"));
    assert.equal(await connect({ listener: "ws" }), "not_authorized");
    assert.equal(await connect({ listener: undefined, username: "alice", password: "a" }), "not_authorized");
  });

  it("by the users of when the check ends, not of when it began", async () => {
    const { connect, users: source } = bench(false, users("alice", "bob"));
    const logins = [
      connect({ username: "alice", password: "a" }),
      connect({ username: "bob", password: "b" }),
    ];
    source.value = users("bob");
    assert.deepEqual(await Promise.all(logins), ["bad_credentials", "bob"]);
    const last = connect({ username: "bob", password: "b" });
    source.value = undefined;
    assert.equal(await last, "not_authorized");
  });

  it("a storm of logins is counted, and those beyond the bound are refused", async () => {
    const { connect, control } = bench(false, users("alice"));
    const storm = Array.from({ length: 2_000 }, () => connect({ username: "alice", password: "x" }));
    const answers = await Promise.all(storm);
    const { logins_wrong = 0, logins_busy = 0 } = control.counters();
    assert.equal(answers.filter((a) => a === "bad_credentials").length, logins_wrong);
    assert.equal(answers.filter((a) => a === "server_busy").length, logins_busy);
    assert.equal(logins_wrong + logins_busy, 2_000);
    assert.ok(logins_busy > 0);
  });
});

describe("who may do what", () => {
  const who = { clientId: "c", username: "alice", listener: "tcp" };

  it("everything without rules", () => {
    const { control } = bench(true);
    assert.ok(control.mayPublish(who, "a") && control.maySubscribe(who, "#") && control.mayReceive(who, "a"));
  });

  it("by the first port's rules where the client's own is not there any more", () => {
    const { control } = bench(true, undefined, acl("user alice\ntopic read a"));
    for (const listener of ["gone", undefined]) {
      assert.ok(control.mayReceive({ ...who, listener }, "a"));
      assert.ok(!control.mayReceive({ ...who, listener }, "b"));
    }
  });

  it("subscribe to anything, as with mosquitto, unless what could bring nothing is to be refused", () => {
    const rules = "topic readwrite #\ntopic deny test/nosubscribe";
    const anonymous = { clientId: "c", username: undefined, listener: "tcp" };
    for (const isRefused of [false, true]) {
      const { control } = bench(true, undefined, acl(rules), isRefused);
      assert.equal(control.maySubscribe(anonymous, "test/nosubscribe"), !isRefused);
      assert.ok(control.maySubscribe(anonymous, "#"));
      assert.ok(!control.mayReceive(anonymous, "test/nosubscribe"));
    }
  });

  it("by the rules of now: no answer outlives them", () => {
    const { control, acl: source } = bench(true, undefined, acl("user alice\ntopic read a"), true);
    const answers = () => [
      control.mayPublish(who, "a"),
      control.maySubscribe(who, "a"),
      control.mayReceive(who, "a"),
    ];
    assert.deepEqual(answers(), [false, true, true]);
    source.value = acl("user alice\ntopic write a");
    assert.deepEqual(answers(), [true, false, false]);
    source.value = undefined;
    assert.deepEqual(answers(), [true, true, true]);
  });
});

describe("a change of users", () => {
  const before = users("alice", "bob");
  const changed = new Users(
    new Map([
      ["alice", hashOf("new")],
      ["bob", hashes.bob],
    ]),
  );
  const table: [
    what: string,
    username: string | undefined,
    before: Users | undefined,
    after: Users | undefined,
    loses: boolean,
  ][] = [
    ["another password", "alice", before, changed, true],
    ["the same line", "bob", before, changed, false],
    ["no line any more", "alice", before, users("bob"), true],
    ["no user name", undefined, before, changed, false],
    ["a name that nobody had verified, and that is there now", "alice", undefined, before, true],
    ["a name that nobody had verified, and that is not there", "carol", undefined, before, true],
    ["no users any more", "alice", before, undefined, true],
  ];
  for (const [what, username, was, is, loses] of table) {
    it(`${loses ? "disconnects" : "keeps"}: ${what}`, () => {
      const client = { username, identity: undefined, listener: "tcp" };
      assert.equal(losesAdmission(client, was, is, false), loses);
      assert.equal(losesAdmission({ ...client, identity: "device" }, was, is, false), false);
    });
  }

  it("keeps: no users any more where anonymous clients may connect", () => {
    assert.ok(
      !losesAdmission({ username: "alice", identity: undefined, listener: "tcp" }, before, undefined, true),
    );
  });
});
