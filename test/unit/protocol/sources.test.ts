import assert from "node:assert/strict";
import test from "node:test";
import { isSourceOfAny, parseNetwork } from "@topicast/protocol";

test("a source takes in a network that it holds an address of", () => {
  const safe = ["192.0.2.7", "10.0.0.0/8", "2001:db8:1::5", "2001:db8:2::/48"].map(
    (text) => parseNetwork(text)!,
  );
  const cases: Readonly<Record<string, boolean>> = {
    "192.0.2.7": true,
    "192.0.2.8": false,
    "10.1.2.3": true,
    // The /64 of one safe host, one within a safe network, and their neighbours.
    "2001:db8:1::/64": true,
    "2001:db8:1:1::/64": false,
    "2001:db8:2:77::/64": true,
    "2001:db8:3::/64": false,
    "fe80::1": false,
    nobody: false,
  };
  for (const [source, is] of Object.entries(cases)) assert.equal(isSourceOfAny(safe, source), is, source);
});
