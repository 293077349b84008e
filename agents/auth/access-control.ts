import { type Clock, type PasswordHash, type Passwords, samePassword } from "@topicast/protocol";
import type { Admission, Authority, ClientIdentity, ConnectRequest } from "../mqtt/authority.js";
import { type Acl, READ, WRITE } from "./acl.js";
import { decoy, PasswordChecker } from "./passwords.js";

/** Something that may be exchanged at any time; undefined where there is none. */
export interface Source<T> {
  readonly value: T | undefined;
}

/** The users of a listener, and the time that one more who is unknown takes. */
export class Users {
  /** Checked in place of an unknown user's, so that both take the same time. */
  readonly decoy: PasswordHash;

  constructor(readonly passwords: Passwords) {
    const [first] = passwords.values();
    this.decoy = decoy(first);
  }
}

/** What one listener asks of its clients. */
export interface Policy {
  readonly allowAnonymous: boolean;
  readonly users: Source<Users>;
  readonly acl: Source<Acl>;
  /** Also refuses a SUBSCRIBE of which nothing could come; otherwise what may be received decides alone. */
  readonly refuseUnreadable?: boolean;
}

/** Who a connected client is, as far as its admission goes. */
export interface Admitted {
  readonly username: string | undefined;
  /** Who its certificate says it is, where that needs no password. */
  readonly identity: string | undefined;
  readonly listener: string | undefined;
}

export interface AccessControlOptions {
  readonly clock: Clock;
  /** By listener. */
  readonly policies: ReadonlyMap<string, Policy>;
}

const REFUSED: Admission = { admitted: false, reason: "not_authorized" };
const WRONG: Admission = { admitted: false, reason: "bad_credentials" };
const BUSY: Admission = { admitted: false, reason: "server_busy" };
const NO_PASSWORD = Buffer.alloc(0);

/** Who may connect, and who may do what: README.md. */
export class AccessControl implements Authority {
  private readonly checker: PasswordChecker;
  private readonly stats = { logins_right: 0, logins_wrong: 0, logins_anonymous: 0, logins_refused: 0 };

  private readonly first: Policy | undefined;

  constructor(private readonly options: AccessControlOptions) {
    [this.first] = options.policies.values();
    this.checker = new PasswordChecker(options.clock);
  }

  authenticate(request: ConnectRequest): Admission | Promise<Admission> {
    const { username, password, identity, listener } = request;
    // Who has proven who it is below MQTT need not do so again, and is nobody else by saying so.
    if (identity !== undefined) return this.admit(identity, "logins_right");
    const policy = this.options.policies.get(listener ?? "");
    if (policy === undefined) return this.refuse();
    const users = policy.users.value;
    if (username === undefined || users === undefined) {
      if (policy.allowAnonymous) return this.admit(username, "logins_anonymous");
      return this.refuse();
    }
    return this.login(policy, users, username, password ?? NO_PASSWORD);
  }

  mayPublish(client: ClientIdentity, topic: string): boolean {
    const acl = this.aclOf(client);
    return acl === undefined || acl.allows(client, topic, WRITE);
  }

  maySubscribe(client: ClientIdentity, filter: string): boolean {
    const policy = this.policyOf(client);
    if (policy?.refuseUnreadable !== true) return true;
    return policy.acl.value?.allowsSome(client, filter) ?? true;
  }

  mayReceive(client: ClientIdentity, topic: string): boolean {
    const acl = this.aclOf(client);
    return acl === undefined || acl.allows(client, topic, READ);
  }

  counters(): Readonly<Record<string, number>> {
    const acls = new Set([...this.options.policies.values()].map(({ acl }) => acl.value));
    let acl_forgotten = 0;
    for (const acl of acls) acl_forgotten += acl?.stats.acl_forgotten ?? 0;
    return { ...this.stats, ...this.checker.stats, acl_forgotten };
  }

  private aclOf(client: ClientIdentity): Acl | undefined {
    return this.policyOf(client)?.acl.value;
  }

  /** That of the client's port; of the first one for a session whose port is not there any more. */
  private policyOf({ listener }: ClientIdentity): Policy | undefined {
    return this.options.policies.get(listener ?? "") ?? this.first;
  }

  private async login(policy: Policy, users: Users, username: string, password: Buffer): Promise<Admission> {
    const known = users.passwords.get(username);
    const verdict = await this.checker.check(known ?? users.decoy, password);
    // The users may be others by now: those of today decide.
    const now = policy.users.value;
    if (now !== users && !samePassword(now?.passwords.get(username), known)) {
      return now === undefined ? this.refuse() : this.login(policy, now, username, password);
    }
    if (verdict === "busy") return BUSY;
    if (known !== undefined && verdict === "right") return this.admit(username, "logins_right");
    this.stats.logins_wrong += 1;
    return WRONG;
  }

  private refuse(): Admission {
    this.stats.logins_refused += 1;
    return REFUSED;
  }

  private admit(username: string | undefined, counter: "logins_right" | "logins_anonymous"): Admission {
    this.stats[counter] += 1;
    return { admitted: true, username };
  }
}

/** Whether a change of users takes a connected client its admission: its password may be another one now. */
export function losesAdmission(
  { username, identity }: Admitted,
  before: Users | undefined,
  after: Users | undefined,
  allowAnonymous: boolean,
): boolean {
  if (username === undefined || identity !== undefined) return false;
  if (after === undefined) return !allowAnonymous;
  const password = after.passwords.get(username);
  return password === undefined || !samePassword(before?.passwords.get(username), password);
}
