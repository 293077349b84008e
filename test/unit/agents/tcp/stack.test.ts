import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { type StackConnection, TcpStack } from "@topicast/agent/tcp/stack.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Frame } from "@topicast/agent/tcp/wire/frame.js";
import { type Endpoints, Path } from "@topicast/agent/tcp/wire/path.js";
import { ACK, emptySegment, FIN, PSH, RST, type Segment, SYN } from "@topicast/agent/tcp/wire/tcp.js";

const STATION = { mac: parseMac("02:00:00:00:00:01"), ipv4: ["10.0.0.1", "10.0.0.3"] };
const CLIENT: Endpoints = {
  localMac: parseMac("02:00:00:00:00:02"),
  remoteMac: STATION.mac,
  local: "10.0.0.2",
  localPort: 50_000,
  remote: "10.0.0.1",
  remotePort: 1883,
};

let stack: TcpStack;
let sent: Buffer[];
let accepted: StackConnection[];
let wakes: number;

beforeEach(() => {
  sent = [];
  accepted = [];
  wakes = 0;
  const io = {
    send: (bytes: Buffer, length: number) => void sent.push(Buffer.from(bytes.subarray(0, length))),
    wake: () => {
      wakes += 1;
    },
  };
  stack = new TcpStack(STATION, io, {}, () => 1_000);
  stack.listen(1883, (connection) => accepted.push(connection));
});

/** Sends a segment by way of `ends`, and flushes. */
function arrive(ends: Endpoints, fields: Partial<Segment>): void {
  const bytes = Buffer.alloc(2_000);
  stack.receive(bytes, Path.between(ends).write({ ...emptySegment(), ...fields }, bytes), 0);
  stack.flush(0);
}

function open(ends: Endpoints): void {
  arrive(ends, { flags: SYN, seq: 0, window: 60_000, mss: 1460 });
  arrive(ends, { flags: ACK, seq: 1, ack: 1_001, window: 60_000 });
}

function last(): Frame {
  const bytes = sent.at(-1);
  assert(bytes !== undefined, "nothing was sent");
  const frame = new Frame();
  assert.equal(frame.parse(bytes, bytes.length), undefined);
  return frame;
}

describe("TCP stack at its station", () => {
  it("answers at each of its addresses, from that address", () => {
    for (const remote of STATION.ipv4) {
      open({ ...CLIENT, remote });
      assert.equal(accepted.at(-1)?.path.local, `${remote}:1883`);
      assert.equal(accepted.at(-1)?.path.peer, "10.0.0.2:50000");
    }
    assert.equal(stack.counters.accepted, 2);
  });

  it("answers in other stations' place at the ports that it intercepts, from their address", () => {
    const intercepted: StackConnection[] = [];
    stack.intercept("10.9.9.9", 8883, (connection) => intercepted.push(connection));
    stack.intercept("10.9.9.9", 1884, (connection) => intercepted.push(connection));
    for (const remotePort of [8883, 1884]) {
      open({ ...CLIENT, remote: "10.9.9.9", remotePort });
      assert.equal(intercepted.at(-1)?.path.local, `10.9.9.9:${remotePort}`);
      assert.deepEqual([...last().bytes.subarray(6, 12)], [...STATION.mac], "from our own MAC address");
    }
    assert.deepEqual([intercepted.length, accepted.length], [2, 0]);
    arrive({ ...CLIENT, remote: "10.9.9.9", remotePort: 1883 }, { flags: SYN });
    assert.equal(last().segment.flags & RST, RST, "our own port is not theirs");
    arrive({ ...CLIENT, remote: "10.0.0.1", remotePort: 8883 }, { flags: SYN });
    assert.equal(last().segment.flags & RST, RST, "and theirs is not ours");
    stack.beginClose();
    stack.flush(0);
    arrive({ ...CLIENT, remote: "10.9.9.9", remotePort: 8883, localPort: 50_001 }, { flags: SYN });
    assert.equal(last().segment.flags & RST, RST);
    assert.equal(intercepted.length, 2);
  });

  it("takes no notice of frames for other stations, not even by RST", () => {
    arrive({ ...CLIENT, remoteMac: parseMac("02:00:00:00:00:77") }, { flags: SYN });
    arrive({ ...CLIENT, remoteMac: parseMac("ff:ff:ff:ff:ff:ff") }, { flags: SYN });
    arrive({ ...CLIENT, remote: "10.0.0.77" }, { flags: SYN });
    arrive({ ...CLIENT, remote: "10.0.0.77" }, { flags: ACK });
    assert.equal(sent.length, 0);
    assert.equal(stack.counters.drop_other_host, 4);
  });

  it("takes no notice of noise, and counts it by reason", () => {
    stack.receive(Buffer.alloc(60), 0, 0);
    const arp = Buffer.concat([STATION.mac, CLIENT.localMac, Buffer.from("0806", "hex"), Buffer.alloc(46)]);
    stack.receive(arp, arp.length, 0);
    stack.receive(arp, 13, 0);
    assert.equal(sent.length, 0);
    const { drop_other_host, drop_not_ip, drop_ethernet } = stack.counters;
    assert.deepEqual([drop_other_host, drop_not_ip, drop_ethernet], [1, 1, 1]);
  });

  it("gives no answer to a SYN from an address that is barred, and serves what it has open", () => {
    const barred = new Set<string>();
    const send = (bytes: Buffer, length: number) => void sent.push(Buffer.from(bytes.subarray(0, length)));
    const io = { send, wake: () => {}, bars: (address: string) => barred.has(address) };
    stack = new TcpStack(STATION, io, {}, () => 1_000);
    stack.listen(1883, (connection) => accepted.push(connection));
    open(CLIENT);
    assert.equal(accepted.length, 1);
    barred.add(CLIENT.local);
    sent = [];
    const syn = { flags: SYN, seq: 0, window: 60_000, mss: 1460 };
    arrive({ ...CLIENT, localPort: 50_001 }, syn);
    assert.deepEqual([sent.length, stack.counters.drop_barred], [0, 1]);
    arrive(CLIENT, { flags: ACK | FIN, seq: 1, ack: 1_001, window: 60_000 });
    assert.equal(last().segment.ack, 2, "what is open goes on");
    barred.clear();
    arrive({ ...CLIENT, localPort: 50_001 }, syn);
    assert.equal(last().segment.flags, SYN | ACK);
    assert.equal(stack.counters.drop_barred, 1);
  });

  it("refuses other ports", () => {
    arrive({ ...CLIENT, remotePort: 80 }, { flags: SYN });
    assert.equal(stack.counters.resets_out, 1);
    assert.equal(last().sourcePort, 80);
  });

  it("tells connections apart by all four of addresses and ports", () => {
    for (const change of [{}, { local: "10.0.0.4" }, { localPort: 50_001 }, { remote: "10.0.0.3" }]) {
      open({ ...CLIENT, ...change });
    }
    assert.equal(accepted.length, 4);
    assert.equal(stack.size.open, 4);
  });

  it("follows a client that comes by another way, but only for a segment that belongs to the connection", () => {
    open(CLIENT);
    const moved = { ...CLIENT, localMac: parseMac("02:00:00:00:00:22"), vlans: [7] };
    arrive(moved, {
      flags: ACK | PSH,
      seq: 900_000,
      ack: 1_001,
      window: 100,
      payload: Buffer.from("forged"),
    });
    accepted[0]!.write(Buffer.from("a"));
    stack.flush(0);
    assert.equal(sent.at(-1)?.toString("hex", 0, 6), "020000000002");
    arrive(moved, { flags: ACK | PSH, seq: 1, ack: 1_002, window: 60_000, payload: Buffer.from("true") });
    assert.equal(sent.at(-1)?.toString("hex", 0, 6), "020000000022");
    assert.equal(last().ipAt, 18);
    assert.equal(stack.counters.path_changes, 1);
  });

  it("wakes its surroundings once for all that is to be done, not once for each", () => {
    open(CLIENT);
    open({ ...CLIENT, localPort: 50_001 });
    wakes = 0;
    for (const connection of accepted) for (let i = 0; i < 10; i++) connection.write(Buffer.from("x"));
    assert.equal(wakes, 1);
    sent = [];
    stack.flush(0);
    assert.equal(sent.length, 2);
    assert.equal(stack.deadline < Number.POSITIVE_INFINITY, true);
  });

  it("has no deadline while connections are idle", () => {
    open(CLIENT);
    stack.flush(1_000_000);
    assert.equal(stack.deadline, Number.POSITIVE_INFINITY);
    assert.equal(stack.size.open, 1);
  });

  it("keeps no timer for a connection in TIME-WAIT that it has forgotten", () => {
    const io = { send: () => {}, wake: () => {} };
    stack = new TcpStack(STATION, io, { maxTimeWait: 0 }, () => 1_000);
    stack.listen(1883, (connection) => accepted.push(connection));
    open(CLIENT);
    accepted[0]!.shutdown();
    stack.flush(0);
    arrive(CLIENT, { flags: ACK | FIN, seq: 1, ack: 1_002, window: 60_000 });
    assert.equal(stack.counters.time_wait_evicted, 1);
    assert.equal(stack.deadline, Number.POSITIVE_INFINITY);
  });

  it("resets what is open when it closes, and then refuses", () => {
    open(CLIENT);
    stack.close();
    stack.flush(0);
    assert.equal(last().segment.flags & 0x04, 0x04);
    assert.deepEqual(stack.size, { open: 0, halfOpen: 0, timeWait: 0 });
    arrive(CLIENT, { flags: SYN });
    assert.equal(stack.size.open, 0);
    assert.equal(stack.counters.drop_no_connection, 1);
  });

  it("survives a handler that ends its connection in the middle of a step", () => {
    stack.listen(1883, (connection) => {
      connection.handler = {
        onReadable: () => connection.abort(),
        onDrained: () => {},
        onClosed: () => assert.fail("the handler had left"),
      };
    });
    open(CLIENT);
    arrive(CLIENT, { flags: ACK | PSH, seq: 1, ack: 1_001, window: 60_000, payload: Buffer.from("bye") });
    assert.equal(stack.size.open, 0);
    assert.equal(stack.counters.resets_out, 1);
    stack.listen(1883, (connection) => connection.abort());
    open({ ...CLIENT, localPort: 50_002 });
    assert.equal(stack.size.open, 0);
  });
});
