import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadAgentConfig } from "@topicast/agent/config.js";
import { portsOf } from "@topicast/agent/listeners.js";

const ports = (flags: Record<string, string | string[]>) =>
  portsOf(loadAgentConfig({ flags: { interface: "x", ...flags }, env: {} }));
const tls = { tlsport: "8883", cert: "c", key: "k" };
const at = (port: number) => ({ address: "fd00::250", port });

describe("an agent's ports", () => {
  it("answer for others at their own number, the plain one at every other", () => {
    const intercept = ["1883", "8883", "9001", "8084"].map((port) => `[fd00::250]:${port}`);
    assert.deepEqual(ports({ ...tls, wsport: "9001", intercept: [...intercept, "10.0.0.1"] }), [
      {
        flag: "tcpport",
        port: 1883,
        intercepts: [at(1883), at(8084), { address: "10.0.0.1", port: 1883 }],
        neighbours: ["fd00::250", "10.0.0.1"],
      },
      { flag: "tlsport", port: 8883, intercepts: [at(8883)], neighbours: [] },
      { flag: "wsport", port: 9001, intercepts: [at(9001)], neighbours: [] },
    ]);
  });

  it("have one responder for the addresses, also without a plain one", () => {
    assert.deepEqual(ports({ ...tls, tcpport: "none", wssport: "8084", intercept: "[fd00::250]:8084" }), [
      { flag: "tlsport", port: 8883, intercepts: [], neighbours: ["fd00::250"] },
      { flag: "wssport", port: 8084, intercepts: [at(8084)], neighbours: [] },
    ]);
  });

  it("answer for nobody else where nothing is said", () => {
    assert.deepEqual(ports({}), [{ flag: "tcpport", port: 1883, intercepts: [], neighbours: [] }]);
  });
});
