import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { SecureContextOptions } from "node:tls";
import { UserError } from "@topicast/protocol";

/** Files in PEM form. */
export interface CertificateFiles {
  /** The server's certificate, then those between it and the root, if any. */
  readonly cert: string;
  /** Its private key, not encrypted. */
  readonly key: string;
  /** Certificates of who signs the clients'. Undefined: clients are not asked for one. */
  readonly ca?: string | undefined;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/**
 * Reads and checks the files.
 * @returns what node:tls takes
 * @throws UserError that names the flag, the file and what is wrong with it
 */
export function readCertificates(files: CertificateFiles): SecureContextOptions {
  const cert = readPem("--cert", files.cert);
  const key = readPem("--key", files.key);
  const [own] = certificatesIn("--cert", files.cert, cert);
  if (!own!.checkPrivateKey(privateKeyIn(files.key, key))) {
    throw new UserError(`--key ${files.key}: is not the key of the certificate in ${files.cert}`);
  }
  if (files.ca === undefined) return { cert, key };
  const ca = readPem("--ca", files.ca);
  certificatesIn("--ca", files.ca, ca);
  return { cert, key, ca };
}

function readPem(flag: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === "ENOENT"
        ? "no such file"
        : code === "EISDIR"
          ? "is a directory"
          : code === "EACCES"
            ? "this user may not read it"
            : `cannot be read (${code})`;
    throw new UserError(`${flag} ${path}: ${why}`);
  }
}

/** At least one. */
function certificatesIn(flag: string, path: string, text: string): X509Certificate[] {
  const blocks = text.match(CERTIFICATE);
  if (blocks === null) {
    throw new UserError(
      `${flag} ${path}: holds no certificate in PEM form (-----BEGIN CERTIFICATE-----); openssl x509 -inform DER makes one from DER`,
    );
  }
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new UserError(`${flag} ${path}: certificate ${i + 1} is damaged`);
    }
  });
}

function privateKeyIn(path: string, text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (error) {
    if (/ENCRYPTED/.test(text) || (error as NodeJS.ErrnoException).code === "ERR_MISSING_PASSPHRASE") {
      throw new UserError(
        `--key ${path}: is encrypted, and nobody is there to type its passphrase: openssl pkey -in ${path} -out FILE`,
      );
    }
    throw new UserError(`--key ${path}: holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)`);
  }
}
