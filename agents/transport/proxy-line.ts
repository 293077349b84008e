import { isIPv4, isIPv6 } from "node:net";
import type { ProxyFault, ProxySource } from "./proxy-header.js";

/**
 * The line of the PROXY protocol, version 1 (The PROXY protocol, HAProxy, section 2.1):
 * `PROXY TCP4 SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT\r\n`, TCP6 likewise, or `PROXY UNKNOWN ...\r\n`.
 */

/** Longest line, its end included. */
const MAX_LINE_BYTES = 107;
const BEGIN = Buffer.from("PROXY ", "latin1");
const END = Buffer.from("\r\n", "latin1");

export function isLine(start: Buffer): boolean {
  return start.subarray(0, BEGIN.length).equals(BEGIN);
}

/** @returns the line's length where it is whole, one byte more than there is where it is not, or why there is no end to it */
export function lineLength(line: Buffer): number | ProxyFault {
  if (line.subarray(-END.length).equals(END)) return line.length;
  return line.length >= MAX_LINE_BYTES ? "too_long" : line.length + 1;
}

/** @param line all of it */
export function parseLine(line: Buffer): { readonly source: ProxySource | undefined } | ProxyFault {
  const words = line.subarray(0, -END.length).toString("latin1").split(" ");
  const [, family, source = "", destination = "", ...ports] = words;
  // Whatever follows is to be disregarded.
  if (family === "UNKNOWN") return { source: undefined };
  const isAddress = family === "TCP4" ? isIPv4 : family === "TCP6" ? isIPv6 : () => false;
  const isWhole = ports.length === 2 && ports.every(isPort) && isAddress(source) && isAddress(destination);
  if (!isWhole) return "malformed";
  // IPv4-mapped as it is written: so `peerName` knows it.
  const isFinal = source.includes(".");
  const address = isFinal ? source : new URL(`http://[${source}]`).hostname.slice(1, -1);
  return { source: { address, port: Number(ports[0]) } };
}

function isPort(text: string): boolean {
  return /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65_535;
}
