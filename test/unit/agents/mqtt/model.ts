/**
 * A small reference model of the standard: what each client of one server must receive, told op by op, with time. It
 * knows nothing of packets' bytes, windows or bounds; identifiers are left to the server.
 */
export interface Waiting {
  readonly topic: string;
  readonly payload: string;
  readonly qos: 1 | 2;
  state: "queued" | "sent" | "released";
}

export interface ModelWill {
  readonly payload: string;
  readonly delayMs: number;
}

class ModelSession {
  readonly subscriptions = new Map<string, number>();
  /** QoS 1 and 2 messages to the client, oldest first. */
  waiting: Waiting[] = [];
  /** Identifiers of QoS 2 messages of the client that it has not released. */
  readonly unreleased = new Set<number>();
  isConnected = true;
  will: ModelWill | undefined;
  endsAt = Number.POSITIVE_INFINITY;
  willAt = Number.POSITIVE_INFINITY;
  expiryMs = 0;
  /** Which of all connections to end its last one was: of what is due at one moment that comes first whose client left first. */
  left = 0;
}

export class Model {
  private time = 0;
  private departures = 0;
  private readonly sessions = new Map<string, ModelSession>();
  private readonly retained = new Map<string, string>();
  /** What connected clients receive, in order, since it was last taken. */
  private readonly output = new Map<string, string[]>();

  isConnected(id: string): boolean {
    return this.sessions.get(id)?.isConnected ?? false;
  }

  /** The first message that the client can acknowledge. */
  next(id: string): Waiting | undefined {
    return this.sessions.get(id)?.waiting.find(({ state }) => state !== "queued");
  }

  take(id: string): string[] {
    const lines = this.output.get(id) ?? [];
    this.output.delete(id);
    return lines;
  }

  connect(id: string, clean: boolean, expiryMs: number, will: ModelWill | undefined): { isPresent: boolean } {
    const before = this.sessions.get(id);
    // A new connection ends the delay that a will waits for, whatever becomes of its session.
    if (before !== undefined && !before.isConnected) before.will = undefined;
    this.drop(id);
    this.output.delete(id);
    if (clean) this.end(id);
    let session = this.sessions.get(id);
    const isPresent = session !== undefined;
    if (session === undefined) {
      session = new ModelSession();
      this.sessions.set(id, session);
    }
    Object.assign(session, { isConnected: true, expiryMs, will });
    session.endsAt = Number.POSITIVE_INFINITY;
    session.willAt = Number.POSITIVE_INFINITY;
    for (const message of session.waiting) {
      if (message.state === "released") this.emit(id, "pubrel");
      else if (message.state === "sent") this.emit(id, `${line(message)} dup`);
    }
    for (const message of session.waiting) this.send(id, message);
    return { isPresent };
  }

  /** The client's DISCONNECT. */
  disconnect(id: string): void {
    const session = this.sessions.get(id);
    if (session === undefined) return;
    session.will = undefined;
    this.drop(id);
  }

  /** The connection breaks. */
  drop(id: string): void {
    const session = this.sessions.get(id);
    if (session === undefined || !session.isConnected) return;
    session.isConnected = false;
    session.left = ++this.departures;
    if (session.expiryMs === 0) return this.end(id);
    session.endsAt = this.time + session.expiryMs;
    if (session.will === undefined) return;
    if (session.will.delayMs === 0) this.publishWill(session);
    else session.willAt = this.time + session.will.delayMs;
  }

  subscribe(id: string, filter: string, qos: number): void {
    this.sessions.get(id)!.subscriptions.set(filter, qos);
    this.emit(id, "suback");
    const found = [...this.retained].filter(([topic]) => matches(filter, topic));
    for (const [topic, payload] of found) this.emit(id, `publish ${topic} ${payload} retain`);
  }

  unsubscribe(id: string, filter: string): void {
    this.sessions.get(id)!.subscriptions.delete(filter);
    this.emit(id, "unsuback");
  }

  /** A QoS 2 message of the client under an identifier; nothing new where that has not been released. */
  publishUnreleased(id: string, messageId: number, topic: string, payload: string): void {
    const { unreleased } = this.sessions.get(id)!;
    if (!unreleased.has(messageId)) {
      unreleased.add(messageId);
      this.publish(topic, payload, 2, false);
    }
    this.emit(id, "pubrec");
  }

  release(id: string, messageId: number): void {
    this.sessions.get(id)!.unreleased.delete(messageId);
    this.emit(id, "pubcomp");
  }

  publish(topic: string, payload: string, qos: number, retain: boolean): void {
    if (retain && payload === "") this.retained.delete(topic);
    else if (retain) this.retained.set(topic, payload);
    for (const [id, session] of this.sessions) {
      const matching = [...session.subscriptions].filter(([filter]) => matches(filter, topic));
      if (matching.length === 0) continue;
      const granted = Math.min(qos, Math.max(...matching.map(([, maxQos]) => maxQos)));
      if (granted === 0) {
        if (session.isConnected) this.emit(id, `publish ${topic} ${payload}`);
        continue;
      }
      const message: Waiting = { topic, payload, qos: granted as 1 | 2, state: "queued" };
      session.waiting.push(message);
      if (session.isConnected) this.send(id, message);
    }
  }

  /** The client acknowledges its oldest message one step further. */
  acknowledge(id: string): void {
    const session = this.sessions.get(id)!;
    const message = this.next(id)!;
    if (message.qos === 2 && message.state === "sent") {
      message.state = "released";
      this.emit(id, "pubrel");
    } else {
      session.waiting = session.waiting.filter((other) => other !== message);
    }
  }

  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      let due: { id: string; session: ModelSession; at: number } | undefined;
      for (const [id, session] of this.sessions) {
        const at = Math.min(session.endsAt, session.willAt);
        if (at > end) continue;
        const isSooner =
          due === undefined || at < due.at || (at === due.at && session.left < due.session.left);
        if (isSooner) due = { id, session, at };
      }
      if (due === undefined) break;
      this.time = due.at;
      if (due.session.endsAt <= due.at) this.end(due.id);
      else this.publishWill(due.session);
    }
    this.time = end;
  }

  private end(id: string): void {
    const session = this.sessions.get(id);
    if (session === undefined) return;
    this.sessions.delete(id);
    this.publishWill(session);
  }

  private publishWill(session: ModelSession): void {
    const { will } = session;
    session.will = undefined;
    session.willAt = Number.POSITIVE_INFINITY;
    if (will !== undefined) this.publish("will", will.payload, 1, false);
  }

  private send(id: string, message: Waiting): void {
    if (message.state !== "queued") return;
    message.state = "sent";
    this.emit(id, line(message));
  }

  private emit(id: string, text: string): void {
    const lines = this.output.get(id) ?? [];
    lines.push(text);
    this.output.set(id, lines);
  }
}

function line({ topic, payload, qos }: Waiting): string {
  return `publish ${topic} ${payload} q${qos}`;
}

/** MQTT 5, section 4.7, as slow as it can be said. */
export function matches(filter: string, topic: string): boolean {
  const pattern = filter
    .split("/")
    .map((level) => (level === "+" ? "[^/]*" : level === "#" ? ".*" : level.replace(/[.*$^]/g, "\\$&")))
    .join("/")
    .replace(/\/\.\*$/, "(/.*)?");
  return new RegExp(`^${pattern}$`).test(topic);
}
