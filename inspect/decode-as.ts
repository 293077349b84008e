import { UserError } from "@topicast/protocol";

const PROTOCOLS = {
  tcp: ["mqtt", "websocket", "none"],
  udp: ["mqtt", "mqttsn", "coap", "dns", "fabric", "none"],
} as const;

/** What the user says of ports: `tcp.port==17501,mqtt`, as tshark's -d. */
export class DecodeAs {
  private readonly byPort = new Map<string, string>();

  /** @throws UserError where a rule is not one */
  constructor(rules: readonly string[] = []) {
    for (const rule of rules) this.add(rule);
  }

  /** What is said of either of two ports; undefined where nothing is. */
  of(transport: "tcp" | "udp", [a, b]: readonly [number, number]): string | undefined {
    if (this.byPort.size === 0) return undefined;
    return this.byPort.get(`${transport} ${a}`) ?? this.byPort.get(`${transport} ${b}`);
  }

  private add(rule: string): void {
    const [, transport, digits, given] =
      /^(tcp|udp)\.port==(\d{1,5}),([a-z-]+)$/.exec(rule.replaceAll(" ", "")) ?? [];
    const protocol = given?.replace("mqtt-sn", "mqttsn");
    if (transport === undefined || protocol === undefined || Number(digits) > 65_535) {
      throw new UserError(
        `--decode-as ${rule}: write it as tcp.port==17501,mqtt or udp.port==1885,mqttsn`,
        2,
      );
    }
    const known: readonly string[] = PROTOCOLS[transport as "tcp" | "udp"];
    if (!known.includes(protocol)) {
      throw new UserError(`--decode-as ${rule}: over ${transport} this is one of ${known.join(", ")}`, 2);
    }
    this.byPort.set(`${transport} ${Number(digits)}`, protocol);
  }
}
