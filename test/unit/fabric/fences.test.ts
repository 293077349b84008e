import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { random } from "./sim.js";
import { CALM, GROUP, type Hearer, publish, Streams, upTo } from "./streams.js";

describe("fences", () => {
  const OTHER = GROUP + 1;
  const fenced = (net: Streams, text: string) =>
    net.senders.getOrAdd(OTHER).send(publish(text), {
      to: [{ address: "239.192.0.1", port: 1883 }],
      fences: [{ stream: GROUP, number: net.senders.getOrAdd(GROUP).position }],
    });

  it("hold a datagram until another stream has come so far, however little is known of that one", () => {
    for (const seen of [0, 1, 2]) {
      const net = new Streams();
      net.join(OTHER, net.hearer);
      for (const text of upTo(seen)) net.now(text);
      net.lose = () => true;
      net.now("lost");
      net.lose = (_, h) => h !== net.hearer;
      fenced(net, "after");
      net.clock.advance(0);
      assert.deepEqual(net.hearer.got, upTo(seen));
      net.clock.advance(10);
      assert.deepEqual(net.hearer.got, [...upTo(seen), "lost", "after"], `${seen} seen`);
    }
  });

  it("hold nobody who is not in the other group, or came later", () => {
    const net = new Streams(1, CALM, 100, 2);
    const [, second] = net.hearers as [Hearer, Hearer];
    second.cut = true;
    net.join(GROUP, net.hearer);
    net.now("a");
    second.cut = false;
    net.join(OTHER, ...net.hearers);
    fenced(net, "b");
    net.clock.advance(3);
    assert.deepEqual(net.hearer.got, ["a", "b"]);
    assert.deepEqual(second.got, ["b"]);
  });

  it("are not passed by what the source's former life had sent", () => {
    const net = new Streams();
    for (const text of ["old 0", "old 1"]) net.now(text);
    net.newSenders(8);
    net.join(GROUP, net.hearer);
    net.join(OTHER, net.hearer);
    net.lose = () => true;
    net.now("new");
    net.lose = () => false;
    fenced(net, "after");
    net.clock.advance(5);
    assert.deepEqual(net.hearer.got, ["old 0", "old 1", "new", "after"]);
  });

  it("let go when what is missing is gone", () => {
    const net = new Streams();
    net.join(OTHER, net.hearer);
    net.now("a");
    net.lose = () => true;
    net.now("lost for ever");
    net.clock.advance(4_000);
    net.lose = () => false;
    fenced(net, "after");
    net.clock.advance(5);
    assert.deepEqual(net.hearer.got, ["a", "after"]);
  });

  it("keep order over two streams, whatever the network does: 200 seeds", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const rand = random(seed + 9_000);
      const weather = { loss: rand() * 0.3, repeat: rand() * 0.2, delay: [0, rand() * 15] as const };
      const net = new Streams(seed, weather, 100, 3);
      net.join(OTHER, ...net.hearers);
      let group = GROUP;
      let done = 0;
      for (let i = 0; i < 100; i++) {
        const before = group;
        if (rand() < 0.2) group = group === GROUP ? OTHER : GROUP;
        const fence = { stream: before, number: net.senders.getOrAdd(before).position };
        const to = [{ address: "239.192.0.1", port: 1883 }];
        const options = { to, done: () => done++, fences: before === group ? [] : [fence] };
        net.senders.getOrAdd(group).send(publish(String(i)), options);
        if (rand() < 0.7) net.clock.advance(rand() * 5);
      }
      net.clock.advance(20_000);
      for (const { got } of net.hearers) assert.deepEqual(got, upTo(100), `seed ${seed}`);
      assert.equal(done, 100, `seed ${seed}`);
      assert.equal(net.senders.kept.bytes, 0, `seed ${seed}`);
    }
  });
});
