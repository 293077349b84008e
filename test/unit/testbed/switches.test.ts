import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { COOKIE, parseFlows, parseGroups, parsePorts } from "topicast/testbed/switches";

// As Open vSwitch 3.1 prints them.
const FLOWS = `OFPST_FLOW reply (OF1.3) (xid=0x2):
 cookie=0x746f706963617374, duration=3.1s, table=0, n_packets=1000, n_bytes=98000, priority=40000,ip,nw_dst=239.192.0.1 actions=group:1413480449
 cookie=0x0, duration=5.902s, table=0, n_packets=40, n_bytes=2400, priority=65535,dl_dst=01:80:c2:00:00:0e,dl_type=0x88cc actions=CONTROLLER:65535
 cookie=0x0, duration=5.9s, table=0, n_packets=7, n_bytes=500, send_flow_rem priority=1,in_port=1,dl_dst=02:00:c0:a8:01:65 actions=output:2
 cookie=0x5, duration=1.2s, table=0, n_packets=0, n_bytes=0, idle_timeout=10, ip,nw_dst=10.0.0.1 actions=drop
 cookie=0x0, duration=5.9s, table=0, n_packets=2, n_bytes=84, priority=0 actions=CONTROLLER:65535
`;

const PORTS = `OFPST_PORT reply (OF1.3) (xid=0x2): 3 ports
  port LOCAL: rx pkts=0, bytes=0, drop=8, errs=0, frame=0, over=0, crc=0
           tx pkts=0, bytes=0, drop=0, errs=0, coll=0
           duration=7.1s
  port  1: rx pkts=1034, bytes=99999, drop=0, errs=0, frame=0, over=0, crc=0
           tx pkts=12, bytes=840, drop=0, errs=0, coll=0
           duration=7.1s
  port 12: rx pkts=5, bytes=350, drop=?, errs=0, frame=0, over=0, crc=0
           tx pkts=1007, bytes=98700, drop=?, errs=0, coll=0
           duration=7.1s
`;

const GROUPS = `OFPST_GROUP reply (OF1.3) (xid=0x6):
 group_id=1413480449,duration=12.034s,ref_count=1,packet_count=21,byte_count=1078,bucket0:packet_count=21,byte_count=1078
 group_id=7,duration=0.5s,ref_count=0,packet_count=0,byte_count=0
`;

describe("reading ovs-ofctl", () => {
  it("reads flows", () => {
    const flows = parseFlows(FLOWS);
    assert.equal(flows.length, 5);
    assert.deepEqual(flows[0], {
      cookie: COOKIE,
      priority: 40000,
      age: 3.1,
      packets: 1000,
      match: "ip,nw_dst=239.192.0.1",
      actions: "group:1413480449",
    });
    assert.equal(flows[1]!.match, "dl_dst=01:80:c2:00:00:0e,dl_type=0x88cc");
    assert.deepEqual(flows[4], {
      cookie: 0n,
      priority: 0,
      age: 5.9,
      packets: 2,
      match: "",
      actions: "CONTROLLER:65535",
    });
  });

  it("takes an unsaid priority for the default and keeps flags out of the match", () => {
    const flows = parseFlows(FLOWS);
    assert.equal(flows[3]!.priority, 32768);
    assert.equal(flows[3]!.match, "ip,nw_dst=10.0.0.1");
    assert.equal(flows[2]!.priority, 1);
    assert.equal(flows[2]!.match, "in_port=1,dl_dst=02:00:c0:a8:01:65");
  });

  it("reads groups' counters", () => {
    assert.deepEqual(parseGroups(GROUPS), [
      { id: 1413480449, age: 12.034, packets: 21 },
      { id: 7, age: 0.5, packets: 0 },
    ]);
  });

  it("reads port counters", () => {
    assert.deepEqual(
      parsePorts(PORTS),
      new Map([
        [1, { rx: 1034, tx: 12 }],
        [12, { rx: 5, tx: 1007 }],
      ]),
    );
  });
});
