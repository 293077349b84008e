import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { probeAddress } from "@topicast/agent/neighbours/nd.js";
import { NeighbourResponder } from "@topicast/agent/neighbours/responder.js";
import { formatIPv6, SimClock } from "@topicast/protocol";
import fc from "../../../property.js";
import { ARP, CLIENT, type Language, ND, ndFrame, OTHER_AGENT, OURS, OWNER, option } from "./frames.js";

class Bench {
  readonly clock = new SimClock();
  readonly sent: Buffer[] = [];
  readonly told: (readonly string[])[] = [];
  readonly responder: NeighbourResponder;
  /** Answers probes as the owner does. */
  owned = false;

  constructor(
    private readonly language: Language,
    addresses: readonly string[] = [language.broker],
  ) {
    this.responder = new NeighbourResponder({
      clock: this.clock,
      mac: OURS,
      addresses,
      send: (bytes, length) => {
        const copy = Buffer.from(bytes.subarray(0, length));
        this.sent.push(copy);
        // The capture sees what is sent.
        this.receive(copy);
        if (this.owned && language.kindOf(copy) === "probe")
          this.clock.setTimer(1, () => this.receive(language.ownersReply()));
      },
      onVacant: (vacant) => this.told.push(vacant),
    });
    this.responder.start();
  }

  get counters() {
    return this.responder.counters;
  }

  receive(bytes: Buffer): void {
    assert.equal(this.responder.receive(bytes, bytes.length), true);
  }

  pass(ms: number): void {
    for (let i = 0; i < ms; i++) this.clock.advance(1);
  }

  /** The answers sent since the last call. */
  answers(): Buffer[] {
    return this.sent.splice(0).filter((f) => this.language.kindOf(f) === "answer");
  }
}

for (const language of [ARP, ND]) {
  const { broker, second, all, request } = language;
  const bench = (...addresses: string[]) => new Bench(language, addresses.length > 0 ? addresses : [broker]);

  describe(`NeighbourResponder with ${language.name}`, () => {
    it("finds out within a second that nobody has an address, and answers from then on", () => {
      const b = bench();
      b.receive(request());
      assert.deepEqual(b.answers(), [], "not known yet");
      b.pass(650);
      assert.deepEqual(b.told, [[broker]]);
      assert.equal(b.counters.neighbour_probes, 3);
      b.receive(request());
      assert.deepEqual(b.answers(), [language.answer()]);
      assert.equal(b.responder.vacant, 1);
      b.pass(60_000);
      assert.deepEqual(b.told, [[broker]], "told once");
      assert.ok(b.counters.neighbour_probes <= 3 * 9, "a round in ten seconds");
      assert.equal(b.counters.drop_neighbour, 0, "its own are sound");
    });

    it("keeps a client's VLAN tag", () => {
      const b = bench();
      b.pass(650);
      b.receive(request(OURS, broker, CLIENT, 77));
      assert.deepEqual(b.answers(), [language.answer(77)]);
    });

    it("is silent about an address that a machine has, and watches the others", () => {
      const b = bench(broker, second);
      b.owned = true;
      b.pass(60_000);
      assert.deepEqual(b.told, [[second]]);
      b.receive(request());
      b.receive(request(OURS, second));
      assert.equal(b.answers().length, 1);
      assert.ok(b.counters.neighbour_owner_seen > 5);
    });

    const signs = [["an answer to a probe", language.ownersReply()] as const, ...language.signs];
    for (const [sign, bytes] of signs) {
      it(`believes ${sign} at once, and a minute's silence after it`, () => {
        const b = bench();
        b.pass(650);
        b.receive(bytes);
        assert.deepEqual(b.told, [[broker], []]);
        b.receive(request());
        assert.deepEqual(b.answers(), []);
        b.pass(40_000);
        assert.equal(b.told.length, 2, "still believed");
        b.pass(40_000);
        assert.deepEqual(b.told, [[broker], [], [broker]]);
      });
    }

    it("takes no other agent for an owner, and answers no probe", () => {
      const b = bench();
      b.pass(650);
      for (const bytes of language.ofAgents) b.receive(bytes);
      b.pass(1_000);
      assert.deepEqual(b.told, [[broker]]);
      assert.deepEqual(b.answers(), []);
      assert.equal(b.counters.drop_neighbour, 0);
    });

    it("agrees with another agent that nobody has the address", () => {
      const one = bench();
      const clock = one.clock;
      const toOne: Buffer[] = [];
      const toOther: Buffer[] = [];
      const other = new NeighbourResponder({
        clock,
        mac: OTHER_AGENT,
        addresses: [broker],
        send: (bytes, length) => void toOne.push(Buffer.from(bytes.subarray(0, length))),
        onVacant: () => {},
      });
      other.start();
      for (let ms = 0; ms < 30_000; ms++) {
        toOther.push(...one.sent.splice(0));
        for (const frame of toOther.splice(0)) other.receive(frame, frame.length);
        for (const frame of toOne.splice(0)) one.receive(frame);
        clock.advance(1);
      }
      assert.deepEqual([one.told, other.vacant], [[[broker]], 1]);
      assert.deepEqual([one.counters.neighbour_answered, other.counters.neighbour_answered], [0, 0]);
      assert.ok(other.counters.neighbour_in > 5, "they hear each other");
    });

    it("lets an owner that has just come speak first where all stations were asked", () => {
      const b = bench();
      b.pass(650);
      b.receive(request(all));
      b.pass(150);
      assert.deepEqual(b.answers(), []);
      b.pass(100);
      assert.equal(b.answers().length, 1, "no owner: it is answered, late");
      b.owned = true;
      b.receive(request(all));
      b.pass(500);
      assert.deepEqual(b.answers(), []);
      assert.deepEqual(b.told, [[broker], []]);
    });

    it("holds a bounded number of requests, each as long as the others", () => {
      const b = bench();
      b.pass(650);
      for (let i = 0; i < 30; i++) b.receive(request(all));
      b.pass(100);
      for (let i = 0; i < 70; i++) b.receive(request(all));
      assert.equal(b.counters.drop_neighbour_waiting_full, 36);
      b.pass(101);
      assert.equal(b.answers().length, 30);
      b.pass(100);
      assert.equal(b.answers().length, 34);
      b.receive(request(all));
      b.responder.close();
      b.pass(60_000);
      assert.deepEqual(b.answers(), [], "closed");
    });

    it("looks anew, and speaks with the new MAC address, after its interface was down", () => {
      const b = bench();
      b.pass(30_000);
      const before = b.counters.neighbour_probes;
      b.responder.restart(OTHER_AGENT);
      assert.equal(b.counters.neighbour_probes, before + 1);
      b.receive(request(OTHER_AGENT));
      assert.deepEqual(b.answers()[0]?.subarray(6, 12), OTHER_AGENT);
    });

    for (const [what, bytes] of language.unsound) {
      it(`drops ${what}`, () => {
        const b = bench();
        b.pass(650);
        b.sent.length = 0;
        b.receive(bytes);
        b.pass(300);
        assert.equal(b.counters.drop_neighbour, 1);
        assert.deepEqual([b.sent, b.told.length], [[], 1]);
      });
    }

    it("survives any frame", () => {
      const b = bench();
      b.pass(650);
      const base = [request(), request(all), ...signs.map(([, bytes]) => bytes), ...language.ofAgents];
      fc.assert(
        fc.property(
          fc.constantFrom(...base),
          fc.array(fc.tuple(fc.nat({ max: 100 }), fc.nat({ max: 255 })), { maxLength: 4 }),
          fc.nat({ max: 110 }),
          (good, changes, length) => {
            const bytes = Buffer.concat([good, Buffer.alloc(30)]);
            for (const [at, value] of changes) bytes[at] = value;
            b.sent.length = 0;
            b.responder.receive(bytes, Math.min(length, bytes.length));
            assert.ok(b.sent.length <= 1, "one frame for a frame");
            for (const sent of b.sent) assert.equal(sent[6]! & 1, 0);
          },
        ),
        { numRuns: 500 },
      );
    });
  });
}

describe("NeighbourResponder", () => {
  it("answers for addresses of both kinds side by side", () => {
    const b = new Bench(ND, [ARP.broker, ND.broker]);
    b.pass(650);
    assert.deepEqual(b.told, [[ARP.broker, ND.broker]]);
    b.sent.length = 0;
    b.receive(ARP.request());
    b.receive(ND.request());
    assert.deepEqual(b.sent, [ARP.answer(), ND.answer()]);
  });

  it("leaves every other frame to others", () => {
    const b = new Bench(ND, [ARP.broker, ND.broker]);
    const others = [
      ndFrame({
        to: OURS,
        from: CLIENT,
        source: "fd00::1",
        destination: "fd00::2",
        target: "fd00::2",
        type: 128,
      }),
      ndFrame({
        to: OURS,
        from: CLIENT,
        source: "fd00::1",
        destination: "fd00::2",
        target: "fd00::2",
        nextHeader: 6,
      }),
      Buffer.alloc(60),
      ND.request().subarray(0, 54),
      Buffer.alloc(0),
    ];
    const before = { ...b.counters };
    for (const bytes of others) assert.equal(b.responder.receive(bytes, bytes.length), false);
    assert.deepEqual(b.counters, before);
  });

  it("refuses what is no address", () => {
    assert.throws(() => new Bench(ARP, ["broker"]), RangeError);
  });

  it("probes from an address of its own", () => {
    assert.equal(formatIPv6(probeAddress(OURS)), "fe80::74:6300:1");
    const b = new Bench(ND);
    const probe = ndFrame({
      ...{
        to: ND.all,
        from: OURS,
        source: "fe80::74:6300:1",
        destination: "ff02::1:ff00:250",
        target: ND.broker,
      },
      options: option(1, OURS),
    });
    assert.deepEqual(b.sent, [probe]);
    assert.notDeepEqual(probeAddress(OURS), probeAddress(OWNER));
  });
});
