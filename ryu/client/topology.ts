import { parseDpid } from "./errors.js";
import type { Fields } from "./read.js";

/** A switch port as link discovery knows it. */
export interface TopologyPort {
  readonly dpid: bigint;
  readonly portNo: number;
  readonly hwAddr: string;
  readonly name: string;
}

/** A connected switch with its ports (reserved ones, such as LOCAL, are not listed). */
export interface TopologySwitch {
  readonly dpid: bigint;
  readonly ports: readonly TopologyPort[];
}

/** One direction of a link between two switches, as seen by an LLDP frame from `src` to `dst`. */
export interface TopologyLink {
  readonly src: TopologyPort;
  readonly dst: TopologyPort;
}

/** A host, known from a frame of its own that reached Ryu. Addresses are in the order of their last use, latest last. */
export interface TopologyHost {
  readonly mac: string;
  readonly ipv4: readonly string[];
  readonly ipv6: readonly string[];
  readonly port: TopologyPort;
}

/** rest_topology writes ids in hexadecimal without 0x: 16 digits for datapaths, 8 for ports. */
export function readTopologyPort(f: Fields): TopologyPort {
  return {
    dpid: f.with("dpid", () => parseDpid(f.text("dpid"))),
    portNo: Number.parseInt(f.text("port_no"), 16),
    hwAddr: f.text("hw_addr"),
    name: f.text("name"),
  };
}

export function readTopologySwitch(f: Fields): TopologySwitch {
  return {
    dpid: f.with("dpid", () => parseDpid(f.text("dpid"))),
    ports: f.list("ports", readTopologyPort),
  };
}

export function readTopologyLink(f: Fields): TopologyLink {
  return { src: readTopologyPort(f.nested("src")), dst: readTopologyPort(f.nested("dst")) };
}

export function readTopologyHost(f: Fields): TopologyHost {
  return {
    mac: f.text("mac"),
    ipv4: f.texts("ipv4"),
    ipv6: f.texts("ipv6"),
    port: readTopologyPort(f.nested("port")),
  };
}
