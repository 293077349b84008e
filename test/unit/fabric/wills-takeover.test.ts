import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type EdgeClient, pass, SimEdge } from "./edges.js";
import { SimForwarder, SimNetwork } from "./sim.js";

const DELAY_S = 30;
const FAR = 60_000;

/** A client with a will at e1, and a watcher of wills at e3. */
class Scene {
  readonly edges: SimEdge[];
  watcher!: EdgeClient;
  first!: EdgeClient;
  second: EdgeClient | undefined;

  private constructor(
    readonly network: SimNetwork,
    readonly delay: number,
    readonly expiry: number,
  ) {
    this.edges = ["e1", "e2", "e3"].map((id) => new SimEdge(network, id, `10.0.0.10${id.slice(1)}`).start());
  }

  static async open(seed: number, delay: number, expiry = 1_000): Promise<Scene> {
    const network = new SimNetwork(seed);
    new SimForwarder(network);
    const scene = new Scene(network, delay, expiry);
    await pass(network, 6_000, 10);
    scene.watcher = scene.edges[2]!.client("watcher");
    await pass(network, 50);
    scene.watcher.subscribe("gone", 1);
    scene.first = scene.connect(0, false);
    await pass(network, 200);
    assert.equal(scene.first.connack?.reasonCode, 0);
    return scene;
  }

  connect(at: number, clean: boolean): EdgeClient {
    return this.edges[at]!.client("c", {
      clean,
      properties: { sessionExpiryInterval: this.expiry },
      will: {
        ...{ topic: "gone", payload: Buffer.from(`of e${at + 1}`), qos: 1, retain: false },
        properties: { willDelayInterval: this.delay },
      },
    });
  }

  /** What happens to the first connection and its edge. */
  readonly happens: Record<"drop" | "kill" | "cut" | "again", () => void> = {
    drop: () => this.first.drop(),
    kill: () => this.edges[0]!.kill(),
    cut: () => void this.network.cut.add(this.edges[0]!.address),
    /** Its edge is started anew. */
    again: () => {
      this.edges[0]!.kill();
      this.edges[0] = new SimEdge(this.network, "e1", "10.0.0.101").start();
    },
  };
}

type Event = keyof Scene["happens"];

/** Events of the first connection, milliseconds after its CONNACK; `elsewhere`: it connects at the second edge. */
interface Order {
  readonly events: readonly (readonly [at: number, event: Event | "elsewhere"])[];
  readonly name: string;
}

/** Every order of a client's take-over and of its edge's end, close together and far apart. */
function orders(): Order[] {
  const all: Order[] = [];
  const gaps = [0, 1, 500, 3_500, 5_500, 12_000];
  for (const end of ["kill", "cut", "again"] as const) {
    for (const gap of gaps) {
      for (const isDropped of [false, true]) {
        const drop = isDropped ? ([[0, "drop"]] as const) : [];
        const late = isDropped ? 50 : 0;
        all.push({
          name: `${drop.length > 0 ? "drop, " : ""}${end}, ${gap} ms, elsewhere`,
          events: [...drop, [late, end], [late + gap, "elsewhere"]],
        });
        all.push({
          name: `${drop.length > 0 ? "drop, " : ""}elsewhere, ${gap} ms, ${end}`,
          events: [...drop, [late, "elsewhere"], [late + gap, end]],
        });
      }
    }
  }
  return all;
}

async function play(scene: Scene, { events }: Order, clean: boolean): Promise<void> {
  let now = 0;
  for (const [at, event] of events) {
    await pass(scene.network, at - now, 10);
    now = at;
    if (event === "elsewhere") scene.second = scene.connect(1, clean);
    else scene.happens[event]();
  }
}

describe("wills of clients that are taken over by another edge", () => {
  it("with a delay are discarded, whatever happens to the first edge, and in whatever order", async () => {
    for (const order of orders()) {
      const scene = await Scene.open(1, DELAY_S);
      await play(scene, order, false);
      await pass(scene.network, 15_000, 50);
      assert.equal(scene.second?.isConnected, true, order.name);
      // An edge that was only cut off comes back, and has nothing to say of it.
      scene.network.cut.clear();
      await pass(scene.network, FAR, 50);
      assert.deepEqual(scene.watcher.got, [], order.name);
    }
  });

  it("without a delay are published once", async () => {
    for (const clean of [false, true]) {
      for (const order of orders()) {
        const name = `${order.name}, ${clean ? "" : "not "}clean`;
        const scene = await Scene.open(1, 0);
        await play(scene, order, clean);
        await pass(scene.network, 15_000, 20);
        assert.equal(scene.second?.isConnected, true, name);
        scene.network.cut.clear();
        await pass(scene.network, FAR, 50);
        assert.deepEqual(scene.watcher.got, ["of e1"], name);
      }
    }
  });

  it("with a delay, where Clean Start ends the session, are published once if the client was connected, not if it was away", async () => {
    for (const order of orders()) {
      const scene = await Scene.open(1, DELAY_S);
      await play(scene, order, true);
      await pass(scene.network, 15_000, 20);
      assert.equal(scene.second?.isConnected, true, order.name);
      scene.network.cut.clear();
      await pass(scene.network, FAR, 50);
      const { got } = scene.watcher;
      const [first, last] = [order.events[0]![1], order.events.at(-1)!];
      // Its edge is there to tell; its edge is known to be gone. In between either may come first.
      if (first === "elsewhere" && last[0] >= 500) assert.deepEqual(got, ["of e1"], order.name);
      else if (first === "drop" && last[1] !== "elsewhere" && last[0] >= 500)
        assert.deepEqual(got, [], order.name);
      else if (last[1] === "elsewhere" && last[0] >= 12_000) assert.deepEqual(got, [], order.name);
      else assert.ok(got.length <= 1, order.name);
    }
  });

  it("are published when nobody comes in time, at the delay's end or the session's, the earlier", async () => {
    for (const [expiry, wait] of [
      [1_000, DELAY_S],
      [10, 10],
    ] as const) {
      for (const end of ["kill", "cut", "drop"] as const) {
        const scene = await Scene.open(1, DELAY_S, expiry);
        scene.happens[end]();
        await pass(scene.network, wait * 1_000 - 500, 50);
        assert.deepEqual(scene.watcher.got, [], end);
        await pass(scene.network, 7_000, 50);
        assert.deepEqual(scene.watcher.got, ["of e1"], end);
        scene.second = scene.connect(1, false);
        await pass(scene.network, 4_000, 50);
        scene.network.cut.clear();
        await pass(scene.network, FAR, 50);
        assert.deepEqual(scene.watcher.got, ["of e1"], end);
        assert.equal(scene.second.isConnected, true, end);
      }
    }
  });

  it("of the second connection are its own: published when that one goes, too", async () => {
    const scene = await Scene.open(1, DELAY_S);
    scene.happens.kill();
    await pass(scene.network, 10_000, 20);
    scene.second = scene.connect(1, false);
    await pass(scene.network, 1_000);
    scene.edges[1]!.kill();
    await pass(scene.network, FAR, 50);
    assert.deepEqual(scene.watcher.got, ["of e2"]);
  });
});
