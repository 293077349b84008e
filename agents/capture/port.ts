import { createServer, isIPv6, type Server } from "node:net";
import { bindError, type Endpoint, formatEndpoint, UserError } from "@topicast/protocol";
import type { InterfaceFacts } from "./interface.js";

/** A port that belongs to this process until `release`. */
export interface PortClaim {
  release(): void;
}

/**
 * Makes sure that nobody else serves `port` at these addresses: no kernel socket (it would answer as well) and no
 * other raw transport. The claim is a Unix socket in the abstract name space, which belongs to the network namespace
 * like the interface does and vanishes with the process however that ends.
 *
 * @param flag chooses the port, for error messages
 * @throws UserError when the port is taken
 */
export async function claimPort(
  name: string,
  port: number,
  addresses: Pick<InterfaceFacts, "ipv4" | "ipv6">,
  flag = "-t",
): Promise<PortClaim> {
  let claim: Server;
  try {
    claim = await listen({ path: `\0topicast-raw/${name}/${port}` });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    throw new UserError(
      `port ${port} is in use: another agent serves it on interface ${name}; stop it or choose another with ${flag}`,
    );
  }
  claim.unref();
  try {
    for (const host of addresses.ipv4) await probe(host, port, flag);
    for (const host of addresses.ipv6) await probe(isLinkLocal(host) ? `${host}%${name}` : host, port, flag);
  } catch (error) {
    claim.close();
    throw error;
  }
  return { release: () => claim.close() };
}

/**
 * Makes sure that no other raw transport answers for this endpoint of another station on the interface.
 *
 * @throws UserError when one does, or the address is this host's own
 */
export async function claimIntercept(
  name: string,
  endpoint: Endpoint,
  { ipv4, ipv6 }: Pick<InterfaceFacts, "ipv4" | "ipv6">,
): Promise<PortClaim> {
  const text = formatEndpoint(endpoint);
  if ([...ipv4, ...ipv6].includes(endpoint.address)) {
    throw new UserError(
      `--intercept ${text} is this host's own address, which is served anyway: leave it out, or choose the port with -t`,
    );
  }
  let claim: Server;
  try {
    claim = await listen({ path: `\0topicast-raw/${name}/${text}` });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    throw new UserError(
      `--intercept ${text}: another agent answers for it on interface ${name}; stop it or leave it out here`,
    );
  }
  claim.unref();
  return { release: () => claim.close() };
}

/** fe80::/10: it says something only together with an interface. */
function isLinkLocal(ipv6: string): boolean {
  return /^fe[89ab]/i.test(ipv6);
}

/** Listens for a moment: the only test that sees whatever the kernel would count as in use. */
async function probe(host: string, port: number, flag: string): Promise<void> {
  let server: Server;
  try {
    server = await listen({ host, port, exclusive: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // An IPv6 address that is still tested for duplicates: nobody can listen at it yet.
    if (code === "EADDRNOTAVAIL" && isIPv6(host)) return;
    throw bindError(error, `TCP ${formatEndpoint({ address: host, port })}`, `choose another with ${flag}`);
  }
  await new Promise((resolve) => server.close(resolve));
}

function listen(
  options: { path: string } | { host: string; port: number; exclusive: true },
): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    server.listen(options, () => resolve(server));
  });
}
