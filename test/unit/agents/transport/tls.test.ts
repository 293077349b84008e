import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { copyFileSync, writeFileSync } from "node:fs";
import { after, describe, it } from "node:test";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { Broker } from "@topicast/agent/mqtt/index.js";
import { readCertificates } from "@topicast/agent/transport/certificates.js";
import { SocketTransport } from "@topicast/agent/transport/socket.js";
import { TlsLayer, type TlsOptions } from "@topicast/agent/transport/tls.js";
import type { ByteStream } from "@topicast/agent/transport/transport.js";
import { SimClock, UserError } from "@topicast/protocol";
import mqtt from "mqtt-packet";
import { oneUser, settle } from "../mqtt/harness.js";
import { openssl, Pki } from "./pki.js";
import { collect, moved, until, wrap } from "./support.js";

const pki = new Pki();
after(() => pki.remove());
const server = pki.issue("server", "/CN=localhost");
const files = { ...server, ca: pki.ca.cert };
const sensor = pki.issue("sensor", "/O=Plant/CN=sensor-7");
const stranger = pki.issue("stranger", "/CN=sensor-7", { by: pki.authority("other") });
const expired = pki.issue("expired", "/CN=sensor-7", { days: -1 });
const nameless = pki.issue("nameless", "/O=Plant");
const twoNames = pki.issue("two", "/CN=a/CN=b");

interface Session {
  readonly tls: TLSSocket;
  readonly errors: string[];
  readonly accepted: ByteStream[];
}

/** A TLS client on the memory stream of a layer. */
function dial(layer: TlsLayer, options: ConnectionOptions = {}): Session {
  const { client, accepted } = wrap([layer]);
  return { ...session(connect({ socket: client, ...trusting(), ...options })), accepted };
}

function session(tls: TLSSocket): { tls: TLSSocket; errors: string[] } {
  const errors: string[] = [];
  tls.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? error.message));
  return { tls, errors };
}

function trusting(): ConnectionOptions {
  const { ca } = readCertificates(files);
  return { ca, servername: "localhost" };
}

function as(pair: { cert: string; key: string }): ConnectionOptions {
  const { cert, key } = readCertificates(pair);
  return { cert, key };
}

async function opened(layer: TlsLayer, options?: ConnectionOptions): Promise<[ByteStream, TLSSocket]> {
  const { tls, accepted, errors } = dial(layer, options);
  await until(`a TLS session (${errors})`, () => accepted.length > 0);
  return [accepted[0]!, tls];
}

describe("the TLS layer", () => {
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    it(`carries megabytes both ways over ${version}`, async () => {
      const layer = new TlsLayer({ files: server });
      const [stream, tls] = await opened(layer, { minVersion: version, maxVersion: version });
      assert.equal(tls.getProtocol(), version);
      assert.equal(stream.peer, "192.0.2.1:50000");
      assert.equal(stream.identity, undefined);
      const bytes = randomBytes(3_000_000);
      const up = collect(stream);
      const down: Buffer[] = [];
      tls.on("data", (chunk: Buffer) => down.push(chunk));
      tls.write(bytes);
      stream.write(bytes);
      await until("all bytes", () => Buffer.concat(down).length + up.bytes().length >= 2 * bytes.length);
      assert.ok(up.bytes().equals(bytes));
      assert.ok(Buffer.concat(down).equals(bytes));
      assert.deepEqual(moved(layer), { tls_accepted: 1 });
    });
  }

  it("holds the client back while nobody reads, and lets go when somebody does", async () => {
    const [stream, tls] = await opened(new TlsLayer({ files: server }));
    const piece = randomBytes(10_000);
    let sent = 0;
    let waits = 0;
    stream.pause();
    while (waits < 20) {
      if (tls.writableNeedDrain) {
        waits += 1;
        await new Promise((resolve) => setTimeout(resolve, 2));
      } else {
        waits = 0;
        tls.write(piece);
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
    const [stream, tls] = await opened(new TlsLayer({ files: server }));
    tls.pause();
    await settle();
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
    tls.resume();
    await until("drain", () => drained);
  });

  it("passes the client's end on, and may still answer", async () => {
    const [stream, tls] = await opened(new TlsLayer({ files: server }), {
      allowHalfOpen: true,
    } as ConnectionOptions);
    const got = collect(stream);
    let ended = false;
    stream.on("end", () => {
      ended = true;
      stream.end("bye");
    });
    const answer: Buffer[] = [];
    tls.on("data", (chunk: Buffer) => answer.push(chunk));
    tls.end("last words");
    await until("close", () => ended && tls.destroyed);
    assert.equal(got.bytes().toString(), "last words");
    assert.equal(Buffer.concat(answer).toString(), "bye");
    await until("the server's close", () => stream.destroyed);
  });

  it("takes the certificate's common name as identity only where it is told to", async () => {
    const [named] = await opened(new TlsLayer({ files, identityAsUsername: true }), as(sensor));
    assert.equal(named.identity, "sensor-7");
    const [plain] = await opened(new TlsLayer({ files }), as(sensor));
    assert.equal(plain.identity, undefined);
    const [without] = await opened(new TlsLayer({ files, identityAsUsername: true }));
    assert.equal(without.identity, undefined);
  });

  it("knows a client again that resumes its session", async () => {
    const layer = new TlsLayer({ files, requireClientCert: true, identityAsUsername: true });
    const { tls, accepted } = dial(layer, as(sensor));
    let ticket: Buffer | undefined;
    tls.on("session", (data: Buffer) => {
      ticket = data;
    });
    await until("a ticket", () => ticket !== undefined && accepted.length > 0);
    const [again, client] = await opened(layer, { ...as(sensor), session: ticket! });
    assert.ok(client.isSessionReused());
    assert.equal(again.identity, "sensor-7");
  });

  const refused: [
    what: string,
    options: Partial<TlsOptions>,
    client: () => ConnectionOptions,
    counter: string,
  ][] = [
    [
      "no certificate where one is required",
      { requireClientCert: true },
      () => ({}),
      "tls_client_certificate",
    ],
    [
      "somebody else's certificate",
      { requireClientCert: true },
      () => as(stranger),
      "tls_client_certificate",
    ],
    ["somebody else's certificate where none is required", {}, () => as(stranger), "tls_client_certificate"],
    ["an expired certificate", {}, () => as(expired), "tls_client_certificate"],
    ["a certificate without name", { identityAsUsername: true }, () => as(nameless), "tls_no_identity"],
    ["a certificate with two names", { identityAsUsername: true }, () => as(twoNames), "tls_no_identity"],
    [
      "TLS 1.1",
      {},
      () => ({ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL@SECLEVEL=0" }),
      "tls_version",
    ],
    [
      "a cipher nobody has",
      {},
      () => ({ maxVersion: "TLSv1.2", ciphers: "NULL-SHA256@SECLEVEL=0" }),
      "tls_no_shared_cipher",
    ],
  ];
  for (const [what, options, client, counter] of refused) {
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      if (version === "TLSv1.3" && "maxVersion" in client()) continue;
      it(`refuses ${what} (${version})`, async () => {
        const layer = new TlsLayer({ files, ...options });
        const { tls, accepted } = dial(layer, { maxVersion: version, ...client() });
        await until("the client's close", () => tls.destroyed);
        await until("an end", () => layer.counters().tls_handshakes === 0);
        assert.equal(accepted.length, 0);
        assert.deepEqual(moved(layer), { [counter]: 1 });
      });
    }
  }

  for (const [what, bytes, counter] of [
    ["MQTT", Buffer.from("101000044d5154540402003c000474657374", "hex"), "tls_not_tls"],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "tls_not_tls"],
    ["a record that is too long", Buffer.from(`160301ffff${"00".repeat(100)}`, "hex"), "tls_not_tls"],
  ] as const) {
    it(`closes a client that speaks ${what}`, async () => {
      const layer = new TlsLayer({ files: server });
      const { client, accepted } = wrap([layer]);
      client.resume();
      client.write(bytes);
      await until("close", () => client.destroyed);
      assert.equal(accepted.length, 0);
      assert.deepEqual(moved(layer), { [counter]: 1 });
    });
  }

  it("survives whatever bytes", async () => {
    const layer = new TlsLayer({ files: server });
    for (let i = 0; i < 200; i++) {
      const { client } = wrap([layer]);
      client.resume();
      const head = i % 2 === 0 ? Buffer.from("1603010200010001fc0303", "hex") : Buffer.alloc(0);
      client.end(Buffer.concat([head, randomBytes(600)]));
    }
    await until("all closed", () => layer.counters().tls_handshakes === 0);
    assert.equal(layer.counters().tls_accepted, 0);
  });

  it("survives bytes that are damaged once the session is up", async () => {
    const layer = new TlsLayer({ files: server });
    const { client, accepted } = wrap([layer]);
    const { tls } = session(connect({ socket: client, ...trusting() }));
    await until("a session", () => accepted.length > 0);
    const [stream] = accepted;
    stream!.resume();
    client.write(Buffer.from(`1703030040${"55".repeat(64)}`, "hex"));
    await until("close", () => stream!.destroyed && tls.destroyed);
    assert.deepEqual(moved(layer), { tls_accepted: 1, tls_broken: 1 });
  });

  it("closes who does not get on with the handshake", async () => {
    const clock = new SimClock();
    const layer = new TlsLayer({ files: server, clock, timeoutMs: 5_000 });
    const { client } = wrap([layer]);
    client.resume();
    client.write(Buffer.from("1603010200", "hex"));
    await settle();
    clock.advance(4_999);
    await settle();
    assert.ok(!client.destroyed);
    clock.advance(1);
    await until("close", () => client.destroyed);
    await settle();
    assert.deepEqual(moved(layer), { tls_timeout: 1 });
    assert.equal(clock.pending, 0);
  });

  it("counts who leaves in the middle", async () => {
    const layer = new TlsLayer({ files: server });
    const { client } = wrap([layer]);
    client.write(Buffer.from("1603010200", "hex"));
    await settle();
    client.destroy();
    await until("an end", () => layer.counters().tls_handshakes === 0);
    assert.deepEqual(moved(layer), { tls_aborted: 1 });
  });

  it("takes certificates over, for new connections only, and keeps the old ones when the new are no good", async () => {
    const pair = { cert: pki.path("live.pem"), key: pki.path("live.key") };
    const put = (from: { cert: string; key: string }) => {
      copyFileSync(from.cert, pair.cert);
      copyFileSync(from.key, pair.key);
    };
    put(server);
    const layer = new TlsLayer({ files: pair });
    const [stream, first] = await opened(layer);
    put(pki.issue("renewed", "/CN=renewed"));
    layer.reload();
    const [, second] = await opened(layer);
    assert.equal(first.getPeerCertificate().subject.CN, "localhost");
    assert.equal(second.getPeerCertificate().subject.CN, "renewed");
    const got = collect(stream);
    first.write("still here");
    await until("bytes of the old connection", () => got.bytes().toString() === "still here");
    writeFileSync(pair.cert, "nothing");
    assert.throws(() => layer.reload(), UserError);
    const [, third] = await opened(layer);
    assert.equal(third.getPeerCertificate().subject.CN, "renewed");
  });

  it("runs natively on kernel sockets, with the same outcome", async () => {
    const layer = new TlsLayer({ files, requireClientCert: true, identityAsUsername: true });
    const transport = new SocketTransport({ address: "127.0.0.1", port: 0 });
    const accepted: ByteStream[] = [];
    await transport.listen((stream) => layer.wrap(stream, (secure) => accepted.push(secure)));
    const { port } = transport;
    const good = session(connect({ port, host: "127.0.0.1", ...trusting(), ...as(sensor) }));
    await until("a session", () => accepted.length === 1);
    assert.equal(accepted[0]!.identity, "sensor-7");
    assert.equal(accepted[0]!.peer, `127.0.0.1:${good.tls.localPort}`);
    const got = collect(accepted[0]!);
    good.tls.write("hello");
    await until("bytes", () => got.bytes().toString() === "hello");
    const bad = session(connect({ port, host: "127.0.0.1", ...trusting(), ...as(stranger) }));
    await until("close", () => bad.tls.destroyed);
    await until("a count", () => layer.counters().tls_client_certificate === 1);
    await transport.close();
    await until("close of all", () => good.tls.destroyed && accepted[0]!.destroyed);
    assert.equal(transport.counters().connections_open, 0);
  });
});

describe("a broker's client with a certificate", () => {
  async function connack(options: ConnectionOptions, connectPacket: object): Promise<number> {
    const broker = new Broker({ authority: oneUser("u", "p") });
    const [stream, tls] = await opened(new TlsLayer({ files, identityAsUsername: true }), options);
    broker.accept(stream);
    const parser = mqtt.parser();
    const codes: number[] = [];
    parser.on("packet", (packet) => {
      if (packet.cmd === "connack") codes.push(packet.returnCode!);
    });
    tls.on("data", (chunk: Buffer) => parser.parse(chunk));
    tls.write(mqtt.generate({ cmd: "connect", clientId: "c", clean: true, keepalive: 0, ...connectPacket }));
    await until("CONNACK", () => codes.length > 0);
    tls.destroy();
    await broker.close();
    return codes[0]!;
  }

  it("needs no password, whatever user name it gives", async () => {
    assert.equal(await connack(as(sensor), {}), 0);
    assert.equal(await connack(as(sensor), { username: "boss", password: Buffer.from("wrong") }), 0);
  });

  it("needs one where it has no certificate", async () => {
    assert.equal(await connack({}, {}), 5);
    assert.equal(await connack({}, { username: "u", password: Buffer.from("p") }), 0);
  });
});

describe("certificate files", () => {
  function problem(over: Partial<typeof files>): string {
    try {
      new TlsLayer({ files: { ...files, ...over } });
    } catch (error) {
      assert.ok(error instanceof UserError, String(error));
      assert.ok(!error.message.includes("\n"), "one line");
      return error.message.replaceAll(`${pki.dir}/`, "");
    }
    return assert.fail("accepted");
  }
  const nothing = pki.path("empty.pem");
  writeFileSync(nothing, "");
  const damaged = pki.path("damaged.pem");
  writeFileSync(damaged, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  const encrypted = pki.path("encrypted.key");
  openssl("pkey", "-in", server.key, "-aes256", "-passout", "pass:secret", "-out", encrypted);
  const short = { cert: pki.path("short.pem"), key: pki.path("short.key") };
  openssl(
    ...["req", "-x509", "-newkey", "rsa:512", "-nodes", "-subj", "/CN=short"],
    ...["-keyout", short.key, "-out", short.cert],
  );

  const cases: [over: Partial<typeof files>, line: string | RegExp][] = [
    [{ cert: pki.path("none.pem") }, "--cert none.pem: no such file"],
    [{ key: pki.dir }, `--key ${pki.dir}: is a directory`],
    [{ ca: pki.path("none.pem") }, "--ca none.pem: no such file"],
    [{ cert: nothing }, /^--cert empty.pem: holds no certificate in PEM form/],
    [{ cert: server.key }, /^--cert server.key: holds no certificate in PEM form/],
    [{ cert: damaged }, "--cert damaged.pem: certificate 1 is damaged"],
    [{ ca: damaged }, "--ca damaged.pem: certificate 1 is damaged"],
    [{ key: server.cert }, /^--key server.pem: holds no private key in PEM form/],
    [{ key: sensor.key }, "--key sensor.key: is not the key of the certificate in server.pem"],
    [{ key: encrypted }, /^--key encrypted.key: is encrypted, .*openssl pkey -in encrypted.key/],
    [short, /^TLS cannot be served with short.pem, short.key and ca.pem: .*too small/],
  ];
  for (const [over, line] of cases) {
    it(`are refused with one line: ${line}`, () => {
      if (typeof line === "string") assert.equal(problem(over), line);
      else assert.match(problem(over), line);
    });
  }
});
