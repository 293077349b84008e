import { createSocket } from "node:dgram";
import { once } from "node:events";
import { networkInterfaces } from "node:os";
import { type Endpoint, UserError } from "@topicast/protocol";

export interface LocalAddress {
  /** IPv4 address of this agent on the fabric. */
  readonly address: string;
  /** MAC address of the interface that has it; undefined where there is none (loopback). */
  readonly mac: string | undefined;
}

/**
 * Which of this host's addresses the fabric uses: the one that was asked for, else the interface's first IPv4 address,
 * else the one from which this host reaches the forwarder. Rejects with a UserError where there is none.
 */
export async function localAddress(
  wanted: { readonly address?: string | undefined; readonly interface?: string | undefined },
  forwarder: Endpoint,
): Promise<LocalAddress> {
  const address = wanted.address ?? ofInterface(wanted.interface) ?? (await towards(forwarder));
  const entry = Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .find((e) => e.address === address);
  if (entry === undefined) {
    throw new UserError(`address ${address}: no interface of this host has it; see \`ip address\``);
  }
  return { address, mac: entry.internal ? undefined : entry.mac };
}

function ofInterface(name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  const entry = networkInterfaces()[name]?.find((e) => e.family === "IPv4");
  if (entry !== undefined) return entry.address;
  throw new UserError(
    `interface ${name} does not exist, is down, or has no IPv4 address; see \`ip address\``,
  );
}

/** The source address that the kernel would choose; a connected UDP socket tells it without sending anything. */
async function towards(forwarder: Endpoint): Promise<string> {
  const socket = createSocket("udp4");
  try {
    socket.connect(forwarder.port, forwarder.address);
    await once(socket, "connect");
    return socket.address().address;
  } catch {
    throw new UserError(
      `forwarder ${forwarder.address}: this host has no route to it; name the interface with -i or the address with --address`,
    );
  } finally {
    socket.close();
  }
}
