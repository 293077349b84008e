export { ACCESSES, type Access, type AclRule, type AclRules, parseAcl } from "./acl.js";
export { type AccessLists, accessDigest, NO_LISTS } from "./lists.js";
export { type PasswordHash, type Passwords, parsePasswords, samePassword } from "./passwords.js";
export { ACCESS_FILE_BYTES_MAX, linesOf, readAccessFile, trim } from "./read.js";
