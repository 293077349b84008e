import type { Accept, Layer, Transport } from "./transport.js";

/** One port: where its streams come from, and what they go through, outermost first. */
export interface Listener {
  readonly name: string;
  readonly transport: Transport;
  readonly layers: readonly Layer[];
}

/** Several ports as one transport. */
export class Listeners implements Transport {
  constructor(private readonly listeners: readonly Listener[]) {}

  async listen(onStream: Accept): Promise<void> {
    try {
      for (const { name, transport, layers } of this.listeners) {
        await transport.listen((stream) => {
          const listener = stream.listener ?? name;
          through(layers, (ready) => {
            ready.listener = listener;
            onStream(ready);
          })(stream);
        });
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.listeners.map(({ transport }) => transport.close()));
  }

  /** The sums over all ports; a layer that serves several of them counts once. */
  counters(): Readonly<Record<string, number>> {
    const sums: Record<string, number> = {};
    const parts = new Set(this.listeners.flatMap(({ transport, layers }) => [transport, ...layers]));
    for (const part of parts) {
      for (const [name, value] of Object.entries(part.counters())) sums[name] = (sums[name] ?? 0) + value;
    }
    return sums;
  }
}

function through(layers: readonly Layer[], accept: Accept): Accept {
  return layers.reduceRight<Accept>((next, layer) => (stream) => layer.wrap(stream, next), accept);
}
