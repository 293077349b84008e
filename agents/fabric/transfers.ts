import {
  type Clock,
  encodeFabricJson,
  encodeSessionPiece,
  FabricTopic,
  type SessionEntry,
  SessionPart,
  type SessionPiece,
  type Take,
  type Timer,
} from "@topicast/protocol";
import type { SessionHandover } from "../mqtt/uplink.js";
import type { Registration } from "./registration.js";

/** The other edge is not waited for after so long without a word. */
const SILENCE_MS = 10_000;
/** While the other edge waits for messages that are late it is told so often that it waits for good. */
const PATIENCE_MS = 1_000;
/** Bytes in one `$fabric/session`, where one entry is not larger. */
const PIECE_BYTES = 32 * 1024;
/** What has arrived of sessions and is not complete. */
const ARRIVING_BYTES_MAX = 128 * 1024 * 1024;
/** Transfers of one client that wait for their turn. */
const WAITING_MAX = 32;

type Word = SessionPiece | Take;

/** A client's session leaves for another edge. */
interface Leave {
  readonly client: string;
  readonly to: number;
  readonly clean: boolean;
  /** Time of the clock at which its client connected there. */
  readonly since: number;
}

/** One step in the way of a client's session over the edges. */
interface Transfer {
  /** The other edge; null: none, it only waits for those before it. */
  readonly peer: number | null;
  readonly isLeaving: boolean;
  readonly perform: (transfer: Transfer) => Promise<void>;
  /** What the other edge has said and nobody has listened to. */
  readonly words: Word[];
  /** The other edge has died: it says no more. */
  isOver: boolean;
  wake: (() => void) | undefined;
}

export interface TransfersOptions {
  readonly clock: Clock;
  readonly registration: Registration;
  readonly sessions: SessionHandover;
  /** Resolves when all that other edges have sent here so far is here; with false where that cannot be known. */
  readonly flush: () => Promise<boolean>;
  /** Something has come of the client's session. */
  readonly onProgress: (client: string) => void;
  /** A session that was to leave has stayed. */
  readonly onKept: (client: string) => void;
}

/**
 * Sessions on their way between edges. The forwarder tells in which order a client's session goes where; each edge does
 * its part of one client's transfers one after the other in that order, so that none waits for another in a circle.
 */
export class Transfers {
  private readonly byClient = new Map<string, Transfer[]>();
  private arrivingBytes = 0;

  readonly stats = { handed_over: 0, taken_over: 0, transfers_silent: 0, transfers_refused: 0 };

  constructor(private readonly options: TransfersOptions) {}

  /** Resolves when the session that `from` hands over is here, or will not come, and all before it are over. */
  arrive(client: string, from: number | null): Promise<void> {
    return new Promise((resolve) => {
      const perform = async (transfer: Transfer): Promise<void> => {
        if (transfer.peer !== null) await this.receive(client, transfer.peer, transfer);
        resolve();
      };
      if (!this.enqueue(client, from, false, perform)) resolve();
    });
  }

  /** Hands the session over, once those before it are over. */
  leave(client: string, to: number, clean: boolean, ago: number): void {
    const since = this.options.clock.now() - ago;
    const perform = (transfer: Transfer) => this.give({ client, to, clean, since }, transfer);
    if (!this.enqueue(client, to, true, perform)) this.sendPiece(client, to, SessionPart.NOTHING, []);
  }

  onPiece(piece: SessionPiece): void {
    const { client, peer } = piece;
    this.options.onProgress(client);
    this.say(this.find(client, peer, false), piece);
  }

  onTake(take: Take): void {
    this.say(this.find(take.client, take.peer, true), take);
  }

  /** That edge has died: what it was to say it does not say any more. */
  onGone(peer: number): void {
    for (const transfer of [...this.byClient.values()].flat()) {
      if (transfer.peer !== peer) continue;
      transfer.isOver = true;
      transfer.wake?.();
    }
  }

  /** The forwarder is away: nothing goes on. */
  abort(): void {
    const all = [...this.byClient.values()].flat();
    this.byClient.clear();
    for (const { wake } of all) wake?.();
  }

  // --- one after the other ---

  private enqueue(
    client: string,
    peer: number | null,
    isLeaving: boolean,
    perform: Transfer["perform"],
  ): boolean {
    const transfer: Transfer = { peer, isLeaving, perform, words: [], isOver: false, wake: undefined };
    const queue = this.byClient.get(client);
    if (queue === undefined) {
      this.byClient.set(client, [transfer]);
      void this.work(client);
    } else if (queue.length < WAITING_MAX) {
      queue.push(transfer);
    } else {
      this.stats.transfers_refused += 1;
      return false;
    }
    return true;
  }

  private async work(client: string): Promise<void> {
    const queue = this.byClient.get(client)!;
    for (let next = queue[0]; next !== undefined; next = queue[0]) {
      await next.perform(next);
      queue.shift();
    }
    if (this.byClient.get(client) === queue) this.byClient.delete(client);
  }

  private find(client: string, peer: number, isLeaving: boolean): Transfer | undefined {
    const queue = this.byClient.get(client) ?? [];
    return queue.find(
      (transfer) =>
        transfer.peer === peer &&
        transfer.isLeaving === isLeaving &&
        !transfer.isOver &&
        !isComplete(transfer.words.at(-1)),
    );
  }

  private say(transfer: Transfer | undefined, word: Word): void {
    if (transfer === undefined) return;
    const bytes = bytesOf(word);
    if (this.arrivingBytes + bytes > ARRIVING_BYTES_MAX) {
      // What lacks a piece is never complete, and stays where it was.
      this.stats.transfers_refused += 1;
      return;
    }
    this.arrivingBytes += bytes;
    transfer.words.push(word);
    transfer.wake?.();
  }

  /** The next word of the other edge; undefined: there will be none. */
  private async listen(client: string, transfer: Transfer): Promise<Word | undefined> {
    const { clock } = this.options;
    const isCurrent = this.byClient.get(client)?.[0] === transfer;
    if (transfer.words.length === 0 && isCurrent && !transfer.isOver) {
      await new Promise<void>((resolve) => {
        const timer: Timer = clock.setTimer(SILENCE_MS, resolve);
        transfer.wake = () => {
          timer.cancel();
          resolve();
        };
      });
      transfer.wake = undefined;
    }
    const word = transfer.words.shift();
    if (word === undefined) this.stats.transfers_silent += 1;
    else this.arrivingBytes -= bytesOf(word);
    return word;
  }

  // --- this edge gives ---

  private async give({ client, to, clean, since }: Leave, transfer: Transfer): Promise<void> {
    const { sessions } = this.options;
    const head = sessions.yield(client, clean, since);
    if (head === undefined) {
      if (!clean) this.sendPiece(client, to, SessionPart.NOTHING, []);
      return;
    }
    await this.sendAll(client, to, head, SessionPart.HEAD, SessionPart.HEAD_END);
    if ((await this.listen(client, transfer)) === undefined) return this.keep(client);
    // What was published before the new edge's subscriptions held is not for that edge, and may be late.
    if (!(await this.patiently(client, to, this.options.flush()))) return this.keep(client);
    const rest = await sessions.rest(client);
    if (rest === undefined) return this.sendPiece(client, to, SessionPart.NOTHING, []);
    await this.sendAll(client, to, rest, SessionPart.REST, SessionPart.END);
    if ((await this.listen(client, transfer)) === undefined) return this.keep(client);
    this.stats.handed_over += 1;
    sessions.end(client);
  }

  /** Waits, and lets the other edge know that something is to come. */
  private async patiently<T>(client: string, peer: number, awaited: Promise<T>): Promise<T> {
    const { clock } = this.options;
    let timer: Timer;
    const remind = () => {
      this.sendPiece(client, peer, SessionPart.REST, []);
      timer = clock.setTimer(PATIENCE_MS, remind);
    };
    timer = clock.setTimer(PATIENCE_MS, remind);
    const value = await awaited;
    timer.cancel();
    return value;
  }

  private keep(client: string): void {
    if (this.options.sessions.keep(client)) this.options.onKept(client);
  }

  private async sendAll(
    client: string,
    peer: number,
    all: readonly SessionEntry[],
    part: SessionPart,
    last: SessionPart,
  ): Promise<void> {
    let entries: SessionEntry[] = [];
    let bytes = 0;
    for (const entry of all) {
      const size = 6 + Buffer.byteLength(entry[0]) + entry[1].length;
      if (bytes > 0 && bytes + size > PIECE_BYTES) {
        this.sendPiece(client, peer, part, entries);
        await this.options.registration.ready();
        entries = [];
        bytes = 0;
      }
      entries.push(entry);
      bytes += size;
    }
    this.sendPiece(client, peer, last, entries);
  }

  private sendPiece(client: string, peer: number, part: SessionPart, entries: readonly SessionEntry[]): void {
    void this.options.registration.send(encodeSessionPiece({ peer, part, client, entries }));
  }

  // --- this edge takes ---

  private async receive(client: string, from: number, transfer: Transfer): Promise<void> {
    const { sessions } = this.options;
    const head = await this.collect(client, transfer, SessionPart.HEAD_END);
    if (head === undefined || !(await sessions.prepare(client, head))) return;
    this.sendTake(client, from, false);
    const rest = await this.collect(client, transfer, SessionPart.END);
    if (rest === undefined) return;
    await sessions.complete(client, rest);
    this.stats.taken_over += 1;
    this.sendTake(client, from, true);
  }

  /** The entries up to the piece that is the `last` of them; undefined: they do not come. */
  private async collect(
    client: string,
    transfer: Transfer,
    last: SessionPart,
  ): Promise<SessionEntry[] | undefined> {
    const entries: SessionEntry[] = [];
    for (;;) {
      const word = await this.listen(client, transfer);
      if (word === undefined || !("part" in word) || word.part === SessionPart.NOTHING) return undefined;
      entries.push(...word.entries);
      if (word.part === last) return entries;
    }
  }

  private sendTake(client: string, peer: number, done: boolean): void {
    void this.options.registration.send(encodeFabricJson(FabricTopic.TAKE, { client, peer, done }));
  }
}

/** Nothing of that transfer comes behind this. */
function isComplete(word: Word | undefined): boolean {
  if (word === undefined) return false;
  if (!("part" in word)) return word.done;
  return word.part === SessionPart.NOTHING || word.part === SessionPart.END;
}

function bytesOf(word: Word): number {
  if (!("part" in word)) return 0;
  return word.entries.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
}
