import { createHash, timingSafeEqual } from "node:crypto";
import { type Authority, allowAll } from "./authority.js";

/** One user name and password for every client whose stream has no identity of its own; all may do everything. */
export function oneUser(credentials: { readonly username: string; readonly password: string }): Authority {
  const username = digest(credentials.username);
  const password = digest(credentials.password);
  return {
    ...allowAll,
    authenticate(request) {
      // Whoever has proven who it is below MQTT need not do so again, and is nobody else by saying so.
      if (request.identity !== undefined) return { admitted: true, username: request.identity };
      if (request.username === undefined) return { admitted: false, reason: "not_authorized" };
      const isUsernameRight = timingSafeEqual(digest(request.username), username);
      const isPasswordRight = timingSafeEqual(digest(request.password ?? ""), password);
      return isUsernameRight && isPasswordRight
        ? { admitted: true, username: request.username }
        : { admitted: false, reason: "bad_credentials" };
    },
  };
}

/** Digests are compared instead of the texts, so that neither content nor length shows in the time it takes. */
function digest(text: string | Buffer): Buffer {
  return createHash("sha256").update(text).digest();
}
