import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { runCases } from "./cases.js";
import { drill } from "./drill.js";
import { DRILLS } from "./drills.js";

for (const { title, cases } of DRILLS) runCases(title, cases);

describe("segment scripts", () => {
  it("are at least 120, each with a name of its own", (test) => {
    const names = DRILLS.flatMap(({ title, cases }) => cases.map(({ name }) => `${title}: ${name}`));
    test.diagnostic(`${names.length} scripts`);
    assert(names.length >= 120, `${names.length} scripts`);
    assert.equal(new Set(names).size, names.length);
  });

  it("fail for a segment too few, one too many, a wrong one and one at another time, naming the line", () => {
    const opening = "< S 0:0(0) win 65535 <mss 1460,wscale 7>";
    const numbers = { iss: 0, irs: 0 };
    for (const [script, error] of [
      [`${opening}\n> S. 0:0(0) ack 1\n> . 1:1(0)`, /line 3 .*nothing was sent/],
      [`${opening}\nstate SYN-RECEIVED`, /line 2 .*not expected: > S\. 0:0\(0\) ack 1/],
      [opening, /not expected/],
      [`${opening}\n> S. 0:0(0) ack 2`, /line 2 .*ack of S\./],
      [`${opening}\n> S. 0:0(0) ack 1 <mss 1460>`, /line 2 .*wscale of S\./],
      [`${opening}\n+0.1 > S. 0:0(0) ack 1`, /line 2 .*left 100 ms before/],
      [`${opening}\n> S. 0:0(0)\nstate ESTABLISHED`, /line 3/],
      ["< S 0:5(0)", /line 1 .*end and length disagree/],
      ["sneeze", /line 1 .*unknown action sneeze/],
    ] as const) {
      assert.throws(() => drill(script, numbers), error, script);
    }
  });
});
