import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeDatagram, FabricSocket, Kind, UserError, WHOLE } from "@topicast/protocol";

const header = { kind: Kind.DATA, flags: WHOLE, source: 1, epoch: 2, stream: 3, number: 4 } as const;

describe("FabricSocket", () => {
  it("sends one datagram to each destination and receives it with its sender", async () => {
    const got: Array<[unknown, number]> = [];
    let arrived = () => {};
    const both = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const open = (port: number) =>
      FabricSocket.open({
        address: "127.0.0.1",
        port,
        onDatagram: (bytes, from) => {
          got.push([decodeDatagram(bytes), from.port]);
          if (got.length === 2) arrived();
        },
      });
    const [a, b, c] = await Promise.all([open(0), open(0), open(0)]);
    a.sendEach(header, Buffer.from("x"), [b.local, c.local]);
    await both;
    for (const [datagram, port] of got) {
      assert.deepEqual(datagram, { ...header, payload: Buffer.from("x") });
      assert.equal(port, a.local.port);
    }
    assert.equal(a.stats.sent, 2);
    await Promise.all([a.close(), b.close(), c.close()]);
    a.send(header, Buffer.from("after close"), b.local);
    assert.equal(a.stats.sent, 2);
  });

  it("names what is wrong with an address that it cannot bind", async () => {
    const open = (address: string, port: number) =>
      FabricSocket.open({ address, port, onDatagram: () => {} });
    const first = await open("127.0.0.1", 0);
    await assert.rejects(open("127.0.0.1", first.local.port), (error) => {
      assert.ok(error instanceof UserError);
      assert.match(error.message, new RegExp(`UDP 127.0.0.1:${first.local.port} is in use`));
      return true;
    });
    await assert.rejects(open("192.0.2.1", 0), /no interface of this host has that address/);
    await first.close();
  });
});
