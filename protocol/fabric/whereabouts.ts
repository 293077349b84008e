import type { IPublishPacket } from "mqtt-packet";
import { z } from "zod";
import { canonicalAddress } from "../addresses.js";
import { fabricJson } from "./packets.js";

/** Addresses that one question names, and one answer, at most. */
export const WHEREABOUTS_BATCH = 64;

/** The port of a switch. */
export interface SwitchPlace {
  /** 16 hexadecimal digits. */
  readonly dpid: string;
  readonly port: number;
}

/** Where switches have seen an address; null: nowhere, or not at one port alone. */
export interface Whereabouts {
  /** As `canonicalAddress` says it. */
  readonly address: string;
  readonly at: SwitchPlace | null;
}

const address = z.string().refine((text) => canonicalAddress(text) === text);
const dpid = z.string().regex(/^[0-9a-f]{16}$/);
const at = z.object({ dpid, port: z.int().min(1).max(0xffff_ffff) }).nullable();
const question = z.object({ addresses: z.array(address).min(1).max(WHEREABOUTS_BATCH) });
const answer = z.object({ found: z.array(z.object({ address, at })).max(WHEREABOUTS_BATCH) });

/** `$fabric/where` from an agent: the addresses that it asks for. Undefined where it is malformed. */
export function readWhere(packet: IPublishPacket): readonly string[] | undefined {
  return question.safeParse(fabricJson(packet)).data?.addresses;
}

/** `$fabric/where` from the forwarder. Undefined where it is malformed. */
export function readWhereabouts(packet: IPublishPacket): readonly Whereabouts[] | undefined {
  return answer.safeParse(fabricJson(packet)).data?.found;
}
