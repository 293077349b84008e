import { createHash } from "node:crypto";

/** Password and ACL file as they travel: null where there is none. */
export interface AccessLists {
  readonly passwords: string | null;
  readonly acl: string | null;
}

export const NO_LISTS: AccessLists = { passwords: null, acl: null };

/** Tells lists apart without naming their content; undefined where there are none. */
export function accessDigest({ passwords, acl }: AccessLists): string | undefined {
  if (passwords === null && acl === null) return undefined;
  return createHash("sha256")
    .update(JSON.stringify([passwords, acl]))
    .digest("hex")
    .slice(0, 32);
}
