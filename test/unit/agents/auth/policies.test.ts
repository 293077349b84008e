import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { Admitted } from "@topicast/agent/auth/access-control.js";
import { hashOf } from "@topicast/agent/auth/passwords.js";
import { Access } from "@topicast/agent/auth/policies.js";
import { loadAgentConfig } from "@topicast/agent/config.js";
import { NO_LISTS, systemClock, UserError } from "@topicast/protocol";

const folder = mkdtempSync(join(tmpdir(), "topicast-access-"));
after(() => rmSync(folder, { recursive: true }));

const hashes = new Map<string, string>();
/** Lines of a password file in which everybody's password is their name; the same ones at each call. */
function lines(...names: string[]): string {
  const of = (name: string) => {
    const { salt, hash } = hashOf(name);
    return `${name}:$6$${salt}$${hash}`;
  };
  for (const name of names) if (!hashes.has(name)) hashes.set(name, of(name));
  return names.map((name) => hashes.get(name)).join("\n");
}

function file(name: string, text: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function open(flags: Record<string, string | string[]>) {
  const told: string[] = [];
  const note = (fields: object, message: string) => told.push(`${message} ${JSON.stringify(fields)}`);
  const log = { debug: note, info: note, warn: note, error: note };
  const revoked: ((client: Admitted) => boolean)[] = [];
  const config = loadAgentConfig({ flags: { transport: "socket", ...flags }, env: {} });
  const access = new Access(config, { clock: systemClock, log, onRevoked: (loses) => revoked.push(loses) });
  const { control } = access;
  const connect = async (username?: string, password = username, listener = "tcp") => {
    const given = {
      username,
      password: password === undefined ? undefined : Buffer.from(password),
      listener,
    };
    const answer = await control.authenticate({ clientId: "c", identity: undefined, peer: "", ...given });
    return answer.admitted;
  };
  const reads = (username: string, topic: string, listener = "tcp") =>
    control.mayReceive({ clientId: "c", username, listener }, topic);
  return { access, connect, reads, told, revoked };
}

const connected = (username?: string, listener = "tcp"): Admitted => ({
  ...{ username, listener, identity: undefined },
});

describe("an agent's access", () => {
  it("is for nobody unless asked, and says so", async () => {
    const { access, connect, told } = open({});
    assert.ok(!(await connect()) && !(await connect("alice")));
    access.advise();
    assert.match(told.join(), /^no client may connect: give --password-file FILE, .* or --allow-anonymous/);
    assert.equal(access.reloads, false);
  });

  it("is for the one user of -u and -p", async () => {
    const { connect } = open({ username: "u", password: "p" });
    assert.deepEqual(
      [await connect("u", "p"), await connect("u", "q"), await connect()],
      [true, false, false],
    );
  });

  it("differs from port to port", async () => {
    const { connect, reads } = open({
      wsport: "9001",
      "password-file": file("users", lines("alice")),
      "acl-file": file("rules", "user alice\ntopic a"),
      listener: ["ws.allow-anonymous=true", "ws.password-file=none", "ws.acl-file=none"],
    });
    assert.deepEqual([await connect("alice"), await connect("bob"), await connect()], [true, false, false]);
    const ws = [await connect("alice", "?", "ws"), await connect(undefined, undefined, "ws")];
    assert.deepEqual(ws, [true, true]);
    assert.deepEqual([reads("alice", "a"), reads("alice", "b")], [true, false]);
    assert.ok(reads("alice", "b", "ws"));
  });

  it("warns where names are not verified and rules speak of them", () => {
    const { access, told } = open({
      "allow-anonymous": "true",
      "acl-file": file("rules", "user a\ntopic a"),
    });
    access.advise();
    assert.match(told.join(), /user names are not verified/);
  });

  it("does not begin with a file that cannot be used", () => {
    for (const [flag, path, line] of [
      ["password-file", join(folder, "none"), /^--password-file .*none: no such file$/],
      ["password-file", folder, /is a directory$/],
      ["password-file", file("plain", "alice:secret"), /plain:1: the password is in plain text/],
      ["password-file", file("binary", Buffer.from([0xff])), /binary: is not UTF-8 text$/],
      ["acl-file", file("bad", "topic a#"), /bad:1: topic "a#": the filter holds #/],
      ["acl-file", file("large", "#".repeat(4 * 1024 * 1024 + 1)), /large: 4194305 bytes, at most 4194304$/],
    ] as const) {
      assert.throws(
        () => open({ [flag]: path }),
        (error) => error instanceof UserError && line.test(error.message),
        path,
      );
    }
  });
});

describe("reading the files again", () => {
  it("takes over users and rules, and disconnects whose line has gone or changed", async () => {
    const users = file("users2", lines("alice", "bob", "carol"));
    const rules = file("rules2", "user alice\ntopic a");
    const { access, connect, reads, revoked } = open({ "password-file": users, "acl-file": rules });
    assert.ok(await connect("bob"));
    writeFileSync(users, lines("alice", "dora").replace(/^alice:.*$/m, lines("alice")));
    writeFileSync(rules, "user alice\ntopic b");
    access.reload();
    assert.deepEqual(
      [await connect("alice"), await connect("bob"), await connect("dora")],
      [true, false, true],
    );
    assert.deepEqual([reads("alice", "a"), reads("alice", "b")], [false, true]);
    const [loses] = revoked;
    const losing = ["alice", "bob", "carol", undefined].filter((name) => loses?.(connected(name)));
    assert.deepEqual(losing, ["bob", "carol"]);
    assert.ok(!loses!(connected("bob", "ws")), "another port's users are others");
    hashes.delete("alice");
    writeFileSync(users, lines("alice"));
    access.reload();
    assert.ok(revoked[1]!(connected("alice")), "a new hash may be a new password");
  });

  it("changes nothing where a file cannot be used, says so in one line, and disconnects nobody", async () => {
    const users = file("users3", lines("alice"));
    const { access, connect, told, revoked } = open({ "password-file": users });
    writeFileSync(users, "alice:secret");
    access.reload();
    assert.ok(await connect("alice"));
    assert.equal(told.length, 1);
    assert.match(
      told[0]!,
      /^access file not taken over; that of before stays in force .*users3:1: the password/,
    );
    assert.doesNotMatch(told[0]!, /secret/);
    assert.deepEqual(revoked, []);
  });
});

describe("the forwarder's users and rules", () => {
  const forwarder = { forwarder: "192.0.2.1" };

  it("are in force once they have come, and name themselves", async () => {
    const { access, connect, reads, revoked } = open({ ...forwarder, "allow-anonymous": "true" });
    assert.equal(access.sharedDigest, undefined);
    assert.deepEqual([await connect(), await connect("mallory")], [true, true]);
    assert.ok(access.setShared({ passwords: lines("alice"), acl: "user alice\ntopic a" }));
    assert.match(access.sharedDigest ?? "", /^[0-9a-f]{32}$/);
    assert.deepEqual([await connect("mallory"), await connect("alice")], [false, true]);
    assert.deepEqual([reads("alice", "a"), reads("alice", "b")], [true, false]);
    assert.ok(revoked[0]!(connected("mallory")) && !revoked[0]!(connected()));
    access.setShared(NO_LISTS);
    assert.equal(access.sharedDigest, undefined);
    assert.ok(reads("alice", "b"));
  });

  it("say nothing where the agent has its own", async () => {
    const { access, connect, reads } = open({
      ...{
        ...forwarder,
        "password-file": file("users4", lines("bob")),
        "acl-file": file("rules4", "user bob\ntopic b"),
      },
    });
    access.setShared({ passwords: lines("alice"), acl: "user bob\ntopic a" });
    assert.deepEqual([await connect("alice"), await connect("bob")], [false, true]);
    assert.deepEqual([reads("bob", "a"), reads("bob", "b")], [false, true]);
  });

  it("change nothing where they are malformed", async () => {
    const { access, connect, told } = open(forwarder);
    assert.ok(access.setShared({ passwords: lines("alice"), acl: null }));
    const digest = access.sharedDigest;
    assert.ok(!access.setShared({ passwords: "alice:secret", acl: "topic a" }));
    assert.ok(await connect("alice"));
    assert.equal(access.sharedDigest, digest);
    assert.match(told.at(-1) ?? "", /not taken over .*the forwarder's password file:1: /);
  });

  it("do not disconnect anybody when only the rules change", () => {
    const { access, revoked } = open(forwarder);
    access.setShared({ passwords: lines("alice"), acl: null });
    const before = revoked.length;
    access.setShared({ passwords: lines("alice"), acl: "topic a" });
    assert.equal(revoked.length, before);
  });
});
