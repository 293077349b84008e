import { addressOf, TokenBucket, topicFilterOf } from "@topicast/protocol";
import type { Admission, ClientIdentity } from "../mqtt/authority.js";
import type { Connect } from "../mqtt/codec/connect.js";
import type { PublishPacket, Subscribe, Unsubscribe } from "../mqtt/codec/decode.js";
import type { CloseReason } from "../mqtt/codec/errors.js";
import type { Guard, Holder, Refusal, Verdict } from "../mqtt/screen.js";
import { codeOf, type Kind, type PacketName } from "./codes.js";
import type { Compiled, RateOn } from "./compiled.js";
import type { ContentRequest, ContentVerdict } from "./content.js";
import { excerpt, type FirewallEvent } from "./event.js";
import type { Firewall } from "./firewall.js";
import { type About, findings, wordsOf } from "./inspection.js";
import type { Rate } from "./rates.js";
import type { Answer, Mode, Rule } from "./rules.js";
import { asksForAll, filterRefused, type OwnLists, ownLists, topicRefused } from "./topics.js";

/** What is known of a connection before its first byte. */
export interface Opened {
  readonly peer: string;
  readonly listener: string | undefined;
  readonly address: string;
  /** What counts as one address. */
  readonly source: string;
  readonly mode: Mode;
  readonly end: (code: number) => void;
}

/** An account that packets are charged to. */
interface Charge {
  readonly rate: RateOn;
  /** Undefined where each topic has its own. */
  readonly bucket: TokenBucket | undefined;
}

/** Events of one connection: nobody's flood hides the others'. */
const EVENTS = { perSecond: 10, burst: 20 };
const NOTHING = Buffer.alloc(0);

/** The ends of connections that are their client's mistake; `refused` is one where it is about the CONNECT's form. */
const MISTAKES: ReadonlySet<CloseReason> = new Set([
  ...(["malformed", "protocol_error", "packet_too_large", "topic_alias"] as const),
  ...(["receive_maximum", "connect_timeout"] as const),
]);

/** Judges one connection's packets: README.md, "Order of the checks". */
export class ConnectionGuard implements Guard {
  private compiled: Compiled;
  private isSafe: boolean;
  private version = 5;
  /** Its CONNECT was in order, as far as the protocol goes. */
  private hasConnected = false;
  /** Its one error of protocol is counted. */
  private isMistaken = false;
  private clientId: string | undefined;
  private username: string | undefined;
  private isAdmitted = false;
  private will: Connect["will"];
  private messages: readonly Charge[] = [];
  private subscriptions: readonly Charge[] = [];
  private publishLists: readonly OwnLists[] = [];
  private subscribeLists: readonly OwnLists[] = [];
  private events: TokenBucket | undefined;

  constructor(
    private readonly firewall: Firewall,
    readonly connection: Opened,
  ) {
    this.compiled = firewall.compiled;
    this.isSafe = firewall.isSafe(connection.address);
  }

  /** The connection comes; true: it is to be closed at once. */
  opened(): boolean {
    if (this.isSafe) return false;
    const rates = this.compiled.connections.filter(({ rule }) => rule.per === "address");
    return this.decide(this.connects(rates, this.connection.source, "open")) !== undefined;
  }

  connect(packet: Connect, clientId: string): Verdict | Promise<Verdict> {
    this.renew();
    this.version = packet.version;
    this.hasConnected = true;
    this.clientId = clientId;
    this.username = packet.username;
    this.will = packet.will;
    const refusal = this.lockedOut();
    if (refusal !== undefined) return refusal;
    const { will } = packet;
    return this.inspect(
      "connect",
      will === undefined ? [] : [will.topic],
      will?.payload ?? NOTHING,
      will?.forward,
    );
  }

  auth(detail: string, clientId = this.clientId): void {
    this.renew();
    this.clientId = clientId;
    const { protocol } = this.compiled.rules;
    if (this.mistaken("auth", detail) || protocol === undefined) return;
    this.broken({ id: protocol.id, answer: "log" }, "protocol", "auth", { detail });
  }

  rejected(reason: (Admission & { admitted: false })["reason"]): void {
    if (reason === "server_busy" || this.isSafe) return;
    const { guessing } = this.compiled;
    const user = reason === "bad_credentials" ? this.username : undefined;
    if (this.connection.mode === "block") this.firewall.guessed(this.connection.source, user);
    for (const rule of guessing.failed(this.connection.source, user, this.firewall.clock.now())) {
      this.broken(rule, "guessing", "connect", { detail: "too many wrong passwords" });
    }
  }

  admitted({ clientId, username }: ClientIdentity, holder: Holder | undefined): Verdict {
    this.renew();
    this.clientId = clientId;
    this.username = username;
    // Guesses that were under way when the lock came do not count, either.
    const locked = this.lockedOut();
    if (locked !== undefined) return locked;
    const { connections, guessing } = this.compiled;
    const names = { client: clientId, user: username };
    for (const per of ["client", "user"] as const) {
      const rates = connections.filter(({ rule }) => rule.per === per);
      const refusal = names[per] === undefined ? undefined : this.connects(rates, names[per], "connect");
      if (refusal !== undefined) return this.decide(refusal);
    }
    const taken = holder && this.takesOver(holder);
    if (taken !== undefined) return this.decide(taken);
    this.isAdmitted = true;
    this.prepare();
    const { will } = this;
    this.will = undefined;
    const refusal = will && this.message("connect", will.topic, will.payload);
    if (refusal !== undefined) return this.decide(refusal);
    guessing.succeeded(this.connection.source, username);
    return undefined;
  }

  publish(topic: string, packet: PublishPacket): Verdict | Promise<Verdict> {
    this.renew();
    const { payload, forward } = packet;
    const bytes = topic.length + payload.length + (forward?.length ?? 0);
    const refusal = this.messageRate(topic, bytes) ?? this.message("publish", topic, payload);
    if (refusal !== undefined) return this.decide(refusal);
    if (this.compiled.inspected.size === 0 || this.compiled.inspected.match(topic).length === 0)
      return undefined;
    return this.inspect("publish", [topic], payload, forward);
  }

  subscribe({ filters }: Subscribe): Verdict | Promise<Verdict> {
    this.renew();
    const rated = this.subscriptionRate("subscribe", filters.length);
    if (rated !== undefined) return this.decide(rated);
    const codes: number[] = [];
    for (const { filter } of filters) {
      const refusal = this.filter(filter);
      if (refusal?.action === "disconnect") return this.decide(refusal);
      codes.push(refusal?.code ?? 0);
    }
    const some = codes.find((code) => code !== 0);
    const refusal: Verdict = some === undefined ? undefined : { action: "drop", code: some, filters: codes };
    const content = this.inspect(
      "subscribe",
      filters.map(({ filter }) => filter),
      NOTHING,
      undefined,
    );
    if (content instanceof Promise) return content.then((verdict) => verdict ?? this.decide(refusal));
    return content ?? this.decide(refusal);
  }

  unsubscribe({ filters }: Unsubscribe): Verdict | Promise<Verdict> {
    this.renew();
    const rated = this.subscriptionRate("unsubscribe", filters.length);
    if (rated !== undefined) return this.decide(rated);
    return this.inspect("unsubscribe", filters, NOTHING, undefined);
  }

  closed(reason: CloseReason, detail: string | undefined): void {
    this.firewall.leave(this);
    const isMistake = MISTAKES.has(reason) || (reason === "refused" && !this.hasConnected);
    if (!isMistake || this.isMistaken) return;
    this.mistaken("end", `${reason.replaceAll("_", " ")}${detail === undefined ? "" : `: ${detail}`}`);
  }

  /** Counts an error of protocol, once a connection. @returns whether it is one too many, which has been told then */
  private mistaken(packet: "auth" | "end", what: string): boolean {
    this.isMistaken = true;
    this.firewall.stats.protocol_mistakes += 1;
    const { mistakes, rules } = this.firewall.compiled;
    const { source } = this.connection;
    const now = this.firewall.clock.now();
    if (this.isSafe || mistakes === undefined || mistakes.of(source, now).take(1, now)) return false;
    mistakes.forget(source);
    this.broken(rules.protocol!, "protocol", packet, {
      detail: `too many protocol errors, the last one ${what}`,
    });
    return true;
  }

  /** Between two packets: the rules may be others. */
  private renew(): void {
    if (this.compiled === this.firewall.compiled) return;
    this.compiled = this.firewall.compiled;
    this.isSafe = this.firewall.isSafe(this.connection.address);
    if (this.isAdmitted) this.prepare();
  }

  /** What every packet needs and is the same for all of them. */
  private prepare(): void {
    const { compiled, clientId = "", username } = this;
    const client = { clientId, username };
    this.messages = this.charges(compiled.messages);
    this.subscriptions = this.charges(compiled.subscriptions.map((rate) => ({ ...rate, topics: undefined })));
    this.publishLists = compiled.publishLists.map((lists) => ownLists(lists, client));
    this.subscribeLists = compiled.subscribeLists.map((lists) => ownLists(lists, client));
  }

  private charges(rates: readonly RateOn[]): Charge[] {
    const now = this.firewall.clock.now();
    const names = { client: this.clientId, address: this.connection.source, user: this.username };
    return rates.flatMap((rate): Charge[] => {
      const { per } = rate.rule;
      if (per === "topic") return [{ rate, bucket: undefined }];
      const name = names[per];
      return name === undefined ? [] : [{ rate, bucket: rate.buckets.of(name, now) }];
    });
  }

  private connects(rates: readonly Rate[], name: string, packet: "open" | "connect"): Verdict {
    const now = this.firewall.clock.now();
    for (const { rule, buckets } of rates) {
      if (buckets.of(name, now).take(1, now)) continue;
      const refusal = this.broken(rule, "connections", packet, {
        detail: `too many connections of this ${rule.per}`,
      });
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  private lockedOut(): Verdict {
    if (this.isSafe) return undefined;
    const { source } = this.connection;
    const rule = this.compiled.guessing.locked(source, this.username, this.firewall.clock.now());
    if (rule === undefined) return undefined;
    return this.decide(
      this.broken(rule, "guessing", "connect", { detail: "locked after too many wrong passwords" }),
    );
  }

  private takesOver(holder: Holder): Verdict {
    const rule = this.compiled.rules.takeOver;
    if (rule === undefined) return undefined;
    const isOtherUser = holder.username !== this.username;
    const isElsewhere = rule.by === "address" && addressOf(holder.peer) !== this.connection.address;
    if (!isOtherUser && !isElsewhere) return undefined;
    const who = isOtherUser ? `user ${holder.username ?? "(none)"}` : holder.peer;
    return this.broken(rule, "take-over", "connect", { detail: `the client is connected as ${who}` });
  }

  /** @param bytes of topic, properties and payload */
  private messageRate(topic: string, bytes: number): Verdict {
    const now = this.firewall.clock.now();
    for (const { rate, bucket } of this.messages) {
      const { rule, topics, buckets } = rate;
      if (topics !== undefined && topics.match(topic).length === 0) continue;
      const account = bucket ?? buckets.of(topic, now);
      if (account.take(rule.of === "bytes" ? bytes : 1, now)) continue;
      const detail = `too many ${rule.of} of this ${rule.per}`;
      const refusal = this.broken(rule, "rate", "publish", { topic, detail });
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  private subscriptionRate(packet: "subscribe" | "unsubscribe", count: number): Verdict {
    const now = this.firewall.clock.now();
    for (const { rate, bucket } of this.subscriptions) {
      if (bucket!.take(count, now)) continue;
      const detail = `too many subscriptions of this ${rate.rule.per}`;
      const refusal = this.broken(rate.rule, "subscriptions", packet, { detail });
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  /** A message's topic and payload; of a CONNECT it is the will. */
  private message(packet: "connect" | "publish", topic: string, payload: Buffer): Verdict {
    for (const lists of this.publishLists) {
      const detail = topicRefused(lists, topic);
      if (detail === undefined) continue;
      const refusal = this.broken(lists.lists.rule, "topic", packet, { topic, detail });
      if (refusal !== undefined) return refusal;
    }
    for (const { rule, kind, detail } of this.compiled.payloads.faults(topic, payload)) {
      const refusal = this.broken(rule, kind, packet, { topic, detail, payload });
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  private filter(given: string): Verdict {
    const topic = topicFilterOf(given);
    const { subscribeAll } = this.compiled.rules;
    if (subscribeAll !== undefined && asksForAll(topic)) {
      const refusal = this.broken(subscribeAll, "topic", "subscribe", {
        topic,
        detail: "asks for all topics",
      });
      if (refusal !== undefined) return refusal;
    }
    for (const lists of this.subscribeLists) {
      const detail = filterRefused(lists, topic);
      if (detail === undefined) continue;
      const refusal = this.broken(lists.lists.rule, "topic", "subscribe", { topic, detail });
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  /** Asks the engine, where there is one. In mode detect nobody waits for it. */
  private inspect(
    kind: ContentRequest["kind"],
    topics: readonly string[],
    payload: Buffer,
    forward: Buffer | undefined,
  ): Verdict | Promise<Verdict> {
    const { engine } = this.firewall;
    if (engine === undefined || this.compiled.rules.content === undefined) return undefined;
    const { clientId = "", username } = this;
    const { address: peer } = this.connection;
    const words = wordsOf(forward);
    const verdict = engine.inspect({ kind, topics, clientId, username, peer, payload, ...words });
    const judge = (given: ContentVerdict) => this.decide(this.judged(kind, topics[0], payload, given));
    if (!(verdict instanceof Promise)) return judge(verdict);
    const judged = verdict.then(judge);
    return this.connection.mode === "block" ? judged : undefined;
  }

  private judged(
    packet: ContentRequest["kind"],
    topic: string | undefined,
    payload: Buffer,
    verdict: ContentVerdict,
  ): Verdict {
    const { content } = this.compiled.rules;
    if (content === undefined) return undefined;
    if ("failed" in verdict) this.firewall.stats.content_failed += 1;
    for (const [rule, about] of findings(content, this.connection.mode, verdict, topic, payload)) {
      const refusal = this.broken(rule, "content", packet, about);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  /** Counts, tells, and says what is to be done about it in mode block. */
  private broken(rule: Rule, kind: Kind, packet: PacketName, about: About): Verdict {
    const { firewall, isSafe } = this;
    const { mode } = this.connection;
    // Whoever is safe is not shut out, nor with somebody else.
    const isSpared = rule.answer === "quarantine" && (isSafe || firewall.isShared(this.connection.source));
    const answer = isSpared ? "disconnect" : rule.answer;
    const now = firewall.clock.now();
    firewall.count(rule.id, mode, answer);
    this.events ??= new TokenBucket(EVENTS, now);
    if (firewall.mayTell(this.events, now)) firewall.tell(this.event(rule.id, answer, kind, packet, about));
    if (answer === "quarantine" && mode === "block") firewall.shutOut(rule.id, this);
    return this.refusal(answer, kind, packet);
  }

  private event(rule: string, answer: Answer, kind: Kind, packet: PacketName, about: About): FirewallEvent {
    const { mode, listener, peer } = this.connection;
    const { topic, detail, payload, contentRule } = about;
    const matched = about.matched ?? (payload === undefined ? undefined : excerpt(payload));
    const { clientId: client, username: user } = this;
    return {
      rule,
      kind,
      answer,
      mode,
      packet,
      listener,
      peer,
      client,
      user,
      topic,
      detail,
      matched,
      contentRule,
    };
  }

  private refusal(answer: Answer, kind: Kind, packet: PacketName): Verdict {
    if (answer === "log") return undefined;
    const hasNoCodes = this.version < 5 && packet === "publish";
    const ends = answer !== "drop" || (hasNoCodes && this.compiled.rules.mqtt3 === "disconnect");
    return { action: ends ? "disconnect" : "drop", code: codeOf(kind, packet, ends) };
  }

  /** What is done of it. */
  private decide(refusal: Refusal | undefined): Verdict {
    return this.connection.mode === "block" ? refusal : undefined;
  }
}
