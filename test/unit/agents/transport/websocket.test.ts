import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, describe, it } from "node:test";
import { connect } from "node:tls";
import { TlsLayer } from "@topicast/agent/transport/tls.js";
import type { ByteStream, Layer } from "@topicast/agent/transport/transport.js";
import { WebSocketLayer, type WebSocketOptions } from "@topicast/agent/transport/websocket.js";
import { SimClock } from "@topicast/protocol";
import { WebSocket } from "ws";
import { type MemoryStream, settle } from "../mqtt/harness.js";
import { Pki } from "./pki.js";
import { collect, moved, until, wrap } from "./support.js";

const pki = new Pki();
after(() => pki.remove());
const server = pki.issue("server", "/CN=localhost");
const sensor = pki.issue("sensor", "/CN=sensor-7");

interface Dialed {
  readonly ws: WebSocket;
  readonly errors: string[];
  readonly accepted: ByteStream[];
  readonly client: MemoryStream;
}

function dial(layer: Layer, path = "/mqtt", protocols: string[] = ["mqtt"], options: object = {}): Dialed {
  const { client, accepted } = wrap([layer]);
  const ws = new WebSocket(`ws://localhost${path}`, protocols, {
    createConnection: () => client as never,
    ...options,
  });
  const errors: string[] = [];
  ws.on("error", (error) => errors.push(error.message));
  return { ws, errors, accepted, client };
}

async function opened(layer: Layer, protocols?: string[]): Promise<Dialed & { stream: ByteStream }> {
  const dialed = dial(layer, "/mqtt", protocols);
  await until(
    `a WebSocket (${dialed.errors})`,
    () => dialed.accepted.length > 0 && dialed.ws.readyState === WebSocket.OPEN,
  );
  return { ...dialed, stream: dialed.accepted[0]! };
}

/** Sends a request by hand; resolves with all that comes back. */
async function request(layer: Layer, text: string | Buffer): Promise<string> {
  const { client, accepted } = wrap([layer]);
  const got = collect(client);
  let ended = false;
  client.on("end", () => {
    ended = true;
    client.end();
  });
  client.write(text);
  await until("an answer and its end", () => ended || client.destroyed);
  assert.equal(accepted.length, 0);
  await until("the handshake's end", () => layer.counters().ws_handshakes === 0);
  return got.bytes().toString();
}

function upgrade(...headers: string[]): string {
  return [
    ...["GET /mqtt HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket"],
    ...["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="],
    ...headers,
    ...["", ""],
  ].join("\r\n");
}

/** A client's frame (RFC 6455 section 5.2), masked with zeros. */
function frame(opcode: number, payload: Buffer, fin = true): Buffer {
  const length = payload.length;
  const head = length < 126 ? Buffer.from([0, length]) : Buffer.from([0, 126, length >> 8, length & 0xff]);
  head[0] = (fin ? 0x80 : 0) | opcode;
  head[1]! |= 0x80;
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}

describe("the WebSocket layer", () => {
  it("carries megabytes both ways, and keeps the peer's name", async () => {
    const layer = new WebSocketLayer();
    const { ws, stream } = await opened(layer);
    assert.equal(ws.protocol, "mqtt");
    assert.equal(ws.extensions, "");
    assert.equal(stream.peer, "192.0.2.1:50000");
    const bytes = randomBytes(3_000_000);
    const up = collect(stream);
    const down: Buffer[] = [];
    ws.on("message", (data: Buffer, isBinary) => {
      assert.ok(isBinary);
      down.push(data);
    });
    for (let at = 0; at < bytes.length; at += 70_001) {
      ws.send(bytes.subarray(at, at + 70_001));
      stream.write(bytes.subarray(at, at + 70_001));
    }
    await until(
      "all bytes",
      () => up.bytes().length === bytes.length && Buffer.concat(down).length === bytes.length,
    );
    assert.ok(up.bytes().equals(bytes) && Buffer.concat(down).equals(bytes));
    assert.deepEqual(moved(layer), { ws_accepted: 1 });
  });

  it("sends what is corked in one go, in order", async () => {
    const { ws, stream } = await opened(new WebSocketLayer());
    const down: string[] = [];
    ws.on("message", (data: Buffer) => down.push(data.toString()));
    stream.cork();
    for (const part of ["a", "b", "c"]) stream.write(part);
    stream.uncork();
    stream.write("d");
    await until("all parts", () => down.length === 4);
    assert.deepEqual(down, ["a", "b", "c", "d"]);
  });

  it("takes a message in fragments with a ping between them, and answers the ping", async () => {
    const { stream, client, ws } = await opened(new WebSocketLayer());
    const got = collect(stream);
    let pongs = 0;
    ws.on("pong", () => {
      pongs += 1;
    });
    client.write(frame(2, Buffer.from("one "), false));
    client.write(frame(9, Buffer.from("?")));
    client.write(frame(0, Buffer.from("two"), true));
    await until("the message", () => got.bytes().toString() === "one two");
    await until("the pong", () => pongs === 1);
  });

  it("takes bytes that came with the request", async () => {
    const { client, accepted } = wrap([new WebSocketLayer()]);
    client.resume();
    client.write(
      Buffer.concat([Buffer.from(upgrade("Sec-WebSocket-Protocol: mqtt")), frame(2, Buffer.from("early"))]),
    );
    await until("a stream", () => accepted.length > 0);
    const got = collect(accepted[0]!);
    await until("bytes", () => got.bytes().toString() === "early");
  });

  it("holds the client back while nobody reads, and lets go when somebody does", async () => {
    const { ws, stream, client } = await opened(new WebSocketLayer());
    const piece = randomBytes(10_000);
    let sent = 0;
    let waits = 0;
    stream.pause();
    while (waits < 20) {
      if (client.writableNeedDrain) waits += 1;
      else {
        waits = 0;
        ws.send(piece);
        sent += 1;
        assert.ok(sent < 200, "no back-pressure");
      }
      await settle();
    }
    const got = collect(stream);
    stream.resume();
    await until("the rest", () => got.bytes().length === sent * piece.length);
    assert.ok(got.bytes().equals(Buffer.concat(Array.from({ length: sent }, () => piece))));
  });

  it("lets `write` return false while the client takes nothing", async () => {
    const { ws, stream } = await opened(new WebSocketLayer());
    ws.pause();
    let queued = 0;
    while (stream.write(Buffer.alloc(16_384))) {
      queued += 16_384;
      await settle();
      assert.ok(queued < 1_000_000, "no back-pressure");
    }
    let drained = false;
    stream.once("drain", () => {
      drained = true;
    });
    ws.resume();
    await until("drain", () => drained);
  });

  it("takes the name of MQTT 3.1 as well, and prefers the standard's", async () => {
    assert.equal((await opened(new WebSocketLayer(), ["mqttv3.1"])).ws.protocol, "mqttv3.1");
    assert.equal((await opened(new WebSocketLayer(), ["mqttv3.1", "mqtt"])).ws.protocol, "mqtt");
  });

  it("serves one path where it is told to", async () => {
    const layer = new WebSocketLayer({ path: "/mqtt" });
    const { accepted } = dial(layer, "/mqtt?token=1");
    await until("a stream", () => accepted.length > 0);
    const other = dial(layer, "/");
    await until("a refusal", () => other.errors.length > 0);
    assert.deepEqual(other.errors, ["Unexpected server response: 404"]);
    assert.equal(layer.counters().ws_path, 1);
  });

  it("is closed in order from either side", async () => {
    const one = await opened(new WebSocketLayer());
    let ended = false;
    one.stream.on("end", () => {
      ended = true;
      one.stream.end();
    });
    one.stream.resume();
    one.ws.close(1001);
    await until("end and close", () => ended && one.stream.destroyed);
    assert.equal(one.stream.errored, null);

    const other = await opened(new WebSocketLayer());
    const codes: number[] = [];
    other.ws.on("close", (code) => codes.push(code));
    other.stream.resume();
    other.stream.end("bye");
    await until("close", () => codes.length > 0 && other.stream.destroyed);
    assert.deepEqual(codes, [1000]);
    assert.equal(other.stream.errored, null);
  });

  it("loses what is written after the client's close frame, and nothing else happens", async () => {
    const { ws, stream } = await opened(new WebSocketLayer());
    stream.resume();
    ws.close();
    await until("the close frame's arrival", () => ws.readyState !== WebSocket.OPEN);
    for (let i = 0; i < 100; i++) stream.write("too late");
    stream.end();
    await until("close", () => stream.destroyed);
    assert.equal(stream.errored, null);
  });

  it("is reset from either side", async () => {
    const one = await opened(new WebSocketLayer());
    one.stream.resume();
    one.ws.terminate();
    await until("close", () => one.stream.destroyed);
    const other = await opened(new WebSocketLayer());
    other.stream.destroy();
    await until("close", () => other.ws.readyState === WebSocket.CLOSED);
  });

  const faults: [what: string, send: (client: MemoryStream) => void, code: number, counter: string][] = [
    ["a text frame", (client) => client.write(frame(1, Buffer.from("hello"))), 1003, "ws_text_frame"],
    [
      "an oversized frame",
      (client) => client.write(Buffer.from("82ff0000000000100001" + "00000000", "hex")),
      1009,
      "ws_too_big",
    ],
    [
      "a frame of an impossible size",
      (client) => client.write(Buffer.from("82fffffffffffffffff0" + "00000000", "hex")),
      1009,
      "ws_too_big",
    ],
    [
      "fragments that add up to too much",
      (client) => {
        for (let i = 0; i < 20; i++) client.write(frame(i === 0 ? 2 : 0, Buffer.alloc(60_000), false));
      },
      1009,
      "ws_too_big",
    ],
    [
      "too many fragments",
      (client) => {
        for (let i = 0; i < 2_000; i++) client.write(frame(i === 0 ? 2 : 0, Buffer.alloc(1), false));
      },
      1008,
      "ws_too_many_parts",
    ],
    [
      "a frame without mask",
      (client) => client.write(Buffer.from("820100", "hex")),
      1002,
      "ws_protocol_error",
    ],
    [
      "a reserved bit",
      (client) => client.write(Buffer.from("c28000000000", "hex")),
      1002,
      "ws_protocol_error",
    ],
    ["an unknown frame", (client) => client.write(frame(3, Buffer.alloc(1))), 1002, "ws_protocol_error"],
    [
      "a continuation of nothing",
      (client) => client.write(frame(0, Buffer.alloc(1))),
      1002,
      "ws_protocol_error",
    ],
  ];
  for (const [what, send, code, counter] of faults) {
    it(`closes a client that sends ${what}`, async () => {
      const layer = new WebSocketLayer();
      const { ws, stream, client } = await opened(layer);
      const got = collect(stream);
      const codes: number[] = [];
      ws.on("close", (closed) => codes.push(closed));
      send(client);
      await until("close", () => codes.length > 0 && stream.destroyed);
      assert.deepEqual(codes, [code]);
      assert.equal(got.bytes().length, 0);
      assert.deepEqual(moved(layer), { ws_accepted: 1, [counter]: 1 });
    });
  }

  const refused: [
    what: string,
    request: string,
    status: number,
    counter: string,
    options?: WebSocketOptions,
  ][] = [
    ["a page", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426, "ws_not_upgrade"],
    ["a page elsewhere", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, "ws_path", { path: "/mqtt" }],
    ["a post", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 426, "ws_not_upgrade"],
    ["no sub-protocol", upgrade(), 400, "ws_subprotocol"],
    ["another sub-protocol", upgrade("Sec-WebSocket-Protocol: chat, mqttx"), 400, "ws_subprotocol"],
    ["a sub-protocol that does not parse", upgrade("Sec-WebSocket-Protocol: mqtt, ,"), 400, "ws_bad_request"],
    ["a bad key", upgrade("Sec-WebSocket-Protocol: mqtt").replace("==", ""), 400, "ws_bad_request"],
    ["version 12", upgrade("Sec-WebSocket-Protocol: mqtt").replace("13", "12"), 400, "ws_bad_request"],
    [
      "a POST as upgrade",
      upgrade("Sec-WebSocket-Protocol: mqtt").replace("GET", "POST"),
      405,
      "ws_bad_request",
    ],
    [
      "another upgrade",
      upgrade("Sec-WebSocket-Protocol: mqtt").replace("websocket", "h2c"),
      400,
      "ws_bad_request",
    ],
    ["MQTT", "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test", 400, "ws_bad_request"],
    ["an endless header", `GET / HTTP/1.1\r\nX: ${"x".repeat(9_000)}\r\n\r\n`, 431, "ws_bad_request"],
  ];
  for (const [what, text, status, counter, options] of refused) {
    it(`answers ${what} with ${status} and closes`, async () => {
      const layer = new WebSocketLayer(options);
      const answer = await request(layer, Buffer.from(text, "latin1"));
      assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `));
      assert.match(answer, /^connection: close\r$/im);
      assert.deepEqual(moved(layer), { [counter]: 1 });
    });
  }

  it("closes who takes too long over the request, and who does not leave after a refusal", async () => {
    const clock = new SimClock();
    const layer = new WebSocketLayer({ clock, timeoutMs: 1_000 });
    const slow = wrap([layer]);
    const stubborn = wrap([layer]);
    stubborn.client.resume();
    stubborn.client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    for (const byte of upgrade().slice(0, 9)) {
      slow.client.write(byte);
      await settle();
      clock.advance(100);
    }
    await settle();
    assert.ok(!slow.client.destroyed && !stubborn.client.destroyed);
    clock.advance(100);
    await settle();
    assert.ok(slow.client.destroyed && stubborn.client.destroyed);
    assert.deepEqual(moved(layer), { ws_timeout: 1, ws_not_upgrade: 1 });
    assert.equal(clock.pending, 0);
  });

  it("runs over TLS, and hands the identity on", async () => {
    const tls = new TlsLayer({ files: { ...server, ca: pki.ca.cert }, identityAsUsername: true });
    const layer = new WebSocketLayer();
    const { client, accepted } = wrap([tls, layer]);
    const { readCertificates } = await import("@topicast/agent/transport/certificates.js");
    const { cert, key, ca } = readCertificates({ ...sensor, ca: pki.ca.cert });
    const socket = connect({ socket: client, cert, key, ca, servername: "localhost" });
    const ws = new WebSocket("ws://localhost/", "mqtt", { createConnection: () => socket });
    ws.on("error", () => {});
    await until("a stream", () => accepted.length > 0);
    const [stream] = accepted;
    assert.equal(stream!.identity, "sensor-7");
    assert.equal(stream!.peer, "192.0.2.1:50000");
    const bytes = randomBytes(1_000_000);
    const got = collect(stream!);
    await until("open", () => ws.readyState === WebSocket.OPEN);
    ws.send(bytes);
    const down: Buffer[] = [];
    ws.on("message", (data: Buffer) => down.push(data));
    stream!.write(bytes);
    await until(
      "all bytes",
      () => got.bytes().length === bytes.length && Buffer.concat(down).length === bytes.length,
    );
    assert.ok(got.bytes().equals(bytes) && Buffer.concat(down).equals(bytes));
    stream!.end();
    await until("close", () => ws.readyState === WebSocket.CLOSED && stream!.destroyed);
  });
});
