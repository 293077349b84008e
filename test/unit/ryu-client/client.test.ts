import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Port, RyuClient, RyuError, type RyuErrorKind } from "node-ryu-rest-client";

const DPID = 18364758544493064720n;

describe("RyuClient over HTTP", () => {
  let server: Server;
  let url: string;
  let client: RyuClient;
  let answer: (request: IncomingMessage, response: ServerResponse, body: string) => void;
  let connections: Set<Socket>;
  const requests: string[] = [];

  before(async () => {
    connections = new Set();
    server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const body = Buffer.concat(chunks).toString();
        requests.push(`${request.method} ${request.url}${body === "" ? "" : ` ${body}`}`);
        answer(request, response, body);
      });
    });
    server.on("connection", (socket) => {
      connections.add(socket);
      socket.on("close", () => connections.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  beforeEach(() => {
    requests.length = 0;
    client = new RyuClient({ url });
  });
  afterEach(() => client.close());
  after(() => server.close());

  const say = (status: number, text = "") => {
    answer = (_request, response) => response.writeHead(status).end(text);
  };
  const stats = (value: string) => say(200, `{"${DPID}": ${value}}`);

  async function fails(call: Promise<unknown>, kind: RyuErrorKind): Promise<RyuError> {
    const error = await call.then(
      () => assert.fail(`succeeded, instead of ${kind}`),
      (e: unknown) => e,
    );
    assert.ok(error instanceof RyuError, String(error));
    assert.equal(error.kind, kind, error.message);
    assert.ok(error.message.startsWith(`Ryu at ${error.url}: `), error.message);
    return error;
  }

  it("asks the paths of ofctl_rest and rest_topology, and writes their bodies", async () => {
    stats("[]");
    await client.flows(DPID);
    await client.flows(DPID, { cookie: 1n << 63n, cookieMask: (1n << 64n) - 1n, match: { eth_type: 0x800 } });
    await client.queues(DPID, undefined, 7);
    await client.ports(DPID, 2);
    await client.groups(DPID, 9);
    say(200);
    await client.addFlow(DPID, {
      priority: 1,
      cookie: 7n,
      actions: [{ type: "OUTPUT", port: Port.CONTROLLER }],
    });
    await client.deleteGroup(DPID, 4294967292);
    await client.clearFlows(DPID);
    await client.setRole(DPID, "MASTER");
    say(200, "[]");
    await client.topologyLinks(DPID);
    await client.topologyHosts();
    say(200, '{"version": "18f-7"}');
    assert.equal(await client.topologyChange("18f-6"), "18f-7");
    assert.deepEqual(requests, [
      `GET /stats/flow/${DPID}`,
      `POST /stats/flow/${DPID} {"cookie": 9223372036854775808, "cookie_mask": 18446744073709551615, "match": {"eth_type": 2048}}`,
      `GET /stats/queue/${DPID}/ALL/7`,
      `GET /stats/port/${DPID}/2`,
      `GET /stats/group/${DPID}/9`,
      `POST /stats/flowentry/add {"dpid": ${DPID}, "priority": 1, "cookie": 7, "match": {}, "actions": [{"type": "OUTPUT", "port": 4294967293}]}`,
      `POST /stats/groupentry/delete {"dpid": ${DPID}, "group_id": 4294967292}`,
      `DELETE /stats/flowentry/clear/${DPID}`,
      `POST /stats/role {"dpid": ${DPID}, "role": "MASTER"}`,
      `GET /v1.0/topology/links/fedcba9876543210`,
      `GET /v1.0/topology/hosts`,
      `GET /v1.0/topology/changes/18f-6`,
    ]);
  });

  it("keeps a path in front, and takes a URL with or without a slash at its end", async () => {
    const behind = new RyuClient({ url: `${url}/ryu/` });
    say(200, "[1]");
    assert.deepEqual(await behind.switches(), [1n]);
    assert.deepEqual(requests, ["GET /ryu/stats/switches"]);
    behind.close();
    assert.throws(() => new RyuClient({ url: "ftp://x" }), /must start with http/);
    assert.throws(() => new RyuClient({ url: "127.0.0.1:8080" }), TypeError);
  });

  it("reads exact ids and counters", async () => {
    say(200, `[1, ${DPID}]`);
    assert.deepEqual(await client.switches(), [1n, DPID]);
    stats(
      '[{"port_no": "LOCAL", "rx_packets": 18446744073709551615, "tx_packets": 1, "rx_bytes": 9007199254740993, "tx_bytes": 0, "rx_dropped": 0, "tx_dropped": 0, "rx_errors": 0, "tx_errors": 0, "rx_frame_err": 0, "rx_over_err": 0, "rx_crc_err": 0, "collisions": 0, "duration_sec": 3, "duration_nsec": 999999999}]',
    );
    const [port] = await client.ports(DPID);
    assert.equal(port?.portNo, Port.LOCAL);
    assert.equal(port.rxPackets, (1n << 64n) - 1n);
    assert.equal(port.txPackets, 1n);
    assert.equal(port.rxBytes, 9007199254740993n);
    assert.equal(port.durationNsec, 999999999);
    say(
      200,
      '[{"mac": "02:00:00:00:00:01", "ipv4": ["10.0.0.1"], "ipv6": [], "port": {"dpid": "fedcba9876543210", "port_no": "0000000a", "hw_addr": "02:00:00:00:00:0a", "name": "s1-eth10"}}]',
    );
    const [host] = await client.topologyHosts();
    assert.deepEqual(host?.port, { dpid: DPID, portNo: 10, hwAddr: "02:00:00:00:00:0a", name: "s1-eth10" });
  });

  it("reads what Open vSwitch never says: rates of queues, experimenter bands, odd features", async () => {
    stats(
      '[{"port": "ANY", "queues": [{"port": 1, "queue_id": 2, "properties": [{"property": "MIN_RATE", "rate": 100}, {"property": "EXPERIMENTER", "experimenter": 1, "data": []}]}]}]',
    );
    assert.deepEqual(await client.queueConfig(DPID), [
      {
        portNo: Port.ANY,
        queues: [
          {
            portNo: 1,
            queueId: 2,
            properties: [{ property: "MIN_RATE", rate: 100 }, { property: "EXPERIMENTER" }],
          },
        ],
      },
    ]);
    stats(
      '[{"meter_id": 1, "flags": ["KBPS"], "bands": [{"type": "DSCP_REMARK", "rate": 1, "burst_size": 0, "prec_level": 2}, {"type": "EXPERIMENTER", "rate": 1, "burst_size": 0, "experimenter": 9}]}]',
    );
    const [meter] = await client.meterConfig(DPID);
    assert.deepEqual(meter?.bands, [
      { type: "DSCP_REMARK", rate: 1, burstSize: 0, precLevel: 2 },
      { type: "EXPERIMENTER", rate: 1, burstSize: 0, experimenter: 9 },
    ]);
  });

  it("tells apart what a status can mean", async () => {
    const cases: [number, string, RyuErrorKind, RegExp][] = [
      [400, "", "bad-request", /400/],
      [404, "", "unknown-switch", /404: not connected to Ryu/],
      [
        404,
        "404 Not Found\n\nThe resource could not be found.\n",
        "no-such-path",
        /no application of this Ryu/,
      ],
      [501, "", "unsupported", /501/],
      [502, "502 Bad Gateway\n\nswitch 1 refuses: OFPT_X\n", "refused", /switch 1 refuses: OFPT_X$/],
      [504, "504 Gateway Timeout\n\nswitch 1 sent nothing\n", "no-answer", /switch 1 sent nothing$/],
      [
        500,
        "Traceback (most recent call last):\n  File x\nKeyError: 'eth_dstt'\n",
        "server",
        /500: KeyError: 'eth_dstt'$/,
      ],
      [503, "", "server", /503: no explanation/],
    ];
    for (const [status, text, kind, message] of cases) {
      say(status, text);
      const error = await fails(client.groups(DPID), kind);
      assert.equal(error.status, status);
      assert.equal(error.dpid, DPID);
      assert.equal(error.call, `GET /stats/group/${DPID}`);
      assert.match(error.message, message);
      assert.ok(error.message.includes("switch fedcba9876543210: "), error.message);
    }
  });

  it("takes no answer for one that it is not", async () => {
    for (const text of [
      "",
      "<html>",
      "[]",
      "{}",
      '{"1": []}',
      `{"${DPID}": {}}`,
      `{"${DPID}": [1]}`,
      `{"${DPID}": [{"group_id": 1}]}`,
    ]) {
      say(200, text);
      const error = await fails(client.groups(DPID), "bad-answer");
      assert.equal(error.status, 200);
    }
    say(200, '["1"]');
    assert.match((await fails(client.switches(), "bad-answer")).message, /dpid is string, not an integer/);
    stats('[{"group_id": "x"}]');
    assert.match(
      (await fails(client.groupDesc(DPID), "bad-answer")).message,
      /groupdesc\[0\]\.group_id: x is no integer/,
    );
  });

  it("takes silence for silence: single answers that are missing, and empty lists after Ryu's second of waiting", async () => {
    stats("{}");
    await fails(client.desc(DPID), "no-answer");
    stats("[]");
    await fails(client.aggregateFlow(DPID), "no-answer");
    await fails(client.role(DPID), "no-answer");
    assert.deepEqual(await client.groups(DPID), []);
    answer = (_request, response) => setTimeout(() => response.end(`{"${DPID}": []}`), 1010);
    await fails(client.groups(DPID), "no-answer");
  });

  it("names what cannot be sent before anything is sent", async () => {
    for (const call of [
      client.addFlow(DPID, { priority: 65536 }),
      client.addFlow(DPID, { cookie: 1 as unknown as bigint }),
      client.addFlow(DPID, { cookie: -1n }),
      client.deleteGroup(DPID, 2 ** 32),
      client.flows(DPID, { match: { eth_type: -1 } }),
      client.addMeter(DPID, { meterId: 1, flags: [], bands: [{ type: "DROP", rate: 0.5 }] }),
    ]) {
      await fails(call, "bad-request");
    }
    assert.deepEqual(requests, []);
  });

  it("gives up after the time-out, waiting for a connection included", async () => {
    answer = () => {};
    const slow = new RyuClient({ url, timeoutMs: 150, maxConnections: 1 });
    const start = performance.now();
    const calls = [slow.switches(), slow.switches(), slow.desc(DPID, { timeoutMs: 50 })];
    const [, , short] = await Promise.all(calls.map((call) => fails(call, "timeout")));
    assert.match(short!.message, /no complete answer within 50 ms/);
    assert.ok(performance.now() - start < 1000);
    assert.equal(slow.pending, 0);
    slow.close();
  });

  it("can be aborted, before and during a call, and by closing the client", async () => {
    answer = () => {};
    await fails(client.switches({ signal: AbortSignal.abort() }), "aborted");
    const controller = new AbortController();
    const call = fails(client.switches({ signal: controller.signal }), "aborted");
    await sleep(20);
    controller.abort();
    assert.match((await call).message, /aborted by the caller/);
    const last = fails(client.switches(), "aborted");
    await sleep(20);
    client.close();
    assert.match((await last).message, /the client was closed/);
    await fails(client.switches(), "aborted");
    assert.equal(client.pending, 0);
  });

  it("uses few connections for many calls, keeps them, and bounds what waits", async () => {
    answer = (_request, response) => setTimeout(() => response.end("[]"), 5);
    const many = new RyuClient({ url, maxConnections: 3, maxPending: 50 });
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, connections.size);
    }, 1);
    const warnings: Error[] = [];
    process.on("warning", (warning) => warnings.push(warning));
    const { signal } = new AbortController();
    const calls = Array.from({ length: 50 }, () => many.switches({ signal }));
    assert.equal(many.pending, 50);
    const refused = await fails(many.switches(), "overloaded");
    assert.match(refused.message, /50 calls are waiting already/);
    await Promise.all(calls);
    clearInterval(watch);
    assert.ok(most <= 3, `${most} connections`);
    const kept = connections.size;
    await many.switches();
    assert.equal(connections.size, kept);
    assert.deepEqual(warnings, []);
    many.close();
  });

  it("bounds the answer it reads", async () => {
    answer = (_request, response) => response.end(`[${"1,".repeat(10_000)}1]`);
    const small = new RyuClient({ url, maxAnswerBytes: 1000 });
    assert.match((await fails(small.switches(), "bad-answer")).message, /longer than 1000 bytes/);
    small.close();
  });

  it("asks a read again when a kept connection turns out to be closed, but never a command", async () => {
    say(200, "[]");
    const one = new RyuClient({ url, maxConnections: 1 });
    const reset = (request: IncomingMessage) => request.socket.resetAndDestroy();
    for (const [call, expected] of [
      [() => one.switches(), 2],
      [() => one.clearFlows(DPID), 1],
    ] as const) {
      say(200, "[]");
      await one.switches();
      requests.length = 0;
      const normal = answer;
      answer = (request) => {
        answer = normal;
        reset(request);
      };
      const outcome = await call().then(
        () => "answered",
        (e: RyuError) => e.kind,
      );
      assert.deepEqual([requests.length, outcome], [expected, expected === 2 ? "answered" : "unreachable"]);
    }
    one.close();
  });

  it("says that nobody is there, or that the connection broke", async () => {
    const gone = createTcpServer();
    await new Promise<void>((resolve) => gone.listen(0, "127.0.0.1", resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise((resolve) => gone.close(resolve));
    const nobody = new RyuClient({ url: `http://127.0.0.1:${port}` });
    assert.match(
      (await fails(nobody.switches(), "unreachable")).message,
      /connection refused; is ryu-manager running there/,
    );
    nobody.close();
    answer = (_request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("[");
      setTimeout(() => response.destroy(), 10);
    };
    await fails(client.switches(), "unreachable");
  });
});
