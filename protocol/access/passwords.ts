import { UserError } from "../errors.js";
import { linesOf, trim } from "./read.js";

/** What a password must come to. */
export interface PasswordHash {
  /** Of PBKDF2 with HMAC-SHA-512; undefined: one SHA-512 over the password and the salt. */
  readonly iterations: number | undefined;
  /** Base64. */
  readonly salt: string;
  /** 64 bytes in base64. */
  readonly hash: string;
}

/** The users by name. */
export type Passwords = ReadonlyMap<string, PasswordHash>;

const ITERATIONS_MAX = 1_000_000;
/** User names are MQTT strings (MQTT-3.1.3-11). */
const NAME_BYTES_MAX = 65_535;
const HASHED = /^\$(?:7\$([0-9]{1,10})|6)\$([A-Za-z0-9+/]{2,512}={0,2})\$([A-Za-z0-9+/]{86}==)$/;

/**
 * Reads a password file in mosquitto_passwd's form: README.md.
 * @param name of the file, for the errors
 * @throws UserError of one line that names the file, the line and the remedy, and never shows what stands there
 */
export function parsePasswords(text: string, name: string): Passwords {
  const users = new Map<string, PasswordHash>();
  const lineOf = new Map<string, number>();
  for (const { line, number } of linesOf(text)) {
    if (line === "" || line.startsWith("#")) continue;
    const fail = (why: string): never => {
      throw new UserError(`${name}:${number}: ${why}`);
    };
    const colon = line.indexOf(":");
    if (colon < 0) fail("is not USER:HASH: mosquitto_passwd writes such files");
    const user = trim(line.slice(0, colon));
    if (user === "") fail("has no user name before the colon");
    if (Buffer.byteLength(user) > NAME_BYTES_MAX)
      fail(`the user name is longer than ${NAME_BYTES_MAX} bytes`);
    const before = lineOf.get(user);
    if (before !== undefined)
      fail(`user ${show(user)} stands in line ${before} already: remove one of the two`);
    const password = parseHash(trim(line.slice(colon + 1)));
    if (typeof password === "string") return fail(password.replace("FILE", name));
    lineOf.set(user, number);
    users.set(user, password);
  }
  return users;
}

/** The hash, or why it is none. */
function parseHash(text: string): PasswordHash | string {
  if (text === "") return "has no password: set one with mosquitto_passwd FILE USER";
  const parts = HASHED.exec(text);
  if (parts !== null) {
    const [, count, salt, hash] = parts;
    const iterations = count === undefined ? undefined : Number(count);
    if (iterations !== undefined && (iterations < 1 || iterations > ITERATIONS_MAX)) {
      return `${iterations} iterations, must be 1 to ${ITERATIONS_MAX}: set the password again with mosquitto_passwd`;
    }
    return { iterations, salt: salt!, hash: hash! };
  }
  if (/^\$[67]\$/.test(text))
    return "the hash is damaged: set the password again with mosquitto_passwd FILE USER";
  if (/^\$[a-z0-9-]+\$/.test(text)) {
    return `the kind of hash ${text.split("$")[1]} is not known: set the password again with mosquitto_passwd -H sha512-pbkdf2`;
  }
  return "the password is in plain text: mosquitto_passwd -U FILE turns those into hashes";
}

/** Whether a login that was right by the one is right by the other. */
export function samePassword(a: PasswordHash | undefined, b: PasswordHash | undefined): boolean {
  return a?.hash === b?.hash && a?.salt === b?.salt && a?.iterations === b?.iterations;
}

function show(name: string): string {
  return JSON.stringify(name.length <= 80 ? name : `${name.slice(0, 77)}...`);
}
