import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StackConnection } from "@topicast/agent/tcp/stack.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import type { Endpoints } from "@topicast/agent/tcp/wire/path.js";
import { ACK, FIN, PSH, RST, SYN } from "@topicast/agent/tcp/wire/tcp.js";
import { frameOf, Station } from "./frame-station.js";
import { pattern } from "./pattern.js";
import { parsed } from "./wire/linux-frames.js";

const MAC = parseMac("02:00:00:00:00:01");
const STATION = { mac: MAC, ipv4: ["10.0.0.1"], ipv6: ["fd00::1", "fe80::1"] };
const CLIENT: Endpoints = {
  localMac: parseMac("02:00:00:00:00:02"),
  remoteMac: MAC,
  local: "fd00::2",
  localPort: 50_000,
  remote: "fd00::1",
  remotePort: 1883,
};
const ISS = 1_000;

const station = () => new Station(STATION, ISS, 1883);

describe("TCP over IPv6 at a station", () => {
  it("answers at each of its addresses, beside IPv4, from that address", () => {
    const at = station();
    const link = { ...CLIENT, local: "fe80::2", remote: "fe80::1" };
    const v4 = { ...CLIENT, local: "10.0.0.2", remote: "10.0.0.1" };
    const ends = [CLIENT, link, v4].map((each) => {
      const { local, peer } = at.open(each).path;
      return [local, peer];
    });
    assert.deepEqual(ends, [
      ["[fd00::1]:1883", "[fd00::2]:50000"],
      ["[fe80::1]:1883", "[fe80::2]:50000"],
      ["10.0.0.1:1883", "10.0.0.2:50000"],
    ]);
  });

  it("takes no notice of other addresses, until it has them", () => {
    const at = station();
    const other = { ...CLIENT, remote: "fd00::9" };
    at.arrive(frameOf(other, { flags: SYN, window: 1_000 }));
    assert.deepEqual([at.sent.length, at.stack.counters.drop_other_host], [0, 1]);
    at.stack.setStation({ ...STATION, ipv6: ["fd00:0:0::9"] });
    assert.equal(at.open(other).path.local, "[fd00::9]:1883");
  });

  it("asks for segments that are 20 bytes smaller than over IPv4, and sends no larger ones", () => {
    const at = station();
    at.arrive(frameOf(CLIENT, { flags: SYN, window: 60_000, mss: 9_000 }));
    assert.equal(at.last.segment.mss, 1_440);
    at.arrive(frameOf(CLIENT, { flags: ACK, seq: 1, ack: ISS + 1, window: 60_000 }));
    at.accepted[0]!.write(pattern(0, 2_000));
    at.sent = [];
    at.flush();
    assert.deepEqual(
      at.sent.map((bytes) => bytes.length),
      [1_514, 74 + 560],
    );
  });

  it("takes a peer without the MSS option to accept 1,220 bytes", () => {
    const at = station();
    const connection = at.open(CLIENT, 0);
    connection.write(pattern(0, 1_300));
    at.flush();
    assert.equal(at.last.segment.payload.length, 80);
  });

  it("moves bytes both ways, and closes", () => {
    const at = station();
    const connection = at.open(CLIENT);
    const payload = Buffer.from("hello");
    at.arrive(frameOf(CLIENT, { flags: ACK | PSH, seq: 1, ack: ISS + 1, window: 60_000, payload }));
    assert.equal(connection.read()?.toString(), "hello");
    connection.write(Buffer.from("world"));
    connection.shutdown();
    at.flush();
    assert.equal(at.last.segment.payload.toString(), "world");
    at.arrive(frameOf(CLIENT, { flags: ACK | FIN, seq: 6, ack: ISS + 7, window: 60_000 }));
    assert.equal(at.last.segment.ack, 7);
    assert.equal(connection.state, "TIME-WAIT");
  });

  it("answers in other stations' place at the ports that it intercepts, however their address is written", () => {
    const at = station();
    const intercepted: StackConnection[] = [];
    at.stack.intercept("FD00:0:0:0::250", 8883, (connection) => intercepted.push(connection));
    at.open({ ...CLIENT, remote: "fd00::250", remotePort: 8883 });
    assert.equal(intercepted[0]?.path.local, "[fd00::250]:8883");
    at.arrive(frameOf({ ...CLIENT, remote: "fd00::250" }, { flags: SYN }));
    assert.equal(parsed(at.sent.at(-1)!).segment.flags & RST, RST);
  });

  it("counts what it drops by reason", () => {
    const at = station();
    const jumbo = frameOf(CLIENT, { flags: SYN });
    jumbo.writeUInt16BE(0, 18);
    at.arrive(jumbo);
    const damaged = frameOf(CLIENT, { flags: SYN });
    damaged[60]! ^= 1;
    at.arrive(damaged);
    const routed = frameOf({ ...CLIENT, local: "ff02::2" }, { flags: SYN });
    at.arrive(routed);
    const { drop_jumbogram, drop_tcp_checksum, drop_source_address } = at.stack.counters;
    assert.deepEqual([drop_jumbogram, drop_tcp_checksum, drop_source_address], [1, 1, 1]);
    assert.equal(at.sent.length, 0);
  });
});
