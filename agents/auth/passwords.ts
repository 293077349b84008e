import { createHash, pbkdf2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import type { Clock, PasswordHash } from "@topicast/protocol";

/** Half of the threads that node:crypto has by default: files and name look-ups need some, too. */
const CHECKING_MAX = 2;
const WAITING_MAX = 1_024;
/** A client whose CONNECT is that old has been given up by then (`Limits.connectTimeoutMs`). */
const WAIT_MS = 10_000;

const derive = promisify(pbkdf2);

/** `busy`: not checked, because too many wait or this one has waited too long. */
export type Verdict = "right" | "wrong" | "busy";

interface Waiting {
  readonly hash: PasswordHash;
  readonly password: Buffer;
  readonly since: number;
  readonly resolve: (verdict: Verdict | Promise<Verdict>) => void;
}

/** Checks passwords beside the event loop, a few at a time, in the order of asking. */
export class PasswordChecker {
  private readonly waiting: Waiting[] = [];
  readonly stats = { logins_checking: 0, logins_busy: 0, logins_late: 0 };

  constructor(private readonly clock: Clock) {}

  check(hash: PasswordHash, password: Buffer): Promise<Verdict> {
    if (this.stats.logins_checking < CHECKING_MAX) return this.run(hash, password);
    if (this.waiting.length >= WAITING_MAX) {
      this.stats.logins_busy += 1;
      return Promise.resolve("busy");
    }
    const since = this.clock.now();
    return new Promise((resolve) => this.waiting.push({ hash, password, since, resolve }));
  }

  private async run(hash: PasswordHash, password: Buffer): Promise<Verdict> {
    this.stats.logins_checking += 1;
    try {
      return (await isRight(hash, password)) ? "right" : "wrong";
    } finally {
      this.stats.logins_checking -= 1;
      this.next();
    }
  }

  private next(): void {
    for (let next = this.waiting.shift(); next !== undefined; next = this.waiting.shift()) {
      if (this.clock.now() - next.since < WAIT_MS) {
        next.resolve(this.run(next.hash, next.password));
        return;
      }
      this.stats.logins_late += 1;
      next.resolve("busy");
    }
  }
}

async function isRight({ iterations, salt, hash }: PasswordHash, password: Buffer): Promise<boolean> {
  const wanted = Buffer.from(hash, "base64");
  const saltBytes = Buffer.from(salt, "base64");
  const given =
    iterations === undefined
      ? createHash("sha512").update(password).update(saltBytes).digest()
      : await derive(password, saltBytes, iterations, wanted.length, "sha512");
  return timingSafeEqual(given, wanted);
}

/** The hash of one password that is known in plain text, and stays in memory only. */
export function hashOf(password: string): PasswordHash {
  const salt = randomBytes(12);
  const hash = createHash("sha512").update(password).update(salt).digest("base64");
  return { iterations: undefined, salt: salt.toString("base64"), hash };
}

/** A hash that no password has, and that takes as long to find that out as `like`. */
export function decoy(like: PasswordHash | undefined): PasswordHash {
  const { iterations = undefined, salt = "AAAA" } = like ?? {};
  return { iterations, salt, hash: randomBytes(64).toString("base64") };
}
