import type { Clock, Timer } from "@topicast/protocol";
import { parseIpv4 } from "../tcp/wire/ipv4.js";
import {
  ARP_FRAME_MAX,
  type ArpPacket,
  isBroadcast,
  isSentBy,
  REPLY,
  REQUEST,
  readArp,
  writeProbe,
  writeReply,
} from "./packet.js";

export interface ArpOptions {
  readonly clock: Clock;
  /** Six bytes: the interface's own. */
  readonly mac: Buffer;
  /** IPv4 addresses that the agent answers for. */
  readonly addresses: readonly string[];
  /** Sends `frame[0, length)`; the buffer is used again after the call. */
  readonly send: (frame: Buffer, length: number) => void;
  /** The addresses that no machine has now, all of them; at each change. */
  readonly onVacant: (addresses: readonly string[]) => void;
}

/** A round: so many probes, so many ms apart; then silence is a verdict. */
const PROBES = 3;
const PROBE_MS = 200;
/** Ms between rounds, first and longest; doubled in between. */
const FIRST_GAP_MS = 2_000;
const GAP_MS = 10_000;
/** Broadcast requests that wait for their address's owner to speak first; further ones are not answered. */
const WAITING_MAX = 64;
/** Silent rounds after which an address whose owner was seen is vacant. */
const OWNER_ROUNDS = 6;

interface Watched {
  readonly name: string;
  readonly address: number;
  vacant: boolean;
  /** An owner has been seen in this round. */
  heard: boolean;
  /** Silent rounds that are still needed. */
  patience: number;
}

/** Answers ARP requests for addresses that no machine has, and finds out which these are: see README.md. */
export class ArpResponder {
  readonly counters = {
    arp_in: 0,
    arp_answered: 0,
    arp_owner_seen: 0,
    arp_probes: 0,
    drop_arp: 0,
    drop_arp_waiting_full: 0,
  };
  private readonly watched: ReadonlyMap<number, Watched>;
  private readonly out = Buffer.alloc(ARP_FRAME_MAX);
  private mac: Buffer;
  private probes = 0;
  private gap = FIRST_GAP_MS;
  private timer: Timer | undefined;
  /** Requests to all stations, as they came, and when they may be answered; in order of that. */
  private waiting: { readonly frame: Buffer; readonly asked: Watched; readonly due: number }[] = [];
  private waitTimer: Timer | undefined;

  constructor(private readonly options: ArpOptions) {
    this.mac = options.mac;
    this.watched = new Map(
      options.addresses.map((name) => {
        const address = parseIpv4(name);
        return [address, { name, address, vacant: false, heard: false, patience: 1 }];
      }),
    );
  }

  start(): void {
    this.probe();
  }

  close(): void {
    this.timer?.cancel();
    this.waitTimer?.cancel();
    this.waiting = [];
  }

  /** The interface was down, or has another MAC address: what was believed may be wrong by now. */
  restart(mac: Buffer): void {
    this.mac = mac;
    this.timer?.cancel();
    this.gap = FIRST_GAP_MS;
    this.probes = 0;
    this.probe();
  }

  /** How many of the addresses no machine has. */
  get vacant(): number {
    return this.vacantNames().length;
  }

  /** Takes in the ARP frame `bytes[0, length)`. */
  receive(bytes: Buffer, length: number): void {
    const { counters } = this;
    counters.arp_in += 1;
    const packet = readArp(bytes, length);
    if (packet === undefined) {
      counters.drop_arp += 1;
      return;
    }
    // The capture sees what we send ourselves.
    if (isSentBy(bytes, packet, this.mac)) return;
    const { operation, senderAddress, targetAddress } = packet;
    const sender = this.watched.get(senderAddress);
    // Agents answer with the address as sender, too, but never a probe: only owners speak to 0.0.0.0, to all, or ask.
    if (
      sender !== undefined &&
      (operation !== REPLY || targetAddress === 0 || targetAddress === senderAddress)
    ) {
      this.ownerSeen(sender);
      return;
    }
    if (operation !== REQUEST || senderAddress === 0) return;
    const asked = this.watched.get(targetAddress);
    if (asked?.vacant !== true) return;
    if (isBroadcast(bytes)) this.hold(Buffer.from(bytes.subarray(0, length)), asked);
    else this.answer(bytes, packet);
  }

  private answer(bytes: Buffer, packet: ArpPacket): void {
    this.counters.arp_answered += 1;
    this.options.send(this.out, writeReply(bytes, packet, this.mac, this.out));
  }

  /** An owner that has come since the last round hears this request, too, and answers our probe before we speak. */
  private hold(frame: Buffer, asked: Watched): void {
    if (this.waiting.length >= WAITING_MAX) {
      this.counters.drop_arp_waiting_full += 1;
      return;
    }
    if (this.waiting.every((w) => w.asked !== asked)) this.sendProbe(asked);
    this.waiting.push({ frame, asked, due: this.options.clock.now() + PROBE_MS });
    if (this.waiting.length === 1)
      this.waitTimer = this.options.clock.setTimer(PROBE_MS, () => this.release());
  }

  private release(): void {
    const now = this.options.clock.now();
    let next = this.waiting[0];
    for (; next !== undefined && next.due <= now; next = this.waiting[0]) {
      this.waiting.shift();
      const packet = readArp(next.frame, next.frame.length);
      if (next.asked.vacant && packet !== undefined) this.answer(next.frame, packet);
    }
    if (next === undefined) return;
    this.waitTimer = this.options.clock.setTimer(next.due - now, () => this.release());
  }

  private sendProbe({ address }: Watched): void {
    this.counters.arp_probes += 1;
    this.options.send(this.out, writeProbe(address, this.mac, this.out));
  }

  private ownerSeen(watched: Watched): void {
    this.counters.arp_owner_seen += 1;
    watched.heard = true;
    watched.patience = OWNER_ROUNDS;
    if (!watched.vacant) return;
    watched.vacant = false;
    this.options.onVacant(this.vacantNames());
  }

  private probe(): void {
    if (this.probes === PROBES) {
      this.judge();
      this.probes = 0;
      this.arm(this.gap);
      this.gap = Math.min(this.gap * 2, GAP_MS);
      return;
    }
    this.probes += 1;
    for (const watched of this.watched.values()) {
      if (this.probes === 1) watched.heard = false;
      if (watched.heard) continue;
      this.sendProbe(watched);
    }
    this.arm(PROBE_MS);
  }

  private judge(): void {
    let changed = false;
    for (const watched of this.watched.values()) {
      if (watched.heard || watched.vacant) continue;
      watched.patience -= 1;
      if (watched.patience > 0) continue;
      watched.vacant = true;
      changed = true;
    }
    if (changed) this.options.onVacant(this.vacantNames());
  }

  private arm(ms: number): void {
    this.timer = this.options.clock.setTimer(ms, () => this.probe());
  }

  private vacantNames(): string[] {
    return [...this.watched.values()].filter((w) => w.vacant).map((w) => w.name);
  }
}
