import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readClaim } from "@topicast/controller/forwarder/claim.js";
import { encodePacket, PacketReader } from "@topicast/protocol";

/** What the forwarder takes from a CONNECT with these user properties, over the wire. */
function claimOf(userProperties: Record<string, string | string[]>) {
  const bytes = encodePacket({
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: 5,
    clean: true,
    keepalive: 5,
    clientId: "e1",
    properties: { userProperties: { address: "10.0.0.1", port: "1883", epoch: "7", ...userProperties } },
  });
  return readClaim(new PacketReader().read(bytes)?.[0]);
}

describe("an agent's claim", () => {
  it("names what it answers for: nothing, one endpoint, or several", () => {
    const { intercepts, ...rest } = claimOf({ mac: "02:00:00:00:00:AB" })!;
    assert.deepEqual(rest, {
      id: "e1",
      address: "10.0.0.1",
      port: 1883,
      dataEpoch: 7,
      mac: "02:00:00:00:00:ab",
    });
    assert.deepEqual(intercepts, []);
    const first = { address: "192.168.1.250", port: 1883 };
    assert.deepEqual(claimOf({ intercept: "192.168.1.250:1883" })?.intercepts, [first]);
    assert.deepEqual(claimOf({ intercept: "[FD00:0:0::250]:8883" })?.intercepts, [
      { address: "fd00::250", port: 8883 },
    ]);
    assert.deepEqual(claimOf({ intercept: ["192.168.1.250:1883", "10.9.9.9:8883"] })?.intercepts, [
      first,
      { address: "10.9.9.9", port: 8883 },
    ]);
  });

  it("is refused where any of it is malformed, or too much", () => {
    for (const intercept of [
      "10.0.0.1",
      "10.0.0.1:",
      "10.0.0.1:0",
      "10.0.0.1:65536",
      "10.0.0:1883",
      "broker:1883",
      "",
      Array.from({ length: 17 }, (_, i) => `10.0.0.1:${i + 1}`),
    ]) {
      assert.equal(claimOf({ intercept }), undefined, String(intercept));
    }
    assert.equal(claimOf({ address: "x" }), undefined);
    assert.equal(claimOf({ port: "65536" }), undefined);
    for (const epoch of ["", "x", "-1", "1.5", "4294967296"])
      assert.equal(claimOf({ epoch }), undefined, epoch);
    assert.equal(readClaim({ cmd: "pingreq" }), undefined);
    const most = Array.from({ length: 16 }, (_, i) => `10.0.0.1:${i + 1}`);
    assert.equal(claimOf({ intercept: most })?.intercepts.length, 16);
  });
});
