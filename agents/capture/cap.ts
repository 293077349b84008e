import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { UserError } from "@topicast/protocol";

/** The part of the npm package `cap` that is used. */
export interface CapDevice {
  /** Returns the link type's name. The device writes each frame to the start of `buffer`. */
  open(device: string, filter: string, ringBytes: number, buffer: Buffer): string;
  send(frame: Buffer, length: number): void;
  close(): boolean;
  on(event: "packet", listener: (length: number, truncated: boolean) => void): void;
}

export interface CapModule {
  Cap: new () => CapDevice;
}

/**
 * Loads `cap`, an optional dependency because it has to be compiled against libpcap.
 *
 * @throws UserError when it is not installed or does not fit
 */
export function loadCap(warn: (message: string) => void): CapModule {
  const require = createRequire(import.meta.url);
  let module: CapModule;
  try {
    module = require("cap") as CapModule;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND") {
      throw new UserError(
        "the raw transport needs the npm package cap, which is not built: apt-get install libpcap-dev, then npm install; or use --transport socket",
      );
    }
    const [reason] = (error as Error).message.split("\n");
    throw new UserError(
      `the npm package cap cannot be loaded (${reason}): npm rebuild cap; or use --transport socket`,
    );
  }
  if (!hasImmediateMode()) {
    warn("libpcap.so is missing, so frames arrive up to a second late: apt-get install libpcap-dev");
  }
  if (abortsOnLinkDown(require.resolve("cap"))) {
    warn(
      "cap is built with assertions, so this process dies when its interface goes down: CXXFLAGS=-DNDEBUG npm rebuild cap",
    );
  }
  return module;
}

/** cap looks `pcap_set_immediate_mode` up in "libpcap.so", the name that only the development package installs. */
function hasImmediateMode(): boolean {
  try {
    process.dlopen({ exports: {} }, "libpcap.so");
  } catch (error) {
    // A library that is there is refused all the same, for not being an addon.
    return !(error as Error).message.includes("cannot open shared object file");
  }
  return true;
}

/** An interface that goes down is an error at the socket, on which cap 0.2.1 asserts that there is none. */
function abortsOnLinkDown(entry: string): boolean {
  try {
    const addon = readFileSync(new URL("../build/Release/cap.node", `file://${entry}`));
    return addon.includes("status == 0");
  } catch {
    return false;
  }
}
