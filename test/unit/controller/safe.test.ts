import assert from "node:assert/strict";
import test from "node:test";
import { isSafe } from "@topicast/controller/controller.js";
import { parseNetwork } from "@topicast/protocol";

test("the /64 of the forwarder, of Ryu or of a safe host is not shut out", () => {
  const config = {
    listen: { address: "2001:db8:1::7", port: 1 },
    ryu: "http://[2001:db8:2::9]:8080",
    quarantineSafe: [parseNetwork("2001:db8:3::5")!],
  };
  for (const source of ["2001:db8:1::/64", "2001:db8:2::/64", "2001:db8:3::/64"])
    assert.ok(isSafe(config, source), source);
  for (const source of ["2001:db8:4::/64", "192.0.2.1"]) assert.ok(!isSafe(config, source), source);
});

test("nor are their IPv4 addresses", () => {
  const listen = { address: "192.0.2.1", port: 1 };
  const config = { listen, ryu: "http://192.0.2.2:8080", quarantineSafe: [parseNetwork("192.0.2.64/26")!] };
  for (const source of ["192.0.2.1", "192.0.2.2", "192.0.2.70"]) assert.ok(isSafe(config, source), source);
  assert.ok(!isSafe(config, "192.0.2.3"));
});
