import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bindError } from "@topicast/protocol";

describe("a socket that cannot be bound", () => {
  const told = (code: string) =>
    bindError(Object.assign(new Error("odd"), { code }), "UDP 192.0.2.1:80", "choose another port").message;
  for (const [code, words] of [
    ["EADDRINUSE", /^UDP 192\.0\.2\.1:80 is in use .*: stop it, or choose another port$/],
    [
      "EADDRNOTAVAIL",
      /^UDP 192\.0\.2\.1:80: no interface of this host has that address .*: choose another port$/,
    ],
    [
      "EACCES",
      /^UDP 192\.0\.2\.1:80: ports below 1024 are reserved to root: choose another port, or use sudo$/,
    ],
    ["EMFILE", /^UDP 192\.0\.2\.1:80 cannot be served: odd$/],
  ] as const) {
    it(`is explained: ${code}`, () => assert.match(told(code), words));
  }
});
