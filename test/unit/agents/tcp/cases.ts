import { describe, it } from "node:test";
import type { TcpConfig } from "@topicast/agent/tcp/config.js";
import { drill } from "./drill.js";

/** A script with its name; `config` where our stack needs other than its defaults for it. */
export interface Case {
  readonly name: string;
  readonly script: string;
  readonly config?: Partial<TcpConfig>;
  /** The script's numbers are those of IPv4. */
  readonly onlyIPv4?: boolean;
}

export interface Group {
  readonly title: string;
  readonly cases: readonly Case[];
}

export function group(title: string, cases: readonly Case[]): Group {
  return { title, cases };
}

/** A passive connection with a round trip of 10 ms: the time-out is then 210 ms, the peer's window 64 KiB. */
export const OPEN = `
  < S 0:0(0) win 65535 <mss 1460,wscale 7>
  > S. 0:0(0) ack 1 win 65535 <mss 1460,wscale 3>
  +0.01 < . 1:1(0) ack 1 win 512
  state ESTABLISHED
`;

/** Both sides from 0, both about to wrap, and across the sign bit; each carried in another way. */
const SETTINGS = [
  { iss: 0, irs: 0, carriage: "IPv4" },
  { iss: -150, irs: -2, carriage: "IPv6" },
  { iss: 0x7fffff80, irs: 0x7ffffff0, carriage: "IPv6 fragments" },
] as const;

/** Runs each script on our stack, as a test. */
export function runCases(title: string, cases: readonly Case[]): void {
  describe(title, () => {
    for (const { name, script, config, onlyIPv4 = false } of cases) {
      it(name, () => {
        for (const setting of SETTINGS) {
          const carriage = onlyIPv4 ? "IPv4" : setting.carriage;
          drill(script, { ...setting, carriage, config: config ?? {} });
        }
      });
    }
  });
}
