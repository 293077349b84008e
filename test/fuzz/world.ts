/**
 * One stack with connections in every state, at which mutated frames are thrown, and bystanders that it serves meanwhile, in
 * virtual time. What must hold whatever comes is asserted; everything follows from the seed.
 */
import assert from "node:assert/strict";
import { DEFAULT_CONFIG, type TcpConfig } from "@topicast/agent/tcp/config.js";
import { PAYLOAD_DROPS, type TcpCounters } from "@topicast/agent/tcp/counters.js";
import { StackRunner } from "@topicast/agent/tcp/runner.js";
import type { StackConnection } from "@topicast/agent/tcp/stack.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Frame } from "@topicast/agent/tcp/wire/frame.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { seqAdd } from "@topicast/agent/tcp/wire/sequence.js";
import { emptySegment, segmentLength } from "@topicast/agent/tcp/wire/tcp.js";
import { SimClock } from "@topicast/protocol";
import { random } from "../unit/agents/tcp/link.js";
import { Peer } from "../unit/agents/tcp/peer.js";
import { Chance, cutInFragments, mutateFrame, mutateSegment, type Wire } from "./mutate.js";
import { SERVER, VICTIM_STATES, Victim } from "./victim.js";

const BYSTANDER = { mac: parseMac("02:00:00:00:00:02"), ipv4: ["10.0.0.2"], ipv6: ["fd00::2"] };
const BYSTANDERS = 3;
const BYSTANDER_BYTES = 40_000;
const VICTIMS = 16;

/** Small, so that every bound is met; times short, so that the states pass. */
const CONFIG = {
  ...{ receiveBuffer: 16_384, sendBuffer: 16_384, maxFragmented: 8, maxFragmentedPerSource: 3 },
  ...{ maxConnections: 16, maxHalfOpen: 5, maxHalfOpenPerSource: 3, maxConnectionsPerSource: 5 },
  ...{ connectionRatePerSource: 3, connectionBurstPerSource: 6, maxRestingSources: 8, maxTimeWait: 6 },
  ...{
    userTimeout: 20_000,
    persistTimeout: 30_000,
    finWait2: 10_000,
    timeWait: 5_000,
    keepAliveInterval: 1_000,
  },
} satisfies Partial<TcpConfig>;

export class World {
  readonly clock = new SimClock();
  readonly server: StackRunner;
  frames = 0;
  private readonly client: StackRunner;
  private readonly chance: Chance;
  private readonly config: TcpConfig;
  private readonly frame = new Frame();
  private readonly wire: Wire = { bytes: Buffer.alloc(80_000), length: 0 };
  private readonly served = new Map<string, Peer>();
  private readonly victims = new Map<string, Victim>();
  /** Connections that the server's side of a victim's has. */
  private readonly open = new Set<StackConnection>();
  private rounds = 0;

  constructor(seed: number) {
    const next = random(seed);
    this.chance = new Chance(next);
    const { chance, clock } = this;
    const keepAliveIdle = chance.of(0, 0, 3_000);
    const frameRatePerSource = chance.of(0, 0, 0, 40);
    const byteRatePerSource = chance.of(0, 0, 0, 70_000);
    const receiveMemory = chance.of(256 * 1024, 20_000);
    this.config = {
      ...DEFAULT_CONFIG,
      ...CONFIG,
      keepAliveIdle,
      frameRatePerSource,
      byteRatePerSource,
      receiveMemory,
    };
    const rim = (send: (bytes: Buffer, length: number) => void) => ({
      ...{ clock, send },
      defer: (fn: () => void) => void clock.setTimer(0, fn),
    });
    const isn = () => Math.floor(next() * 2 ** 32) | 0;
    this.server = new StackRunner(
      SERVER,
      rim((bytes, length) => this.onSent(bytes, length)),
      this.config,
      isn,
    );
    const toServer = (bytes: Buffer, length: number) => {
      const copy = Buffer.from(bytes.subarray(0, length));
      clock.setTimer(1, () => this.server.receive(copy, length));
      if (chance.is(0.1)) this.harm(copy);
    };
    this.client = new StackRunner(BYSTANDER, rim(toServer), {}, isn);
    this.server.stack.listen(1883, (connection) => this.accept(connection));
  }

  /** Throws `count` mutated frames while the bystanders exchange their bytes, then lets time pass, and checks all. */
  round(count: number): void {
    const clients = this.startBystanders();
    this.clock.advance(20);
    for (let i = 0; i < count; i++) this.step();
    for (let second = 0; second < 600 && clients.some(({ ended }) => !ended); second++)
      this.clock.advance(1_000);
    assert.equal(this.served.size, BYSTANDERS);
    for (const peer of [...clients, ...this.served.values()]) {
      const state = `${peer.connection.path.local} ${peer.connection.state} ${peer.closed}`;
      assert.deepEqual([peer.received, peer.ended], [BYSTANDER_BYTES, true], state);
    }
    this.settle();
    this.rounds += 1;
  }

  private startBystanders(): Peer[] {
    const { chance, clock, client } = this;
    this.served.clear();
    return Array.from({ length: BYSTANDERS }, (_, i) => {
      const v6 = i % 2 === 1;
      const path = Path.between({
        ...{ localMac: BYSTANDER.mac, local: v6 ? BYSTANDER.ipv6[0]! : BYSTANDER.ipv4[0]! },
        ...{ localPort: 20_000 + this.rounds * BYSTANDERS + i },
        ...{ remoteMac: SERVER.mac, remote: v6 ? SERVER.ipv6[0]! : SERVER.ipv4[0]!, remotePort: 1883 },
      });
      const pause = () => (chance.is(0.5) ? chance.below(100) : 0);
      const peer = new Peer(client.stack.connect(path, clock.now()), clock, BYSTANDER_BYTES, pause);
      clock.setTimer(10, () => peer.send());
      return peer;
    });
  }

  private accept(connection: StackConnection): void {
    const { peer } = connection.path;
    const { chance, clock } = this;
    if (peer.startsWith("10.0.0.2:") || peer.startsWith("[fd00::2]")) {
      this.served.set(peer, new Peer(connection, clock, BYSTANDER_BYTES, () => chance.below(50)));
      return;
    }
    this.use(connection);
  }

  /** The user of a victim's connection does what comes to its mind. */
  private use(connection: StackConnection): void {
    this.open.add(connection);
    const { chance } = this;
    const read = () => {
      while (chance.is(0.7) && connection.read() !== undefined);
    };
    connection.handler = {
      onReadable: () => {
        read();
        if (chance.is(0.1)) connection.write(Buffer.alloc(chance.of(1, 500, 20_000)));
        if (chance.is(0.05)) connection.shutdown();
        if (chance.is(0.02)) connection.abort();
      },
      onDrained: read,
      onClosed: () => {
        // What came before the end can still be read, and is held until then.
        while (connection.read() !== undefined);
        this.open.delete(connection);
      },
    };
  }

  private step(): void {
    const { chance } = this;
    if (this.victims.size < VICTIMS || chance.is(0.05)) this.replaceVictim();
    const victim = chance.of(...this.victims.values());
    const segment = victim.plausible();
    mutateSegment(segment, chance);
    this.wire.length = victim.path.write(segment, this.wire.bytes);
    if (chance.is(0.1)) for (const piece of cutInFragments(this.wire, chance)) this.throwFrame(piece);
    else {
      mutateFrame(this.wire, chance);
      this.throwFrame();
    }
    const { connection } = victim;
    if (connection !== undefined && chance.is(0.05)) {
      const action = chance.below(4);
      if (action === 0) connection.write(Buffer.alloc(chance.of(1, 3_000)));
      else if (action === 1) connection.shutdown();
      else if (action === 2) connection.read();
      else connection.abort();
    }
    if (chance.is(0.1)) this.throwBlind();
    this.clock.advance(chance.is(0.02) ? chance.below(5_000) : chance.of(0, 0, 0, 1, 10));
    this.check();
  }

  private replaceVictim(): void {
    const { chance, victims } = this;
    if (victims.size >= VICTIMS) for (const [key] of [...victims].slice(0, 1)) victims.delete(key);
    const victim = new Victim(chance, this.frames);
    victims.set(victim.path.local, victim);
    victim.bring(chance.of(...VICTIM_STATES), {
      send: (segment) => {
        this.wire.length = victim.path.write(segment, this.wire.bytes);
        this.throwFrame();
        this.clock.advance(1);
      },
      connect: (path) => {
        victim.connection = this.server.stack.connect(path, this.clock.now());
        this.use(victim.connection);
        this.clock.advance(1);
      },
      connection: () => {
        victim.connection = [...this.open].find(({ path }) => path.peer === victim.path.local);
        return victim.connection;
      },
    });
  }

  private throwFrame({ bytes, length } = this.wire): void {
    this.frames += 1;
    this.server.receive(bytes, length);
  }

  /** Segments to a bystander's connection by someone who does not see its numbers. */
  private throwBlind(): void {
    const { chance } = this;
    const { connection } = chance.of(...this.served.values()) ?? {};
    if (connection === undefined || connection.state === "CLOSED") return;
    const { path } = connection;
    const [local, localPort] = splitEnd(path.peer);
    const [remote, remotePort] = splitEnd(path.local);
    const ends = { localMac: BYSTANDER.mac, remoteMac: SERVER.mac, local, localPort, remote, remotePort };
    const segment = emptySegment();
    // Anywhere but near the window, which a blind guess meets once in many thousands.
    segment.seq = seqAdd(connection.receiveNext, 2 ** 20 + chance.below(2 ** 31));
    segment.ack = seqAdd(connection.sendNext, chance.below(2 ** 32));
    segment.flags = chance.below(32);
    segment.window = chance.below(65_536);
    segment.timestamps = chance.is(0.5);
    segment.payload = Buffer.alloc(chance.of(0, 1, 1_000), 0xee);
    this.wire.length = Path.between(ends).write(segment, this.wire.bytes);
    this.throwFrame();
  }

  /** A copy of a bystander's frame comes with one bit of its datagram changed, which a checksum always shows. */
  private harm(frame: Buffer): void {
    const { chance } = this;
    const copy = Buffer.from(frame);
    copy[14 + chance.below(copy.length - 14)]! ^= 1 << chance.below(8);
    this.clock.setTimer(chance.below(3), () => this.server.receive(copy, copy.length));
  }

  /** Everything that the stack sends is sound, and to one host. */
  private onSent(bytes: Buffer, length: number): void {
    const { frame } = this;
    assert.equal(frame.parse(bytes, length), undefined, "the stack sent a faulty frame");
    const copy = Buffer.from(bytes.subarray(0, length));
    this.clock.setTimer(1, () => this.client.receive(copy, length));
    this.victims.get(Path.replyTo(frame).local)?.hear(frame.segment, segmentLength(frame.segment));
  }

  /** What holds at any time. */
  private check(): void {
    const { stack } = this.server;
    const { open, halfOpen, timeWait } = stack.size;
    assert.equal(unaccounted(stack.counters), 0, "a frame was counted twice or not at all");
    // We open connections ourselves as well, beyond the bounds on who comes.
    assert(open <= CONFIG.maxConnections + VICTIMS * 4, `${open} open`);
    assert(halfOpen <= CONFIG.maxHalfOpen && halfOpen >= 0, `${halfOpen} half-open`);
    assert(timeWait <= CONFIG.maxTimeWait, `${timeWait} in TIME-WAIT`);
    assert(
      stack.memory.inUse >= 0 && stack.memory.inUse <= this.config.receiveMemory,
      `${stack.memory.inUse} bytes`,
    );
    assert(stack.fragmentMemory <= this.config.fragmentMemory, `${stack.fragmentMemory} bytes of fragments`);
    assert(stack.sources <= open + CONFIG.maxRestingSources, `${stack.sources} sources`);
  }

  /** The users close what is open, the peers say nothing more: after the time-outs nothing is left. */
  private settle(): void {
    this.victims.clear();
    for (const connection of this.open) connection.shutdown();
    for (let minute = 0; minute < 10; minute++) {
      this.clock.advance(60_000);
      for (const connection of this.open) {
        connection.shutdown();
        // Who ends a connection by `abort` is told nothing.
        if (connection.state === "CLOSED") this.open.delete(connection);
      }
    }
    const { stack } = this.server;
    const left = [...this.open].map(({ state, path }) => `${path.peer} ${state}`).join(", ");
    assert.deepEqual(stack.size, { open: 0, halfOpen: 0, timeWait: 0 }, left);
    assert.equal(stack.memory.inUse, 0);
    assert.equal(stack.fragmentMemory, 0);
    assert.equal(stack.deadline, Number.POSITIVE_INFINITY);
    this.check();
  }
}

/** Frames in that `counters` do not explain, see `createCounters`. */
export function unaccounted(counters: TcpCounters): number {
  const { frames_in, fragments_joined, segments_taken, fragments_in, icmp_too_big, icmp_soft_errors } =
    counters;
  const drops = Object.entries(counters)
    .filter(([name]) => name.startsWith("drop_") && !PAYLOAD_DROPS.some((other) => other === name))
    .reduce((sum, [, count]) => sum + count, 0);
  return (
    frames_in + fragments_joined - segments_taken - fragments_in - icmp_too_big - icmp_soft_errors - drops
  );
}

function splitEnd(end: string): [address: string, port: number] {
  const [, v6, v4, port] = /^(?:\[(.*)\]|(.*)):(\d+)$/.exec(end)!;
  return [v6 ?? v4!, Number(port)];
}
