import { createHash, createHmac, createSecretKey, type KeyObject, timingSafeEqual } from "node:crypto";
import { UserError } from "../errors.js";
import { HEADER_BYTES } from "./header.js";
import { ReplayWindow } from "./replay-window.js";

/** The header's extension: key id (4), sequence number (8), tag (16): protocol/README.md, section "Authentication". */
export const SEAL_BYTES = 28;
const SEALED_HEADER_BYTES = HEADER_BYTES + SEAL_BYTES;
const SEQUENCE_AT = HEADER_BYTES + 4;
const TAG_AT = HEADER_BYTES + 12;
const TAG_BYTES = 16;
const KEYS_MAX = 4;

export interface FabricKey {
  /** The first 4 bytes of the key's SHA-256. */
  readonly id: number;
  readonly key: KeyObject;
}

/**
 * The keys in a key file's text: one a line, 64 hexadecimal digits; `#` begins a comment. The first one is used to send,
 * all are accepted.
 * @param name the file, for the error
 * @throws UserError
 */
export function parseFabricKeys(text: string, name: string): FabricKey[] {
  const lines = text.split("\n").map((line) => line.replace(/#.*/, "").trim());
  const keys = lines.flatMap((line, i) => {
    if (line === "") return [];
    if (/^[0-9a-fA-F]{64}$/.test(line)) return [fabricKey(Buffer.from(line, "hex"))];
    throw new UserError(`fabric key file ${name}, line ${i + 1}: not a key of 64 hexadecimal digits`, 2);
  });
  if (keys.length >= 1 && keys.length <= KEYS_MAX) return keys;
  throw new UserError(
    `fabric key file ${name} holds ${keys.length} keys, must be 1 to ${KEYS_MAX}: make one with openssl rand -hex 32`,
    2,
  );
}

function fabricKey(bytes: Buffer): FabricKey {
  return { id: createHash("sha256").update(bytes).digest().readUInt32BE(0), key: createSecretKey(bytes) };
}

/** Why a datagram is not let in; also the counter's name. */
export type SealFault = "unsealed" | "unknown_key" | "wrong_tag" | "replayed";

/** Seals what one process sends, and checks what it gets: HMAC-SHA256, truncated to 128 bits, and a sequence number. */
export class Seal {
  private readonly window = new ReplayWindow();
  private high: number;
  private low = 0;

  /** @param epoch when this process started (`epochAt`): its sequence numbers follow those of earlier ones. */
  constructor(
    private keys: readonly FabricKey[],
    epoch: number,
  ) {
    this.high = epoch;
  }

  /** Other keys from now on: the first one to send, all to accept. */
  replaceKeys(keys: readonly FabricKey[]): void {
    this.keys = keys;
  }

  /** The header, sealed together with the payload behind it. */
  seal(header: Buffer, payload: Buffer): Buffer {
    const { id, key } = this.keys[0]!;
    const sealed = Buffer.allocUnsafe(SEALED_HEADER_BYTES);
    header.copy(sealed, 0, 0, HEADER_BYTES);
    sealed[3] = SEALED_HEADER_BYTES / 4;
    sealed.writeUInt32BE(id, HEADER_BYTES);
    sealed.writeUInt32BE(this.high, SEQUENCE_AT);
    sealed.writeUInt32BE(this.low, SEQUENCE_AT + 4);
    this.low = (this.low + 1) >>> 0;
    if (this.low === 0) this.high = (this.high + 1) >>> 0;
    tagOf(key, sealed, payload).copy(sealed, TAG_AT, 0, TAG_BYTES);
    return sealed;
  }

  /** Undefined where the datagram may be let in; each one is once. */
  check(bytes: Buffer): SealFault | undefined {
    if (bytes.length < SEALED_HEADER_BYTES || bytes[3] !== SEALED_HEADER_BYTES / 4) return "unsealed";
    const id = bytes.readUInt32BE(HEADER_BYTES);
    const key = this.keys.find((k) => k.id === id);
    if (key === undefined) return "unknown_key";
    const tag = tagOf(key.key, bytes, bytes.subarray(SEALED_HEADER_BYTES));
    const given = bytes.subarray(TAG_AT, TAG_AT + TAG_BYTES);
    if (!timingSafeEqual(tag.subarray(0, TAG_BYTES), given)) return "wrong_tag";
    const high = bytes.readUInt32BE(SEQUENCE_AT);
    const low = bytes.readUInt32BE(SEQUENCE_AT + 4);
    return this.window.admit(bytes.readUInt32BE(4), high, low) ? undefined : "replayed";
  }
}

/** Over everything but the tag itself. */
function tagOf(key: KeyObject, header: Buffer, payload: Buffer): Buffer {
  return createHmac("sha256", key).update(header.subarray(0, TAG_AT)).update(payload).digest();
}
