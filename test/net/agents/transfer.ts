import assert from "node:assert/strict";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { type Namespaces, PORT, SERVER_ADDRESS } from "./namespaces.js";

export interface Transferred {
  /** SHA-256 of what was sent, and of what came back. */
  readonly sent: string;
  readonly received: string;
  readonly bytes: number;
  readonly seconds: number;
}

/** Sends `bytes` from the client's namespace to the service's echo, while they come back. */
export async function transfer(net: Namespaces, bytes: number): Promise<Transferred> {
  const child = net.spawn(net.client, "transfer-main.js", SERVER_ADDRESS, String(PORT), String(bytes));
  const [out, errors] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, "close")]);
  assert.notEqual(out, "", errors);
  return JSON.parse(out) as Transferred;
}
