/**
 * An error whose message is meant for a person: it names the thing that is wrong and the remedy. The command line
 * prints the message alone (no stack) and exits with `exitCode`.
 */
export class UserError extends Error {
  override readonly name = "UserError";
  constructor(
    message: string,
    readonly exitCode = 1,
  ) {
    super(message);
  }
}
