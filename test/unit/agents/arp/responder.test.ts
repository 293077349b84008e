import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isArp, readArp, writeProbe, writeReply } from "@topicast/agent/arp/packet.js";
import { ArpResponder } from "@topicast/agent/arp/responder.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { formatIpv4, parseIpv4 } from "@topicast/agent/tcp/wire/ipv4.js";
import { SimClock } from "@topicast/protocol";
import fc from "fast-check";

const OURS = parseMac("02:00:00:00:00:01");
const CLIENT = parseMac("02:00:00:00:00:02");
const OWNER = parseMac("02:00:00:00:00:03");
const OTHER_AGENT = parseMac("02:00:00:00:00:04");
const ALL = parseMac("ff:ff:ff:ff:ff:ff");
const NOBODY = Buffer.alloc(6);
const BROKER = "192.168.1.250";
const SECOND = "192.168.1.251";

interface Arp {
  to: Buffer;
  from: Buffer;
  op?: number;
  sender: string;
  target: string;
  targetMac?: Buffer;
  vlan?: number;
}

/** A frame, independently of the code under test; the layout is RFC 826's. */
function frame({ to, from, op = 1, sender, target, targetMac = NOBODY, vlan }: Arp): Buffer {
  const ip = (text: string) => Buffer.from(text.split(".").map(Number));
  const tag = vlan === undefined ? Buffer.alloc(0) : Buffer.from([0x81, 0x00, vlan >> 8, vlan & 255]);
  const head = Buffer.from([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, op]);
  return Buffer.concat([to, from, tag, head, from, ip(sender), targetMac, ip(target)]);
}

const request = (to = OURS, sender = "192.168.1.102", target = BROKER, from = CLIENT) =>
  frame({ to, from, sender, target });
/** What the owner of the address says to a probe. */
const ownersReply = () =>
  frame({ to: OURS, from: OWNER, op: 2, sender: BROKER, target: "0.0.0.0", targetMac: OURS });

class Bench {
  readonly clock = new SimClock();
  readonly sent: Buffer[] = [];
  readonly told: (readonly string[])[] = [];
  readonly arp: ArpResponder;
  /** Answers probes as the owner does. */
  owned = false;

  constructor(addresses: readonly string[] = [BROKER]) {
    this.arp = new ArpResponder({
      clock: this.clock,
      mac: OURS,
      addresses,
      send: (bytes, length) => {
        const copy = Buffer.from(bytes.subarray(0, length));
        this.sent.push(copy);
        this.receive(copy);
        const packet = readArp(copy, length)!;
        if (this.owned && packet.operation === 1 && formatIpv4(packet.targetAddress) === BROKER)
          this.clock.setTimer(1, () => this.receive(ownersReply()));
      },
      onVacant: (vacant) => this.told.push(vacant),
    });
    this.arp.start();
  }

  receive(bytes: Buffer): void {
    this.arp.receive(bytes, bytes.length);
  }

  pass(ms: number): void {
    for (let i = 0; i < ms; i++) this.clock.advance(1);
  }

  /** The answers sent since the last call. */
  replies(): Buffer[] {
    return this.sent.splice(0).filter((f) => readArp(f, f.length)?.operation === 2);
  }
}

describe("ArpResponder", () => {
  it("finds out within a second that nobody has an address, and answers from then on", () => {
    const bench = new Bench();
    bench.receive(request());
    assert.deepEqual(bench.replies(), [], "not known yet");
    bench.pass(650);
    assert.deepEqual(bench.told, [[BROKER]]);
    assert.equal(bench.arp.counters.arp_probes, 3);
    bench.receive(request());
    const expected = frame({
      to: CLIENT,
      from: OURS,
      op: 2,
      sender: BROKER,
      target: "192.168.1.102",
      targetMac: CLIENT,
    });
    assert.deepEqual(bench.replies(), [expected]);
    assert.equal(bench.arp.vacant, 1);
    bench.pass(60_000);
    assert.deepEqual(bench.told, [[BROKER]], "told once");
    assert.ok(bench.arp.counters.arp_probes <= 3 * 9, "a round in ten seconds");
  });

  it("keeps a client's VLAN tag", () => {
    const bench = new Bench();
    bench.pass(650);
    const tagged = frame({ to: OURS, from: CLIENT, sender: "192.168.1.102", target: BROKER, vlan: 77 });
    assert.ok(isArp(tagged, tagged.length));
    bench.receive(tagged);
    const [reply] = bench.replies();
    assert.equal(reply?.readUInt32BE(12), 0x81000000 + 77);
    assert.equal(readArp(reply!, reply!.length)?.at, 18);
  });

  it("is silent about an address that a machine has, and watches the others", () => {
    const bench = new Bench([BROKER, SECOND]);
    bench.owned = true;
    bench.pass(60_000);
    assert.deepEqual(bench.told, [[SECOND]]);
    bench.receive(request());
    bench.receive(request(OURS, "192.168.1.102", SECOND));
    assert.equal(bench.replies().length, 1);
    assert.ok(bench.arp.counters.arp_owner_seen > 5);
  });

  const signs: [string, Buffer][] = [
    ["an answer to a probe", ownersReply()],
    ["an announcement", frame({ to: ALL, from: OWNER, sender: BROKER, target: BROKER })],
    ["an announcement as an answer", frame({ to: ALL, from: OWNER, op: 2, sender: BROKER, target: BROKER })],
    ["a request of the owner's", frame({ to: ALL, from: OWNER, sender: BROKER, target: "192.168.1.9" })],
  ];
  for (const [sign, bytes] of signs) {
    it(`believes ${sign} at once, and a minute's silence after it`, () => {
      const bench = new Bench();
      bench.pass(650);
      bench.receive(bytes);
      assert.deepEqual(bench.told, [[BROKER], []]);
      bench.receive(request());
      assert.deepEqual(bench.replies(), []);
      bench.pass(40_000);
      assert.equal(bench.told.length, 2, "still believed");
      bench.pass(40_000);
      assert.deepEqual(bench.told, [[BROKER], [], [BROKER]]);
    });
  }

  it("takes no other agent for an owner, and answers no probe", () => {
    const bench = new Bench();
    bench.pass(650);
    // Another agent's answer to a request of this host's kernel.
    bench.receive(
      frame({ to: OURS, from: OTHER_AGENT, op: 2, sender: BROKER, target: "192.168.1.101", targetMac: OURS }),
    );
    bench.receive(request(ALL, "0.0.0.0", BROKER, OTHER_AGENT));
    bench.pass(1_000);
    assert.deepEqual(bench.told, [[BROKER]]);
    assert.deepEqual(bench.replies(), []);
  });

  it("lets an owner that has just come speak first where all stations were asked", () => {
    const bench = new Bench();
    bench.pass(650);
    bench.receive(request(ALL));
    bench.pass(150);
    assert.deepEqual(bench.replies(), []);
    bench.pass(100);
    assert.equal(bench.replies().length, 1, "no owner: it is answered, late");
    bench.owned = true;
    bench.receive(request(ALL));
    bench.pass(500);
    assert.deepEqual(bench.replies(), []);
    assert.deepEqual(bench.told, [[BROKER], []]);
  });

  it("holds a bounded number of requests, each as long as the others", () => {
    const bench = new Bench();
    bench.pass(650);
    for (let i = 0; i < 30; i++) bench.receive(request(ALL));
    bench.pass(100);
    for (let i = 0; i < 70; i++) bench.receive(request(ALL));
    assert.equal(bench.arp.counters.drop_arp_waiting_full, 36);
    bench.pass(101);
    assert.equal(bench.replies().length, 30);
    bench.pass(100);
    assert.equal(bench.replies().length, 34);
    bench.receive(request(ALL));
    bench.arp.close();
    bench.pass(60_000);
    assert.deepEqual(bench.replies(), [], "closed");
  });

  it("looks anew, and speaks with the new MAC address, after its interface was down", () => {
    const bench = new Bench();
    bench.pass(30_000);
    const before = bench.arp.counters.arp_probes;
    bench.arp.restart(OTHER_AGENT);
    assert.equal(bench.arp.counters.arp_probes, before + 1);
    bench.receive(request(OTHER_AGENT));
    assert.deepEqual(bench.replies()[0]?.subarray(6, 12), OTHER_AGENT);
  });

  it("survives any frame", () => {
    const bench = new Bench();
    bench.pass(650);
    const base = [request(), request(ALL), ownersReply(), ...signs.map(([, bytes]) => bytes)];
    fc.assert(
      fc.property(
        fc.constantFrom(...base),
        fc.array(fc.tuple(fc.nat({ max: 60 }), fc.nat({ max: 255 })), { maxLength: 4 }),
        fc.nat({ max: 60 }),
        (good, changes, length) => {
          const bytes = Buffer.concat([good, Buffer.alloc(18)]);
          for (const [at, value] of changes) bytes[at] = value;
          const before = bench.sent.length;
          bench.arp.receive(bytes, Math.min(length, bytes.length));
          assert.ok(bench.sent.length - before <= 1, "one frame for a frame");
          for (const sent of bench.sent) assert.equal(sent[6]! & 1, 0);
        },
      ),
    );
    const group = frame({
      to: OURS,
      from: parseMac("03:00:00:00:00:02"),
      sender: "10.0.0.1",
      target: BROKER,
    });
    bench.sent.length = 0;
    bench.receive(group);
    assert.deepEqual(bench.sent, [], "nobody sends from a group address");
  });
});

describe("ARP packets", () => {
  it("are read as they were written", () => {
    const out = Buffer.alloc(64);
    const length = writeProbe(parseIpv4(BROKER), OURS, out);
    assert.deepEqual(
      out.subarray(0, length),
      frame({ to: ALL, from: OURS, sender: "0.0.0.0", target: BROKER }),
    );
    const asked = request();
    const reply = Buffer.alloc(64);
    const packet = readArp(asked, asked.length)!;
    const replied = readArp(reply, writeReply(asked, packet, OURS, reply))!;
    assert.deepEqual(
      [formatIpv4(replied.senderAddress), formatIpv4(replied.targetAddress)],
      [BROKER, "192.168.1.102"],
    );
    for (let cut = 0; cut < asked.length; cut++) assert.equal(readArp(asked, cut), undefined);
  });
});
