import { readFileSync } from "node:fs";
import { UserError } from "@topicast/protocol";

const CAP_NET_ADMIN = 12n;
const CAP_NET_RAW = 13n;

/** @throws UserError unless this process may capture frames and change the firewall */
export function requireRawPrivileges(): void {
  if (process.platform !== "linux") {
    throw new UserError("the raw transport runs on Linux only: use --transport socket");
  }
  if (!mayCapture(readFileSync("/proc/self/status", "utf8"))) {
    throw new UserError(
      "the raw transport needs root (or CAP_NET_RAW and CAP_NET_ADMIN): use sudo, or --transport socket",
    );
  }
}

/** Judges the effective capabilities in `/proc/PID/status`. */
export function mayCapture(status: string): boolean {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (mask === undefined) return false;
  const effective = BigInt(`0x${mask}`);
  const needed = (1n << CAP_NET_ADMIN) | (1n << CAP_NET_RAW);
  return (effective & needed) === needed;
}
