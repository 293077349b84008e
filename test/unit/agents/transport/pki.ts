/** Certificates for one test run, made by openssl in a folder of their own. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export class Pki {
  readonly dir = mkdtempSync(join(tmpdir(), "topicast-pki-"));
  readonly ca: Pair;

  constructor() {
    this.ca = this.authority("ca");
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  authority(name: string): Pair {
    const pair = this.pair(name);
    openssl(
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
      ...["-subj", `/CN=${name}`, "-keyout", pair.key, "-out", pair.cert],
      ...["-addext", "basicConstraints=critical,CA:TRUE"],
    );
    return pair;
  }

  /** @param subject e.g. `/CN=sensor-7` @param days negative: expired @param names in openssl's words */
  issue(name: string, subject: string, options: { by?: Pair; days?: number; names?: string } = {}): Pair {
    const { by = this.ca, days = 2, names = "DNS:localhost,IP:127.0.0.1,IP:192.0.2.1" } = options;
    const pair = this.pair(name);
    const request = this.path(`${name}.csr`);
    openssl(
      ...["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8"],
      ...["-subj", subject, "-keyout", pair.key, "-out", request],
      ...["-addext", `subjectAltName=${names}`],
    );
    openssl(
      ...["x509", "-req", "-in", request, "-CA", by.cert, "-CAkey", by.key, "-CAcreateserial"],
      ...["-days", String(days), "-copy_extensions", "copy", "-out", pair.cert],
    );
    return pair;
  }

  remove(): void {
    rmSync(this.dir, { recursive: true });
  }

  private pair(name: string): Pair {
    return { cert: this.path(`${name}.pem`), key: this.path(`${name}.key`) };
  }
}

export function openssl(...args: string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}
