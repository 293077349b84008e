import { formatEndpoint, parseIPv4, parseSource, QUARANTINE_SECONDS_MAX } from "@topicast/protocol";
import express, { type NextFunction, type Request, type Response } from "express";
import { z } from "zod";
import type { RuleEntry } from "../dataplane/dataplane.js";
import { Metrics } from "./metrics.js";
import { page } from "./pages.js";
import type { ForwarderView } from "./view.js";

/** Where failures of our own are explained; pino's Logger is one. */
export interface RestLog {
  error(fields: object, message: string): void;
}

/** An answer other than 200, with a message for whoever asked. */
class HttpError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export function errorBody(status: number, message: string) {
  return { error: { status, message } };
}

const limit = z
  .string("must be given once")
  .regex(/^\d{1,5}$/, "must be a number")
  .transform(Number)
  .pipe(z.number().min(1, "must be 1 to 10000").max(10_000, "must be 1 to 10000"))
  .default(1_000);
const key = z.string("must be given once").max(65_535);
const nothing = z.strictObject({});
const topicsQuery = z.strictObject({ limit, after: key.optional(), filterAfter: key.optional() });
const agentsQuery = z.strictObject({ limit, after: key.optional() });
const rulesQuery = z.strictObject({
  limit,
  after: key.optional(),
  switch: z
    .string("must be given once")
    .regex(/^[0-9a-f]{16}$/, "must be 16 hexadecimal digits")
    .optional(),
  differing: z.enum(["true", "false"], "must be true or false").default("false"),
});
const quarantineQuery = z.strictObject({ limit, after: key.optional() });
const quarantineBody = z.strictObject({
  source: z.string("must be an address").transform((text, context) => {
    const source = parseSource(text);
    if (source !== undefined) return source;
    context.addIssue("must be an IPv4 or IPv6 address");
    return z.NEVER;
  }),
  seconds: z.number("must be a number").min(1).max(QUARANTINE_SECONDS_MAX).default(300),
  reason: z.string("must be text").min(1).max(256).default("by hand"),
});
/** Bytes of a request's body. */
const BODY_MAX = 4_096;
const groupsQuery = z.strictObject({ limit, after: z.ipv4("must be an IPv4 address").optional() });

type Handler<Query> = (query: Query, response: Response) => unknown;

/** The whole interface as an express application: paths, queries and errors, no socket. */
export function restApp(view: ForwarderView, log: RestLog): express.Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("case sensitive routing");
  app.enable("strict routing");
  app.use(prepare);

  function get<Query>(path: string, schema: z.ZodType<Query>, handler: Handler<Query>): void {
    const route = app.route(path).get(async (request, response) => {
      const answer = await handler(parse(schema, request.query), response);
      if (answer !== undefined) response.json(answer);
    });
    if (path !== "/quarantine") route.all(only("GET, HEAD"));
  }

  get("/topics", topicsQuery, (query) => topics(view, query));
  get("/agents", agentsQuery, (query) => agents(view, query));
  get("/groups", groupsQuery, (query) => groups(view, query));
  get("/rules", rulesQuery, (query) => rules(view, query));
  get("/topology", nothing, () => ({ dataplane: view.dataplane.kind, ...view.dataplane.topology() }));
  get("/healthz", nothing, () => health(view));
  const metrics = new Metrics(view);
  get("/metrics", nothing, async (_query, response) => {
    response.set("content-type", metrics.contentType).send(await metrics.text());
  });

  get("/quarantine", quarantineQuery, (query) => quarantine(view, query));
  app
    .route("/quarantine")
    .post(express.json({ limit: BODY_MAX, strict: true }), (request, response) => {
      if (!request.is("application/json")) throw new HttpError(415, "the body must be application/json");
      const { source, seconds, reason } = parse(quarantineBody, request.body, "body");
      if (!view.quarantine.add(source, reason, seconds, "")) {
        throw new HttpError(409, `${source} is an agent, the forwarder or safe, and is never shut out`);
      }
      response.status(201).json([...shutOuts(view)].find((entry) => entry.source === source));
    })
    .all(only("GET, HEAD, POST"));
  app
    .route("/quarantine/:source")
    .delete((request, response) => {
      const source = parseSource(request.params.source);
      if (source === undefined || !view.quarantine.remove(source)) {
        throw new HttpError(404, `${request.params.source} is not in quarantine`);
      }
      response.status(204).end();
    })
    .all(only("DELETE"));

  app.use((request: Request) => {
    throw new HttpError(
      404,
      `${request.path}: no such path; try /topics, /agents, /groups, /rules, /topology, /quarantine, /healthz, /metrics`,
    );
  });
  app.use((error: unknown, request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) return next(error);
    const { status, message } = explain(error);
    if (status >= 500) log.error({ err: error, path: request.path }, "a REST request failed");
    response.status(status).json(errorBody(status, message));
  });
  return app;
}

/** Answers every other method. */
function only(methods: string) {
  return (request: Request, response: Response): never => {
    response.set("allow", methods);
    const words = methods.replace(/, (?=\w+$)/, " and ");
    const are = methods.includes(",") ? "are" : "is";
    throw new HttpError(405, `${request.method} ${request.route.path}: only ${words} ${are} possible here`);
  };
}

function prepare(request: Request, response: Response, next: NextFunction): void {
  response.set({ "cache-control": "no-store", "x-content-type-options": "nosniff" });
  if (request.method === "POST" && request.path === "/quarantine") return next();
  const length = request.headers["content-length"];
  if (request.headers["transfer-encoding"] !== undefined || (length !== undefined && length !== "0")) {
    // The body is not read: the connection cannot be used for another request.
    response.set("connection", "close");
    throw new HttpError(413, "a request here has no body");
  }
  next();
}

function parse<Query>(schema: z.ZodType<Query>, query: unknown, what = "query"): Query {
  const result = schema.safeParse(query);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  if (issue.code === "unrecognized_keys") {
    throw new HttpError(400, `${what}: there is no parameter ${issue.keys[0]} here`);
  }
  throw new HttpError(400, `${what}: ${issue.path.join(".")} ${issue.message}`);
}

/** What to say of an error: our own words, express's (a path that cannot be decoded), and nothing of any other. */
function explain(error: unknown): { status: number; message: string } {
  if (error instanceof HttpError) return error;
  const status = (error as { status?: unknown } | null)?.status;
  if (error instanceof Error && typeof status === "number" && status >= 400 && status < 500) {
    return { status, message: error.message };
  }
  return { status: 500, message: "the forwarder failed to answer; its log says why" };
}

function nextPath(path: string, query: Record<string, string | number | undefined>): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) given.set(name, String(value));
  return `${path}?${given}`;
}

function topics(view: ForwarderView, { limit, after, filterAfter }: z.infer<typeof topicsQuery>) {
  const filters = page(view.filters(), (f) => f.filter, filterAfter, limit);
  const routed = page(view.topics(), (t) => t.topic, after, limit);
  // The list that has ended stays behind its last key, so that the following pages do not begin it again.
  const next = nextPath("/topics", {
    limit,
    after: routed.items.at(-1)?.topic ?? after,
    filterAfter: filters.items.at(-1)?.filter ?? filterAfter,
  });
  return {
    dataplane: view.dataplane.kind,
    filters: filters.items.map(({ filter, edges }) => ({ filter, edges })),
    topics: routed.items.map(({ topic, edges, group, carriage }) => ({
      topic,
      edges,
      group,
      packets: group === null ? 0 : (view.dataplane.group(group)?.packets ?? 0),
      carriage,
    })),
    idle: view.counts().idle,
    next: filters.more || routed.more ? next : null,
  };
}

function agents(view: ForwarderView, { limit, after }: z.infer<typeof agentsQuery>) {
  const places = new Map(view.dataplane.topology().agents.map((place) => [place.id, place]));
  const { items, more } = page(view.agents(), (a) => a.id, after, limit);
  return {
    agents: items.map(({ id, address, port, mac, filters, upMs, silentMs }) => {
      const { at = null } = places.get(id) ?? {};
      return { id, address, port, mac, filters, upMs, silentMs, at };
    }),
    next: more ? nextPath("/agents", { limit, after: items.at(-1)?.id }) : null,
  };
}

function groups(view: ForwarderView, { limit, after }: z.infer<typeof groupsQuery>) {
  const from = after === undefined ? undefined : parseIPv4(after);
  const { items, more } = page(view.dataplane.groups(), (g) => parseIPv4(g.address)!, from, limit);
  return {
    dataplane: view.dataplane.kind,
    groups: items.map((group) => ({ ...group, ...loadOf(view, group.address) })),
    next: more ? nextPath("/groups", { limit, after: items.at(-1)?.address }) : null,
  };
}

function loadOf(view: ForwarderView, address: string) {
  const { sets = 0, topics = 0, waste = 0 } = view.load(address) ?? {};
  return { sets, topics, waste: share(waste) };
}

/** Of three decimals. */
function share(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function rules(view: ForwarderView, query: z.infer<typeof rulesQuery>) {
  const { limit, after, switch: dpid, differing } = query;
  const keyOf = (entry: RuleEntry) => `${entry.dpid} ${entry.name}`;
  const { items, more } = page(
    onlyDiffering(view.dataplane.rules(dpid), differing === "true"),
    keyOf,
    after,
    limit,
  );
  const last = items.at(-1);
  return {
    dataplane: view.dataplane.kind,
    rules: items.map((entry) => entry.status()),
    next: more && last !== undefined ? nextPath("/rules", { ...query, after: keyOf(last) }) : null,
  };
}

/** Who is shut out, and what the switches have to do with it. */
function* shutOuts(view: ForwarderView) {
  const rules = new Map([...view.dataplane.quarantine()].map((status) => [status.source, status]));
  for (const { source, rule, by, since, until } of view.quarantine.list()) {
    const { at = null, wanted = 0, seen = 0, packets = 0 } = rules.get(source) ?? {};
    const times = { since: new Date(since).toISOString(), until: new Date(until).toISOString() };
    yield { source, rule, by: by === "" ? null : by, ...times, at, wanted, seen, packets };
  }
}

function quarantine(view: ForwarderView, { limit, after }: z.infer<typeof quarantineQuery>) {
  const { items, more } = page(shutOuts(view), (entry) => entry.source, after, limit);
  return {
    dataplane: view.dataplane.kind,
    quarantine: items,
    next: more ? nextPath("/quarantine", { limit, after: items.at(-1)?.source }) : null,
  };
}

function* onlyDiffering(entries: Iterable<RuleEntry>, differing: boolean): Generator<RuleEntry> {
  for (const entry of entries) if (entry.differs || !differing) yield entry;
}

/** Intercepted endpoints that /healthz names one by one. */
const GAPS_SHOWN = 8;

function health(view: ForwarderView) {
  const { kind, ryu, switches, links, located, groups, whole } = view.dataplane.status();
  const { agents, filters, topics, idle } = view.counts();
  const problems: string[] = [];
  if (ryu !== null) {
    const seconds = Math.round(ryu.forMs / 1000);
    if (ryu.state !== "up")
      problems.push(
        `Ryu at ${ryu.url} is ${ryu.state} for ${seconds} s: ${ryu.lastError ?? "no answer yet"}`,
      );
    else if (switches === 0) problems.push(`Ryu at ${ryu.url} knows no switch`);
    if (located < agents)
      problems.push(`${agents - located} of ${agents} agents are not seen by the switches`);
    if (whole < groups)
      problems.push(`${groups - whole} of ${groups} groups go by unicast copies (see /groups)`);
  }
  const { sets, shared, waiting, copies } = view.allocation();
  if (waiting > 0)
    problems.push(
      `${waiting} of ${sets} edge sets find no room in the switches and go by unicast copies (see /topology)`,
    );
  const gaps = view.dataplane.unsteered();
  for (const gap of gaps.slice(0, GAPS_SHOWN))
    problems.push(`not all clients of ${formatEndpoint(gap)} are led to agents: ${gap.reason}`);
  if (gaps.length > GAPS_SHOWN)
    problems.push(`so with ${gaps.length - GAPS_SHOWN} further intercepted endpoints (see /topology)`);
  return {
    status: problems.length === 0 ? "ok" : "degraded",
    dataplane: kind,
    problems,
    uptimeMs: Math.round(view.uptimeMs()),
    ryu,
    agents,
    located,
    switches,
    links,
    groups,
    whole,
    sets,
    shared,
    waiting,
    waste: copies.useful === 0 ? 0 : share(copies.extra / copies.useful),
    filters,
    topics,
    idle,
  };
}
