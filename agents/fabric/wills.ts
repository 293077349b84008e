import { encodeWill, type ToldWill } from "@topicast/protocol";
import type { Registration } from "./registration.js";

interface Numbered {
  readonly number: number;
  readonly will: ToldWill;
}

/** Keeps the forwarder informed of what it is to publish should this agent die. Bounded by the sessions. */
export class Wills {
  private readonly byClient = new Map<string, Numbered>();
  private readonly byNumber = new Map<number, string>();
  private lastNumber = 0;

  readonly stats = { wills_told: 0, wills_published_elsewhere: 0 };

  constructor(private readonly registration: Registration) {}

  get size(): number {
    return this.byClient.size;
  }

  /** The client's will from now on; undefined: it has none any more. */
  set(clientId: string, will: Omit<ToldWill, "clientId"> | undefined): void {
    const before = this.byClient.get(clientId);
    if (before !== undefined) {
      this.forget(clientId, before.number);
      this.send(before.number, undefined);
    }
    if (will === undefined) return;
    this.lastNumber += 1;
    const numbered = { number: this.lastNumber, will: { ...will, clientId } };
    this.byClient.set(clientId, numbered);
    this.byNumber.set(numbered.number, clientId);
    this.send(numbered.number, numbered.will);
  }

  /** Tells a new registration every will, as fast as it takes them; resolves with false when it has ended. */
  async tellAll(): Promise<boolean> {
    for (const { number } of [...this.byClient.values()]) {
      const will = this.willOf(number);
      if (will === undefined) continue;
      await this.registration.ready();
      this.stats.wills_told += 1;
      void this.registration.send(encodeWill({ number, will }));
    }
    return this.registration.registered;
  }

  /** `$fabric/fired`: the clients whose wills of now have been published. */
  onFired(numbers: readonly number[]): string[] {
    const clients: string[] = [];
    for (const number of numbers) {
      const clientId = this.byNumber.get(number);
      if (clientId === undefined) continue;
      this.forget(clientId, number);
      clients.push(clientId);
    }
    this.stats.wills_published_elsewhere += clients.length;
    return clients;
  }

  private willOf(number: number): ToldWill | undefined {
    const clientId = this.byNumber.get(number);
    return clientId === undefined ? undefined : this.byClient.get(clientId)?.will;
  }

  private forget(clientId: string, number: number): void {
    this.byClient.delete(clientId);
    this.byNumber.delete(number);
  }

  private send(number: number, will: ToldWill | undefined): void {
    if (!this.registration.registered) return;
    this.stats.wills_told += 1;
    void this.registration.send(encodeWill({ number, will }));
  }
}
