import { type Endpoint, INTERCEPTS_MAX, parseEndpoint, parseIPv4 } from "@topicast/protocol";
import type { IConnectPacket, Packet } from "mqtt-packet";
import type { StatedClaim } from "./agents.js";

/** What CONNECT says; undefined where it is not a CONNECT of an agent. */
export function readClaim(packet: Packet | undefined): StatedClaim | undefined {
  if (packet?.cmd !== "connect") return undefined;
  const { clientId: id, properties } = packet as IConnectPacket;
  const { address, port, epoch, mac, intercept = [], access, retained } = properties?.userProperties ?? {};
  const portNumber = Number(port);
  if (!id || typeof address !== "string" || parseIPv4(address) === undefined) return undefined;
  if (!Number.isInteger(portNumber) || portNumber < 1 || portNumber > 65_535) return undefined;
  const dataEpoch = typeof epoch === "string" && epoch !== "" ? Number(epoch) : Number.NaN;
  if (!Number.isInteger(dataEpoch) || dataEpoch < 0 || dataEpoch > 0xffffffff) return undefined;
  const intercepts = readIntercepts([intercept].flat());
  if (intercepts === undefined) return undefined;
  return {
    id,
    address,
    port: portNumber,
    dataEpoch,
    intercepts,
    mac: typeof mac === "string" ? mac.toLowerCase() : "",
    ...(typeof access === "string" ? { access } : {}),
    ...(typeof retained === "string" ? { retained } : {}),
  };
}

/** `ADDRESS:PORT` each, IPv6 in brackets; undefined where one is not, or there are too many. */
function readIntercepts(texts: readonly string[]): Endpoint[] | undefined {
  if (texts.length > INTERCEPTS_MAX) return undefined;
  const intercepts: Endpoint[] = [];
  for (const text of texts) {
    const endpoint = parseEndpoint(text);
    if (endpoint === undefined) return undefined;
    intercepts.push(endpoint);
  }
  return intercepts;
}
