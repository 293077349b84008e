/** Requests as nobody should send them: each gets an answer of HTTP below 500, or none where it is none; REST serves on. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { UnicastDataplane } from "@topicast/controller/dataplane/unicast.js";
import fc from "../../../property.js";
import { Rest, TestView } from "./fixture.js";

const paths = ["/topics", "/agents", "/groups", "/rules", "/topology", "/healthz", "/metrics", "/", "*", ""];
const word = fc.oneof(fc.string({ maxLength: 30 }), fc.string({ unit: "binary", maxLength: 30 }));
const value = fc.oneof(
  word,
  fc.constantFrom("0", "1", "10000", "99999", "239.192.0.1", "true", "%00", "%zz", "a&after=b"),
);
const query = fc
  .array(
    fc.tuple(
      fc.oneof(fc.constantFrom("limit", "after", "switch", "differing", "__proto__", "a[b]"), word),
      value,
    ),
    {
      maxLength: 4,
    },
  )
  .map((pairs) => pairs.map(([k, v]) => `${k}=${v}`).join("&"));
const target = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom(...paths), query)
      .map(([path, q]) => (q === "" ? path : `${path}?${q}`)),
  },
  { weight: 1, arbitrary: word },
);
const method = fc.oneof(
  fc.constantFrom("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PRI", "get"),
  word,
);
const headers = fc.array(
  fc.oneof(
    fc.constantFrom(
      ...[
        "content-length: 5",
        "content-length: -1",
        "content-length: 5, 6",
        "transfer-encoding: chunked",
        "expect: 100-continue",
      ],
      ...[
        "upgrade: h2c",
        "connection: upgrade",
        "content-type: application/json",
        "content-encoding: gzip",
        "host: a",
      ],
    ),
    fc.tuple(word, word).map(([k, v]) => `${k}: ${v}`),
  ),
  { maxLength: 5 },
);
const body = fc.oneof(
  fc.constant(""),
  fc.json(),
  word,
  fc.constantFrom("0\r\n\r\n", "5\r\nhello\r\n", "ffffffffff\r\n"),
);
const request = fc
  .tuple(method, target, headers, body)
  .map(([m, t, h, b]) => `${[`${m} ${t} HTTP/1.1`, ...h].join("\r\n")}\r\n\r\n${b}`);

describe("garbage at REST", () => {
  let rest: Rest;
  before(async () => {
    rest = await Rest.open(new TestView(new UnicastDataplane()));
  });
  after(() => rest.close());

  /** What is answered before the connection ends. */
  function say(bytes: Buffer): Promise<string> {
    return new Promise((resolve) => {
      let text = "";
      const socket = connect(rest.port, "127.0.0.1", () => socket.end(bytes));
      socket.on("data", (chunk) => {
        text += chunk.toString("latin1");
      });
      socket.on("error", () => resolve(text));
      socket.on("close", () => resolve(text));
    });
  }

  it("gets a clear refusal and breaks nothing", async () => {
    const bytes = fc.oneof(
      request.map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 200 }).map(Buffer.from),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (sent) => {
        const answer = await say(sent);
        const codes = [...answer.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map((m) => Number(m[1]));
        assert.ok(answer === "" || codes.length > 0, answer);
        for (const code of codes) assert.ok(code < 500, answer);
      }),
      { numRuns: Number(process.env.TOPICAST_FUZZ_RUNS ?? 500) },
    );
    assert.equal((await rest.ask("/healthz")).status, 200);
    assert.deepEqual(rest.errors, []);
  });
});
