import { UserError } from "./errors.js";

/**
 * What to tell a person when a socket could not be bound.
 *
 * @param what the socket, as the person knows it: `UDP 192.0.2.1:1883`
 * @param remedy how another one is chosen: `choose another port with --udpport`
 */
export function bindError(error: unknown, what: string, remedy: string): UserError {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case "EADDRINUSE":
      return new UserError(
        `${what} is in use by another program (ss -lntup names it): stop it, or ${remedy}`,
      );
    case "EADDRNOTAVAIL":
      return new UserError(`${what}: no interface of this host has that address (see ip address): ${remedy}`);
    case "EACCES":
      return new UserError(`${what}: ports below 1024 are reserved to root: ${remedy}, or use sudo`);
    default:
      return new UserError(`${what} cannot be served: ${message}`);
  }
}
