/**
 * Constants of OpenFlow 1.3 (OpenFlow Switch Specification 1.3.5) and the names that Ryu gives them in its answers.
 */

/** Reserved port numbers (ofp_port_no, section 7.2.1). */
export const Port = {
  MAX: 0xffffff00,
  IN_PORT: 0xfffffff8,
  TABLE: 0xfffffff9,
  NORMAL: 0xfffffffa,
  FLOOD: 0xfffffffb,
  ALL: 0xfffffffc,
  CONTROLLER: 0xfffffffd,
  LOCAL: 0xfffffffe,
  ANY: 0xffffffff,
} as const;

/** Reserved group ids (ofp_group, section 7.3.4.3). */
export const Group = { MAX: 0xffffff00, ALL: 0xfffffffc, ANY: 0xffffffff } as const;

/** Reserved table ids (ofp_table, section 7.3.4.1). */
export const Table = { MAX: 0xfe, ALL: 0xff } as const;

/** Reserved meter ids (ofp_meter, section 7.3.4.4). */
export const Meter = {
  MAX: 0xffff0000,
  SLOWPATH: 0xfffffffd,
  CONTROLLER: 0xfffffffe,
  ALL: 0xffffffff,
} as const;

/** Reserved queue ids (section 7.2.2). */
export const Queue = { ALL: 0xffffffff } as const;

/** Values of an OUTPUT action's `maxLen` (ofp_controller_max_len, section 7.2.4). */
export const MaxLen = { MAX: 0xffe5, NO_BUFFER: 0xffff } as const;

/** Bits of a flow's `flags` (ofp_flow_mod_flags, section 7.3.4.1). */
export const FlowFlag = {
  SEND_FLOW_REM: 1,
  CHECK_OVERLAP: 2,
  RESET_COUNTS: 4,
  NO_PKT_COUNTS: 8,
  NO_BYT_COUNTS: 16,
} as const;

/** Bits of a port's `config` (ofp_port_config, section 7.2.1). */
export const PortConfig = { PORT_DOWN: 1, NO_RECV: 4, NO_FWD: 32, NO_PACKET_IN: 64 } as const;

/** Bits of a port's `state` (ofp_port_state, section 7.2.1). */
export const PortState = { LINK_DOWN: 1, BLOCKED: 2, LIVE: 4 } as const;

/**
 * How a match field's value is written: unsigned integers of up to 32 bits as number, of 64 bits as bigint, addresses
 * as text; a field with `masks` takes a mask where ofctl_rest lets it have one.
 */
export type FieldKind =
  | { readonly type: "int"; readonly bits: number; readonly masks?: true }
  | { readonly type: "int64"; readonly masks?: true }
  | { readonly type: "port" }
  | { readonly type: "vlan" }
  | { readonly type: "mac" | "ipv4" | "ipv6" };

const u8: FieldKind = { type: "int", bits: 8 };
const u16: FieldKind = { type: "int", bits: 16 };
const u32: FieldKind = { type: "int", bits: 32 };
const masked64: FieldKind = { type: "int64", masks: true };
const mac: FieldKind = { type: "mac" };
const ipv4: FieldKind = { type: "ipv4" };
const ipv6: FieldKind = { type: "ipv6" };

/** The match fields of OpenFlow 1.3 (section 7.2.3.7), by the names that Ryu and the specification give them. */
export const OXM_FIELDS = {
  in_port: { type: "port" },
  in_phy_port: u32,
  metadata: masked64,
  eth_dst: mac,
  eth_src: mac,
  eth_type: u16,
  vlan_vid: { type: "vlan" },
  vlan_pcp: u8,
  ip_dscp: u8,
  ip_ecn: u8,
  ip_proto: u8,
  ipv4_src: ipv4,
  ipv4_dst: ipv4,
  tcp_src: u16,
  tcp_dst: u16,
  udp_src: u16,
  udp_dst: u16,
  sctp_src: u16,
  sctp_dst: u16,
  icmpv4_type: u8,
  icmpv4_code: u8,
  arp_op: u16,
  arp_spa: ipv4,
  arp_tpa: ipv4,
  arp_sha: mac,
  arp_tha: mac,
  ipv6_src: ipv6,
  ipv6_dst: ipv6,
  ipv6_flabel: u32,
  icmpv6_type: u8,
  icmpv6_code: u8,
  ipv6_nd_target: ipv6,
  ipv6_nd_sll: mac,
  ipv6_nd_tll: mac,
  mpls_label: u32,
  mpls_tc: u8,
  mpls_bos: u8,
  pbb_isid: { type: "int", bits: 24, masks: true },
  tunnel_id: masked64,
  ipv6_exthdr: { type: "int", bits: 16, masks: true },
} as const satisfies Record<string, FieldKind>;

export type OxmField = keyof typeof OXM_FIELDS;

export function isOxmField(name: string): name is OxmField {
  return Object.hasOwn(OXM_FIELDS, name);
}

export function fieldKind(name: OxmField): FieldKind {
  return OXM_FIELDS[name];
}
