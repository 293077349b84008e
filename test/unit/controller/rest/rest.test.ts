import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { UnicastDataplane } from "@topicast/controller/dataplane/unicast.js";
import { page } from "@topicast/controller/rest/pages.js";
import { RestServer } from "@topicast/controller/rest/server.js";
import { UserError } from "@topicast/protocol";
import fc from "../../../property.js";
import { Rest, TestView } from "./fixture.js";

describe("a page", () => {
  it("is what sorting everything would give, page after page", () => {
    const items = fc.uniqueArray(fc.string(), { maxLength: 60 });
    fc.assert(
      fc.property(items, fc.integer({ min: 1, max: 9 }), (all, limit) => {
        const sorted = all.toSorted((a, b) => (a < b ? -1 : 1));
        const walked: string[] = [];
        for (let last: string | undefined, more = true; more; ) {
          const found = page(all, (x) => x, last, limit);
          assert.ok(found.items.length === limit || !found.more);
          walked.push(...found.items);
          more = found.more;
          last = found.items.at(-1) ?? last;
        }
        assert.deepEqual(walked, sorted);
      }),
    );
  });
});

interface TopicsPage {
  readonly topics: { readonly topic: string }[];
  readonly filters: { readonly filter: string }[];
  readonly idle: number;
  readonly next: string | null;
}

describe("REST", () => {
  let view: TestView;
  let rest: Rest;
  before(async () => {
    view = new TestView(new UnicastDataplane());
    rest = await Rest.open(view);
  });
  after(() => rest.close());

  it("pages filters and topics together, to the end of both", async () => {
    for (let i = 0; i < 25; i++)
      view.topicList.push({ topic: `t/${24 - i} ü&?`, edges: ["e1"], group: null, carriage: "unicast" });
    for (let i = 0; i < 7; i++) view.filterList.push({ filter: `f/${i}/+/#`, edges: ["e1", "e2"] });
    view.idle = 9;
    const topics: string[] = [];
    const filters: string[] = [];
    let pages = 0;
    for (let path: string | null = "/topics?limit=10"; path !== null; pages++) {
      const answer: TopicsPage = (await rest.ask(path)).json;
      assert.equal(answer.idle, 9);
      topics.push(...answer.topics.map((t) => t.topic));
      filters.push(...answer.filters.map((f) => f.filter));
      path = answer.next;
    }
    assert.equal(pages, 3);
    assert.deepEqual(topics, view.topicList.map((t) => t.topic).sort());
    assert.deepEqual(filters, view.filterList.map((f) => f.filter).sort());
  });

  it("answers an unknown path, another method, a bad query and a body with a JSON error", async () => {
    const cases: [string, string, string | undefined, number, RegExp][] = [
      ["GET", "/", undefined, 404, /no such path/],
      ["GET", "/topics/", undefined, 404, /no such path/],
      ["GET", "/Topics", undefined, 404, /no such path/],
      ["GET", "/%zz", undefined, 404, /no such path/],
      ["POST", "/nowhere", undefined, 404, /no such path/],
      ["POST", "/topics", undefined, 405, /POST .topics.*GET and HEAD/],
      ["DELETE", "/healthz", undefined, 405, /DELETE/],
      ["OPTIONS", "/groups", undefined, 405, /OPTIONS/],
      ["GET", "/topics?limit=0", undefined, 400, /limit must be 1 to 10000/],
      ["GET", "/topics?limit=10001", undefined, 400, /limit/],
      ["GET", "/topics?limit=many", undefined, 400, /limit must be a number/],
      ["GET", "/topics?limit=1&limit=2", undefined, 400, /limit must be given once/],
      ["GET", "/topics?after=a&after=b", undefined, 400, /after must be given once/],
      ["GET", "/topics?offset=3", undefined, 400, /no parameter offset/],
      ["GET", "/groups?after=plant", undefined, 400, /after must be an IPv4 address/],
      ["GET", "/healthz?verbose=1", undefined, 400, /no parameter verbose/],
      ["POST", "/topics", "{}", 413, /no body/],
      ["GET", "/topics", "x", 413, /no body/],
    ];
    for (const [method, path, body, status, message] of cases) {
      const answer = await rest.ask(
        path,
        method,
        body,
        body === undefined ? {} : { "content-length": `${body.length}` },
      );
      const what = `${method} ${path}: ${answer.text}`;
      assert.equal(answer.status, status, what);
      assert.deepEqual(Object.keys(answer.json), ["error"], what);
      assert.equal(answer.json.error.status, status, what);
      assert.match(answer.json.error.message, message, what);
      if (status === 405) assert.equal(answer.headers.allow, "GET, HEAD");
    }
    assert.deepEqual(rest.errors, []);
  });

  it("shuts somebody out, shows who is, and lets them in", async () => {
    const post = (body: string, type = "application/json") =>
      rest.ask("/quarantine", "POST", body, {
        "content-type": type,
        "content-length": String(Buffer.byteLength(body)),
      });
    const made = await post('{"source":"2001:db8::7","seconds":60,"reason":"noise"}');
    assert.equal(made.status, 201);
    const entry = {
      ...{ source: "2001:db8::/64", rule: "noise", by: null },
      ...{ since: "1970-01-01T00:00:00.000Z", until: "1970-01-01T00:01:00.000Z" },
      ...{ at: null, wanted: 0, seen: 0, packets: 0 },
    };
    assert.deepEqual(made.json, entry);
    assert.deepEqual((await rest.ask("/quarantine")).json, {
      dataplane: "unicast",
      quarantine: [entry],
      next: null,
    });
    for (const [body, status, message] of [
      ['{"source":"10.0.0.1"}', 409, /10\.0\.0\.1 is an agent, the forwarder or safe/],
      ['{"source":"10.0.0.x"}', 400, /source must be an IPv4 or IPv6 address/],
      ['{"source":"10.0.0.2","seconds":0}', 400, /seconds/],
      ['{"source":"10.0.0.2","why":"x"}', 400, /body: there is no parameter why/],
      ["{}", 400, /source must be an address/],
      ["{", 400, /JSON/],
      [`{"source":"${"x".repeat(5_000)}"}`, 413, /large/],
    ] as const) {
      const answer = await post(body);
      assert.equal(answer.status, status, answer.text);
      assert.match(answer.json.error.message, message);
    }
    // What a page in somebody's browser could send without asking.
    assert.equal((await post('{"source":"10.0.0.2"}', "text/plain")).status, 415);
    const put = await rest.ask("/quarantine", "PUT");
    assert.deepEqual([put.status, put.headers.allow], [405, "GET, HEAD, POST"]);
    const get = await rest.ask("/quarantine/10.0.0.2");
    assert.deepEqual([get.status, get.headers.allow], [405, "DELETE"]);
    assert.equal((await rest.ask("/quarantine/10.0.0.2", "DELETE")).status, 404);
    assert.equal((await rest.ask("/quarantine/2001:db8::%2F64", "DELETE")).status, 204);
    assert.deepEqual((await rest.ask("/quarantine")).json.quarantine, []);
  });

  it("answers HEAD like GET without a body, caches nothing, names no maker", async () => {
    const { status, text, headers } = await rest.ask("/healthz", "HEAD");
    assert.deepEqual([status, text], [200, ""]);
    assert.equal(headers["cache-control"], "no-store");
    assert.equal(headers["x-powered-by"], undefined);
  });

  it("answers what parser or router refuse with a JSON error, too", async () => {
    const raw = (bytes: string) =>
      new Promise<string>((resolve, reject) => {
        const socket = connect(rest.port, "127.0.0.1", () => socket.write(bytes));
        let text = "";
        socket.on("data", (chunk) => {
          text += chunk;
        });
        socket.on("end", () => resolve(text));
        socket.on("error", reject);
      });
    const long = await raw(`GET /topics?after=${"x".repeat(20_000)} HTTP/1.1\r\nhost: a\r\n\r\n`);
    assert.match(long, /^HTTP\/1\.1 431 .*\r\n\r\n\{"error":\{"status":431,/s);
    for (const target of ["http://[", "http://[::1/topics"]) {
      assert.match(
        await raw(`GET ${target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`),
        /^HTTP\/1\.1 400 .*content-type: application\/json.*\r\n\r\n\{"error":\{"status":400,.*target/s,
        target,
      );
    }
    assert.match(await raw("nonsense\r\n\r\n"), /^HTTP\/1\.1 400 .*\r\n\r\n\{"error":\{"status":400,/s);
  });

  it("shows no stack when something fails, and logs it", async () => {
    const failing = new TestView(new UnicastDataplane());
    failing.filters = () => {
      throw new Error("secret detail");
    };
    const server = await Rest.open(failing);
    try {
      const { status, text, json } = await server.ask("/topics");
      assert.equal(status, 500);
      assert.ok(!text.includes("secret") && !text.includes("at "), text);
      assert.equal(json.error.status, 500);
      assert.equal(server.errors.length, 1);
      assert.equal((await server.ask("/healthz")).status, 200, "it goes on serving");
    } finally {
      await server.close();
    }
  });

  it("counts for Prometheus", async () => {
    view.metricList.push(
      { name: "relayed_total", help: "Relayed", kind: "counter", value: 41 },
      { name: "routes", help: "Routes", kind: "gauge", value: 3 },
    );
    await rest.ask("/metrics");
    view.metricList[0] = { name: "relayed_total", help: "Relayed", kind: "counter", value: 42 };
    await view.dataplane.want({ address: "239.192.0.1", members: [], publishers: [] });
    const { text, headers, status } = await rest.ask("/metrics");
    assert.equal(status, 200);
    assert.match(String(headers["content-type"]), /^text\/plain/);
    const lines = text.split("\n");
    for (const line of [
      "topicast_relayed_total 42",
      "topicast_routes 3",
      "topicast_dataplane_wants_total 1",
      "topicast_dataplane_agents 0",
      "topicast_ryu_up 0",
      "# TYPE topicast_relayed_total counter",
      "# TYPE topicast_routes gauge",
    ]) {
      assert.ok(lines.includes(line), line);
    }
    assert.ok(lines.some((l) => l.startsWith("process_resident_memory_bytes ")));
  });

  it("tells of edge sets without room, and what groups carry and waste", async () => {
    const view = new TestView(new UnicastDataplane());
    view.waiting = 2;
    const rest = await Rest.open(view);
    const { status, problems, sets, shared, waiting, waste } = (await rest.ask("/healthz")).json;
    assert.deepEqual([status, sets, shared, waiting, waste], ["degraded", 3, 1, 2, 0.286]);
    assert.deepEqual(problems, [
      "2 of 3 edge sets find no room in the switches and go by unicast copies (see /topology)",
    ]);
    await rest.close();
  });

  it("is well without switches when none were asked for", async () => {
    const { json } = await rest.ask("/healthz");
    assert.deepEqual([json.status, json.dataplane, json.ryu, json.problems], ["ok", "unicast", null, []]);
  });

  it("names the first endpoints whose clients are not steered, and counts the others", async () => {
    const gaps = Array.from({ length: 10 }, (_, i) => ({
      ...{ address: "fd00::250", port: 1883 + i, agents: ["e1"] },
      reason: "the switches see none of its agents",
    }));
    const dataplane = Object.assign(new UnicastDataplane(), { unsteered: () => gaps });
    const other = await Rest.open(new TestView(dataplane));
    const { json } = await other.ask("/healthz");
    await other.close();
    assert.equal(json.status, "degraded");
    assert.equal(
      json.problems[0],
      "not all clients of [fd00::250]:1883 are led to agents: the switches see none of its agents",
    );
    assert.equal(json.problems[8], "so with 2 further intercepted endpoints (see /topology)");
    assert.equal(json.problems.length, 9);
  });

  it("names an address that cannot be bound, and the remedy", async () => {
    const open = (address: string, port: number) =>
      RestServer.open({ view, listen: { address, port }, log: { error: () => {} } });
    const isUserError = (pattern: RegExp) => (error: unknown) =>
      error instanceof UserError && pattern.test(error.message);
    await assert.rejects(
      open("127.0.0.1", rest.port),
      isUserError(/^REST address 127.0.0.1:\d+ is in use.*--rest/),
    );
    await assert.rejects(
      open("203.0.113.7", 8081),
      isUserError(/no interface of this host has that address/),
    );
  });

  it("closes although a client keeps its connection", async () => {
    const server = await Rest.open(view);
    const socket = connect(server.port, "127.0.0.1");
    await new Promise((resolve) => socket.once("connect", resolve));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    const start = performance.now();
    await server.close();
    await closed;
    assert.ok(performance.now() - start < 3_000);
  });
});
