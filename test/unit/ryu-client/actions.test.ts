import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type Action,
  actionsKey,
  decodeAction,
  decodeFlowAction,
  encodeAction,
  type FlowAction,
  FormatError,
  Group,
  groupKey,
  Port,
  pythonLiteral,
  Table,
} from "node-ryu-rest-client";

const OUT_1: Action = { type: "OUTPUT", port: 1 };
const OUT_2: Action = { type: "OUTPUT", port: 2 };

describe("actions", () => {
  it("are read as ofctl_rest prints them", () => {
    const printed: [unknown, FlowAction][] = [
      ["OUTPUT:2", OUT_2],
      ["OUTPUT:CONTROLLER", { type: "OUTPUT", port: Port.CONTROLLER }],
      ["GROUP:1413480449", { type: "GROUP", groupId: 1413480449 }],
      ["GROUP:ANY", { type: "GROUP", groupId: Group.ANY }],
      ["SET_QUEUE:3", { type: "SET_QUEUE", queueId: 3 }],
      [
        "SET_FIELD: {eth_dst:AA:bb:cc:dd:ee:ff}",
        { type: "SET_FIELD", field: "eth_dst", value: "aa:bb:cc:dd:ee:ff" },
      ],
      ["SET_FIELD: {ipv4_dst:10.0.0.1}", { type: "SET_FIELD", field: "ipv4_dst", value: "10.0.0.1" }],
      ["SET_FIELD: {ipv6_src:2001:db8::1}", { type: "SET_FIELD", field: "ipv6_src", value: "2001:db8::1" }],
      ["SET_FIELD: {vlan_vid:4196}", { type: "SET_FIELD", field: "vlan_vid", value: 100 }],
      [
        "SET_FIELD: {tunnel_id:18446744073709551615}",
        { type: "SET_FIELD", field: "tunnel_id", value: (1n << 64n) - 1n },
      ],
      ["SET_FIELD: {udp_dst:1883}", { type: "SET_FIELD", field: "udp_dst", value: 1883 }],
      ["PUSH_VLAN:33024", { type: "PUSH_VLAN", ethertype: 0x8100 }],
      ["POP_MPLS:2048", { type: "POP_MPLS", ethertype: 0x800 }],
      ["POP_VLAN", { type: "POP_VLAN" }],
      ["DEC_NW_TTL", { type: "DEC_NW_TTL" }],
      ["SET_NW_TTL:64", { type: "SET_NW_TTL", ttl: 64 }],
      [
        "EXPERIMENTER: {experimenter:43981, data:AP8=}",
        { type: "EXPERIMENTER", experimenter: 0xabcd, data: Buffer.from([0, 255]) },
      ],
      ["CLEAR_ACTIONS", { type: "CLEAR_ACTIONS" }],
      ["GOTO_TABLE:9", { type: "GOTO_TABLE", tableId: 9 }],
      ["GOTO_TABLE:MAX", { type: "GOTO_TABLE", tableId: Table.MAX }],
      ["METER:4", { type: "METER", meterId: 4 }],
      ["WRITE_METADATA:0xff/0xf", { type: "WRITE_METADATA", metadata: 0xffn, mask: 0xfn }],
      [
        "WRITE_METADATA:0xffffffffffffffff/0xffffffffffffffff",
        { type: "WRITE_METADATA", metadata: (1n << 64n) - 1n },
      ],
      [{ WRITE_ACTIONS: ["OUTPUT:1", "OUTPUT:2"] }, { type: "WRITE_ACTIONS", actions: [OUT_1, OUT_2] }],
    ];
    for (const [text, action] of printed) assert.deepEqual(decodeFlowAction(text as string), action);
  });

  it("that are unknown or broken are UNKNOWN with their text, and cannot be sent", () => {
    for (const text of [
      "UNKNOWN",
      "NX_RESUBMIT: {port: 1, table: 2}",
      "OUTPUT:",
      "OUTPUT:x",
      "SET_FIELD: {nonsense:1}",
      "SET_FIELD: {eth_dst:zz}",
      "POP_VLAN:1",
      "METER:",
    ]) {
      const action = decodeFlowAction(text);
      assert.deepEqual(action, { type: "UNKNOWN", text });
      assert.throws(() => encodeAction(action), FormatError);
    }
    assert.deepEqual(decodeAction(7), { type: "UNKNOWN", text: "7" });
    assert.deepEqual(decodeAction("GOTO_TABLE:1"), { type: "UNKNOWN", text: "GOTO_TABLE:1" });
  });

  it("are written in the words of ofctl_v1_3.to_actions", () => {
    const written: [FlowAction, string][] = [
      [
        { type: "OUTPUT", port: Port.CONTROLLER, maxLen: 128 },
        '{"type": "OUTPUT", "port": 4294967293, "max_len": 128}',
      ],
      [OUT_1, '{"type": "OUTPUT", "port": 1}'],
      [
        { type: "SET_FIELD", field: "vlan_vid", value: 100 },
        '{"type": "SET_FIELD", "field": "vlan_vid", "value": 4196}',
      ],
      [
        { type: "SET_FIELD", field: "eth_dst", value: "AA:0:0:0:0:1" },
        '{"type": "SET_FIELD", "field": "eth_dst", "value": "aa:00:00:00:00:01"}',
      ],
      [{ type: "SET_MPLS_TTL", ttl: 3 }, '{"type": "SET_MPLS_TTL", "mpls_ttl": 3}'],
      [{ type: "PUSH_PBB", ethertype: 0x88e7 }, '{"type": "PUSH_PBB", "ethertype": 35047}'],
      [
        { type: "EXPERIMENTER", experimenter: 1, data: Uint8Array.of(255) },
        '{"type": "EXPERIMENTER", "experimenter": 1, "data": "/w==", "data_type": "base64"}',
      ],
      [
        { type: "WRITE_METADATA", metadata: 1n << 63n },
        '{"type": "WRITE_METADATA", "metadata": 9223372036854775808}',
      ],
    ];
    for (const [action, text] of written) assert.equal(pythonLiteral(encodeAction(action)), text);
  });

  it("set a field to one value of its type only", () => {
    for (const value of ["10.0.0.0/8", "none", 7]) {
      assert.throws(() => encodeAction({ type: "SET_FIELD", field: "ipv4_dst", value }), FormatError);
    }
    assert.throws(() => encodeAction({ type: "SET_FIELD", field: "vlan_vid", value: "any" }), FormatError);
    assert.throws(
      () => encodeAction({ type: "SET_FIELD", field: "nonsense" as "eth_dst", value: 1 }),
      FormatError,
    );
  });

  it("are equal by meaning: their order counts, that of instructions does not", () => {
    const set: Action = { type: "SET_FIELD", field: "eth_dst", value: "AA:00:00:00:00:01" };
    const lower: Action = { ...set, value: "aa:00:00:00:00:01" };
    const meter: FlowAction = { type: "METER", meterId: 1 };
    const goto: FlowAction = { type: "GOTO_TABLE", tableId: 2 };
    assert.equal(actionsKey([set, OUT_1, meter, goto]), actionsKey([goto, meter, lower, OUT_1]));
    assert.equal(actionsKey([{ type: "OUTPUT", port: 1, maxLen: 99 }]), actionsKey([OUT_1]));
    assert.equal(actionsKey([{ type: "WRITE_ACTIONS", actions: [] }]), actionsKey([]));
    assert.equal(
      actionsKey([{ type: "WRITE_METADATA", metadata: 0xffn, mask: 0xfn }]),
      actionsKey([{ type: "WRITE_METADATA", metadata: 0xfn, mask: 0xfn }]),
    );
    assert.notEqual(actionsKey([OUT_1, set]), actionsKey([set, OUT_1]));
    assert.notEqual(actionsKey([OUT_1]), actionsKey([{ type: "WRITE_ACTIONS", actions: [OUT_1] }]));
    assert.notEqual(actionsKey([{ type: "POP_VLAN" }]), actionsKey([{ type: "POP_PBB" }]));
    assert.notEqual(
      actionsKey([{ type: "PUSH_VLAN", ethertype: 0x8100 }]),
      actionsKey([{ type: "PUSH_VLAN", ethertype: 0x88a8 }]),
    );
  });

  it("make groups equal by meaning: the buckets of an ALL group are a set, others a list", () => {
    const a = { actions: [OUT_1] };
    const b = { actions: [OUT_2] };
    assert.equal(groupKey("ALL", [a, b]), groupKey("ALL", [b, a]));
    assert.equal(
      groupKey("ALL", [a]),
      groupKey("ALL", [{ ...a, weight: 1, watchPort: Port.ANY, watchGroup: Group.ANY }]),
    );
    assert.notEqual(groupKey("ALL", [a]), groupKey("ALL", [a, a]));
    assert.notEqual(groupKey("FF", [a, b]), groupKey("FF", [b, a]));
    assert.notEqual(groupKey("SELECT", [{ ...a, weight: 1 }]), groupKey("SELECT", [{ ...a, weight: 2 }]));
    assert.notEqual(groupKey("FF", [{ ...a, watchPort: 1 }]), groupKey("FF", [{ ...a, watchPort: 2 }]));
    assert.notEqual(groupKey("ALL", [a]), groupKey("INDIRECT", [a]));
  });
});
