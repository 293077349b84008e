/**
 * docs/openapi.yaml against real answers: every path and every field that is described is answered, and nothing is
 * answered that is not described.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { UnicastDataplane } from "@topicast/controller/dataplane/unicast.js";
import { Ajv2020 } from "ajv/dist/2020.js";
import { parse } from "yaml";
import { Bench } from "../dataplane/model-ryu.js";
import { build } from "../dataplane/networks.js";
import { Rest, TestView } from "./fixture.js";

// biome-ignore lint/suspicious/noExplicitAny: a schema is whatever the file says
type Schema = any;

const file = join(import.meta.dirname, "../../../../../docs/openapi.yaml");
const spec: Schema = parse(readFileSync(file, "utf8"));

const ajv = new Ajv2020({ strict: true, strictTypes: false, formats: { ipv4: /^\d+\.\d+\.\d+\.\d+$/ } });
const readable = Object.keys(spec.paths).filter((path) => spec.paths[path].get !== undefined);
ajv.addVocabulary(["components"]);
for (const schema of Object.values(spec.components.schemas)) close(schema);
ajv.addSchema({ $id: "openapi", components: spec.components });

/** Refuses, in every object that is described, what is not. */
function close(schema: Schema): void {
  if (schema === null || typeof schema !== "object") return;
  if (schema.type === "object") schema.additionalProperties = false;
  for (const part of Object.values(schema)) close(part);
}

function resolve(schema: Schema): Schema {
  if (schema.$ref === undefined) return schema;
  const [, ...path] = schema.$ref.split("/");
  return resolve(path.reduce((at: Schema, name: string) => at[name], spec));
}

/** Marks every described field that occurs in the value. */
function mark(schema: Schema, value: unknown, seen: Set<Schema>): void {
  const described = resolve(schema);
  seen.add(described);
  for (const option of described.oneOf ?? []) {
    const { type } = resolve(option);
    if ((type === "null") === (value === null)) mark(option, value, seen);
  }
  if (Array.isArray(value)) for (const item of value) mark(described.items, item, seen);
  else if (value !== null && typeof value === "object" && described.properties !== undefined) {
    for (const [name, part] of Object.entries(value)) mark(described.properties[name], part, seen);
  }
}

/** Everything that is described under a schema, by path. */
function* parts(schema: Schema, path: string): Generator<[string, Schema]> {
  const described = resolve(schema);
  yield [path, described];
  for (const option of described.oneOf ?? []) yield* parts(option, `${path}|`);
  if (described.items !== undefined) yield* parts(described.items, `${path}[]`);
  for (const [name, part] of Object.entries(described.properties ?? {}))
    yield* parts(part, `${path}.${name}`);
}

function responseSchema(path: string, status: number): Schema {
  const response = resolve(spec.paths[path].get.responses[status]);
  return response.content["application/json"].schema;
}

function validate(path: string, status: number, value: unknown): void {
  const schema = responseSchema(path, status);
  const local = JSON.parse(JSON.stringify(schema).replaceAll("#/components", "openapi#/components"));
  const check = ajv.compile(local);
  assert.ok(check(value), `${path}: ${ajv.errorsText(check.errors)}\n${JSON.stringify(value, null, 1)}`);
}

describe("docs/openapi.yaml", () => {
  const bench = new Bench(build({ parents: [0, 0], extra: [[1, 2]], agents: [1, 2, 0], descending: false }));
  const view = new TestView(bench.plane);
  const unicastView = new TestView(new UnicastDataplane());
  let rest: Rest;
  let unicast: Rest;

  const agents = () => {
    const [first, ...others] = bench.agents();
    const intercepts = [{ address: "10.9.9.9", port: 1883 }];
    return [{ ...first!, intercepts, vacant: ["10.9.9.9"] }, ...others];
  };

  before(async () => {
    rest = await Rest.open(view);
    unicast = await Rest.open(unicastView);
    for (const v of [view, unicastView]) {
      v.agentList.push(...bench.agents());
      v.filterList.push({ filter: "plant/+/temp", edges: ["e1", "e2"] }, { filter: "x", edges: ["e1"] });
      v.topicList.push({
        topic: "plant/7/temp",
        edges: ["e1", "e2"],
        group: "239.192.0.1",
        carriage: "openflow",
      });
      v.topicList.push({ topic: "x", edges: ["e1"], group: null, carriage: "unicast" });
    }
    unicastView.dataplane.setAgents(agents());
    view.quarantine.add("10.0.0.66", "protocol", 300, "e1");
    view.quarantine.add("10.0.0.67", "by hand", 300, "");
    bench.plane.setQuarantine(["10.0.0.66", "10.0.0.67"]);
    bench.ryu.hosts = [
      ...bench.ryu.hosts,
      { mac: "02:00:00:00:00:66", ipv4: ["10.0.0.66"], at: { dpid: 1n, port: 40 } },
    ];
  });
  after(() => Promise.all([rest.close(), unicast.close(), bench.plane.close()]));

  it("describes every path that is served, and no other", async () => {
    const known = readable;
    for (const path of known) assert.equal((await rest.ask(path)).status, 200, path);
    const { json } = await rest.ask("/nowhere");
    const served = json.error.message.match(/\/[a-z]+/g).filter((p: string) => p !== "/nowhere");
    assert.deepEqual(served.sort(), known.sort());
    for (const [path, methods] of Object.entries<Schema>(spec.paths)) {
      if (path.startsWith("/quarantine")) continue;
      assert.deepEqual(Object.keys(methods), ["get"], "read-only");
    }
  });

  it("describes every field of every answer, and every described field is answered", async () => {
    const seen = new Set<Schema>();
    const paths = readable.filter((p) => p !== "/metrics");
    const look = async (suffix = "") => {
      for (const path of paths) {
        for (const server of [rest, unicast]) {
          const { status, json } = await server.ask(
            path + (path.startsWith("/top") && path !== "/topics" ? "" : suffix),
          );
          if (status !== 200) continue;
          validate(path, 200, json);
          mark(responseSchema(path, 200), json, seen);
        }
      }
    };
    await look();
    bench.plane.start();
    bench.ryu.up = false;
    await bench.pass(10);
    await look();
    bench.ryu.up = true;
    bench.plane.setAgents(agents());
    bench.plane.settled();
    await bench.pass(3000);
    await bench.timed(bench.want("239.192.0.1", ["e1", "e2"]));
    bench.want("239.192.0.2", ["e9"]);
    const spoilt = bench.ryu.switches.get(1n)!;
    spoilt.flows = spoilt.flows.filter((f) => f.priority !== 29_000);
    spoilt.groups.set(0x5440_0077, [{ port: 1 }]);
    spoilt.refuseNext = Number.POSITIVE_INFINITY;
    await bench.pass(1500);
    await look();
    const { rules } = (await rest.ask("/rules?differing=true&switch=0000000000000001")).json;
    assert.deepEqual(
      rules.map((r: { name: string; difference: string }) => [r.name, r.difference]),
      [
        ["group 0x54400077", "surplus"],
        ["guard", "missing"],
      ],
    );
    const pages: string[] = [];
    for (let next: string | null = "/rules?limit=2"; next !== null; ) {
      const { json } = await rest.ask(next);
      assert.ok(json.rules.length <= 2);
      pages.push(...json.rules.map((r: { dpid: string; name: string }) => `${r.dpid} ${r.name}`));
      next = json.next;
    }
    const whole = (await rest.ask("/rules")).json.rules;
    assert.deepEqual(
      pages,
      whole.map((r: { dpid: string; name: string }) => `${r.dpid} ${r.name}`),
    );
    assert.deepEqual(pages, pages.toSorted());
    spoilt.refuseNext = 0;
    await bench.pass(6000);
    await bench.pass(3000);
    await look();
    await look("?limit=1");
    const undone: string[] = [];
    for (const path of paths) {
      for (const [name, schema] of parts(responseSchema(path, 200), path))
        if (!seen.has(schema)) undone.push(name);
    }
    assert.deepEqual(undone, []);
    const health = (await rest.ask("/healthz")).json;
    assert.equal(health.status, "degraded");
    assert.deepEqual(health.problems, ["1 of 2 groups go by unicast copies (see /groups)"]);
    const topology = (await rest.ask("/topology")).json;
    const { wanted, seen: held, ...intercept } = topology.intercepts[0];
    assert.deepEqual(intercept, { address: "10.9.9.9", port: 1883, agents: ["e1"], vacant: true });
    assert.ok(wanted > 0 && held === wanted, `${held} of ${wanted} flows`);
    assert.deepEqual(
      topology.links.map((l: { tree: boolean }) => l.tree),
      [true, true, false],
    );
  });

  it("describes the errors, and every parameter that is taken", async () => {
    for (const [path, { get }] of Object.entries<Schema>(spec.paths)) {
      if (get === undefined) continue;
      for (const [method, query, status] of [
        ["GET", "?unknown=1", 400],
        ["PUT", "", 405],
      ] as const) {
        const answer = await rest.ask(path + query, method);
        assert.equal(answer.status, status);
        validate(path, status, answer.json);
      }
      for (const parameter of get.parameters ?? []) {
        const { name, schema } = resolve(parameter);
        const format = schema.format === "ipv4" ? "239.192.0.1" : undefined;
        const value = schema.example ?? schema.enum?.[0] ?? format ?? schema.maximum ?? "x";
        assert.equal((await rest.ask(`${path}?${name}=${value}`)).status, 200, `${path} ${name}`);
      }
    }
  });
});
