import { addressBytes, type Clock, type Timer } from "@topicast/protocol";
import { arp } from "./arp.js";
import { isToMany, type NeighbourCodec } from "./codec.js";
import { nd } from "./nd.js";

export interface NeighbourOptions {
  readonly clock: Clock;
  /** Six bytes: the interface's own. */
  readonly mac: Buffer;
  /** IPv4 and IPv6 addresses that the agent answers for. Anything else throws a RangeError. */
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
/** Two VLAN tags and the longest message that is written here. */
const FRAME_MAX = 128;
/** Requests to all stations that wait for their address's owner to speak first; further ones are not answered. */
const WAITING_MAX = 64;
/** Silent rounds after which an address whose owner was seen is vacant. */
const OWNER_ROUNDS = 6;

interface Watched {
  readonly name: string;
  readonly bytes: Buffer;
  readonly codec: NeighbourCodec;
  vacant: boolean;
  /** An owner has been seen in this round. */
  heard: boolean;
  /** Silent rounds that are still needed. */
  patience: number;
}

/** A request to all stations, as it came, and when it may be answered. */
interface Waiting {
  readonly frame: Buffer;
  readonly asked: Watched;
  readonly due: number;
}

/** The protocol of a frame, undefined for anything but ARP and ND. */
function codecOf(frame: Buffer, length: number): NeighbourCodec | undefined {
  if (arp.takes(frame, length)) return arp;
  return nd.takes(frame, length) ? nd : undefined;
}

/** Answers ARP and ND requests for addresses that no machine has, and finds out which these are: see README.md. */
export class NeighbourResponder {
  readonly counters = {
    neighbour_in: 0,
    neighbour_answered: 0,
    neighbour_owner_seen: 0,
    neighbour_probes: 0,
    drop_neighbour: 0,
    drop_neighbour_waiting_full: 0,
  };
  /** By the hexadecimal text of the address. */
  private readonly watched: ReadonlyMap<string, Watched>;
  private readonly out = Buffer.alloc(FRAME_MAX);
  private mac: Buffer;
  private probes = 0;
  private gap = FIRST_GAP_MS;
  private timer: Timer | undefined;
  /** In order of when they are due. */
  private waiting: Waiting[] = [];
  private waitTimer: Timer | undefined;

  constructor(private readonly options: NeighbourOptions) {
    this.mac = options.mac;
    this.watched = new Map(
      options.addresses.map((name) => {
        const bytes = addressBytes(name);
        if (bytes === undefined) throw new RangeError(`${name} is no address`);
        const codec = bytes.length === 4 ? arp : nd;
        return [bytes.toString("hex"), { name, bytes, codec, vacant: false, heard: false, patience: 1 }];
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

  /** Takes in `bytes[0, length)` and returns true where it is ARP or ND, whatever it says. */
  receive(bytes: Buffer, length: number): boolean {
    const codec = codecOf(bytes, length);
    if (codec === undefined) return false;
    const { counters } = this;
    counters.neighbour_in += 1;
    const reading = codec.read(bytes, length, this.mac);
    if (reading === undefined) {
      counters.drop_neighbour += 1;
      return true;
    }
    const owned = this.find(reading.owned);
    const asked = this.find(reading.asked);
    if (owned !== undefined) this.ownerSeen(owned);
    else if (asked?.vacant !== true) return true;
    else if (isToMany(bytes)) this.hold(Buffer.from(bytes.subarray(0, length)), asked);
    else this.answer(bytes, length, asked);
    return true;
  }

  private find(address: string | undefined): Watched | undefined {
    return address === undefined ? undefined : this.watched.get(address);
  }

  private answer(request: Buffer, length: number, { codec }: Watched): void {
    this.counters.neighbour_answered += 1;
    this.options.send(this.out, codec.writeAnswer(request, length, this.mac, this.out));
  }

  /** An owner that has come since the last round hears this request, too, and answers our probe before we speak. */
  private hold(frame: Buffer, asked: Watched): void {
    if (this.waiting.length >= WAITING_MAX) {
      this.counters.drop_neighbour_waiting_full += 1;
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
      if (next.asked.vacant) this.answer(next.frame, next.frame.length, next.asked);
    }
    if (next === undefined) return;
    this.waitTimer = this.options.clock.setTimer(next.due - now, () => this.release());
  }

  private sendProbe({ bytes, codec }: Watched): void {
    this.counters.neighbour_probes += 1;
    this.options.send(this.out, codec.writeProbe(bytes, this.mac, this.out));
  }

  private ownerSeen(watched: Watched): void {
    this.counters.neighbour_owner_seen += 1;
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
