import {
  type AccessLists,
  accessDigest,
  type Clock,
  NO_LISTS,
  parseAcl,
  parsePasswords,
  readAccessFile,
} from "@topicast/protocol";
import type { AgentConfig } from "../config.js";
import type { Log } from "../mqtt/log.js";
import {
  AccessControl,
  type Admitted,
  losesAdmission,
  type Policy,
  type Source,
  Users,
} from "./access-control.js";
import { Acl } from "./acl.js";
import { hashOf } from "./passwords.js";
import { FileSource, SharedSource } from "./sources.js";

export interface AccessOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Disconnects the clients for which `loses` is true. */
  readonly onRevoked: (loses: (client: Admitted) => boolean) => void;
}

const NONE: Source<never> = { value: undefined };

/** Who may do what at one agent, as its configuration, its files and its forwarder say. */
export class Access {
  readonly control: AccessControl;
  private readonly policies = new Map<string, Policy>();
  /** Listeners where a certificate is a user name. */
  private readonly identifies = new Set<string>();
  /** By path: what several listeners name is read once. */
  private readonly userFiles = new Map<string, FileSource<Users>>();
  private readonly aclFiles = new Map<string, FileSource<Acl>>();
  private readonly sharedUsers = new SharedSource<Users>();
  private readonly sharedAcl = new SharedSource<Acl>();
  private shared: AccessLists = NO_LISTS;

  /** @throws UserError that names the file, the line and what is wrong there */
  constructor(
    config: AgentConfig,
    private readonly options: AccessOptions,
  ) {
    const { username, password, forwarder } = config;
    const ofForwarder = forwarder !== undefined;
    const onlyUser =
      username === undefined || password === undefined
        ? undefined
        : { value: new Users(new Map([[username, hashOf(password)]])) };
    for (const [name, settings] of Object.entries(config.listeners)) {
      const { allowAnonymous, passwordFile, aclFile, refuseUnreadable, identityAsUsername } = settings;
      if (identityAsUsername) this.identifies.add(name);
      this.policies.set(name, {
        ...{ allowAnonymous, refuseUnreadable },
        users: this.source(
          passwordFile,
          onlyUser ?? (ofForwarder ? this.sharedUsers : NONE),
          this.userFiles,
          readUsers,
        ),
        acl: this.source(aclFile, ofForwarder ? this.sharedAcl : NONE, this.aclFiles, readAcl),
      });
    }
    this.control = new AccessControl({ clock: options.clock, policies: this.policies });
  }

  /** Whether there are files to read again. */
  get reloads(): boolean {
    return this.userFiles.size + this.aclFiles.size > 0;
  }

  /** Reads the files again; one that cannot be used is logged, and what was in force stays. */
  reload(): void {
    const { log } = this.options;
    this.change(() => {
      for (const [path, file] of [...this.userFiles, ...this.aclFiles]) {
        try {
          file.reload();
          log.info({ path }, "access file read again");
        } catch (error) {
          log.error(
            { reason: (error as Error).message },
            "access file not taken over; that of before stays in force",
          );
        }
      }
    });
  }

  /** What the forwarder keeps; names what it has, in a way that the forwarder can compare. */
  get sharedDigest(): string | undefined {
    return accessDigest(this.shared);
  }

  /**
   * Takes over what the forwarder keeps.
   * @returns false, and nothing has changed, where it is malformed
   */
  setShared(lists: AccessLists): boolean {
    const { passwords, acl } = lists;
    const { log } = this.options;
    try {
      const users = passwords === null ? undefined : usersIn(passwords, "the forwarder's password file");
      const rules = acl === null ? undefined : aclIn(acl, "the forwarder's ACL file");
      this.change(() => {
        if (passwords !== this.shared.passwords) this.sharedUsers.value = users;
        if (acl !== this.shared.acl) this.sharedAcl.value = rules;
        this.shared = lists;
      });
      log.info(
        { users: users?.passwords.size, acl: acl !== null },
        "users and rules of the forwarder taken over",
      );
      return true;
    } catch (error) {
      log.error({ reason: (error as Error).message }, "the forwarder's users and rules not taken over");
      return false;
    }
  }

  private source<T>(
    path: string | null | undefined,
    otherwise: Source<T>,
    files: Map<string, FileSource<T>>,
    read: (path: string) => T,
  ): Source<T> {
    if (path === undefined) return otherwise;
    if (path === null) return NONE;
    const file = files.get(path) ?? new FileSource(() => read(path));
    files.set(path, file);
    return file;
  }

  /** Makes a change, and has those disconnected whose password may be another one after it. */
  private change(make: () => void): void {
    const before = new Map([...this.policies].map(([name, { users }]) => [name, users.value]));
    make();
    const changed = new Map(
      [...this.policies].filter(([name, { users }]) => users.value !== before.get(name)),
    );
    if (changed.size === 0) return;
    this.options.onRevoked((client) => {
      const policy = changed.get(client.listener ?? "");
      if (policy === undefined) return false;
      return losesAdmission(
        client,
        before.get(client.listener ?? ""),
        policy.users.value,
        policy.allowAnonymous,
      );
    });
  }

  /** Logs what an operator would otherwise find out from refused clients. */
  advise(): void {
    const { log } = this.options;
    const policies = [...this.policies];
    const named = (which: (policy: Policy, name: string) => boolean) =>
      policies.filter(([name, policy]) => which(policy, name)).map(([name]) => name);
    const unknown = ({ users }: Policy) => users.value === undefined && users !== this.sharedUsers;
    const closed = named(
      (policy, name) => unknown(policy) && !policy.allowAnonymous && !this.identifies.has(name),
    );
    const waiting = named(({ users, allowAnonymous }) => users === this.sharedUsers && !allowAnonymous);
    const unproven = named(
      (policy) => unknown(policy) && policy.allowAnonymous && policy.acl.value !== undefined,
    );
    if (closed.length > 0) {
      log.warn(
        { listeners: closed },
        "no client may connect: give --password-file FILE, -u NAME and -p PASSWORD, or --allow-anonymous",
      );
    }
    if (waiting.length > 0) {
      log.info(
        { listeners: waiting },
        "clients may connect once the forwarder has sent its users: give --password-file FILE, or --allow-anonymous, where it has none",
      );
    }
    if (unproven.length > 0) {
      log.warn(
        { listeners: unproven },
        "user names are not verified, so that rules for users bind nobody: give --password-file FILE",
      );
    }
  }
}

function readUsers(path: string): Users {
  return usersIn(readAccessFile("--password-file", path), path);
}

function readAcl(path: string): Acl {
  return aclIn(readAccessFile("--acl-file", path), path);
}

function usersIn(text: string, name: string): Users {
  return new Users(parsePasswords(text, name));
}

function aclIn(text: string, name: string): Acl {
  return new Acl(parseAcl(text, name));
}
