import type { Timer } from "@topicast/protocol";
import { PacketError } from "@topicast/protocol";
import type { ByteStream } from "../transport/transport.js";
import { AnswerQueue } from "./answers.js";
import { decode, type ProtocolVersion } from "./codec/decode.js";
import { encodeDisconnect } from "./codec/encode.js";
import {
  type CloseReason,
  closeReason,
  DISCONNECT_CODES,
  disconnectCode,
  FramingError,
} from "./codec/errors.js";
import { FrameReader } from "./codec/frames.js";
import { Outbox } from "./outbox.js";
import type { Outgoing } from "./outgoing.js";
import { handleConnect } from "./packets/connect.js";
import { handlePacket } from "./packets/index.js";
import type { Guard, Refusal } from "./screen.js";
import type { Server } from "./server.js";
import type { Session } from "./session.js";

/**
 * One client's byte stream: cuts out packets and hands them to their handlers, keeps the time limits, holds reading
 * while too much waits for an answer, and closes.
 */
export class Connection {
  readonly outbox: Outbox;
  /** PUBACK and PUBREC. */
  readonly acks = new AnswerQueue<Buffer>((packet) => this.outbox.push(packet));
  /** SUBACK and UNSUBACK, with what follows them. */
  readonly grants = new AnswerQueue<() => void>((give) => give());
  version: ProtocolVersion = 4;
  /** Set by CONNECT; until then nothing but a CONNECT is taken. */
  session: Session | undefined = undefined;
  /** The messages' way out; set together with the session. */
  outgoing!: Outgoing;
  /** The client asked to be told reasons in words. */
  wantsReasons = false;
  /** Topics by the aliases that the client has given them (MQTT 5, section 3.3.2.3.4). */
  readonly aliases = new Map<number, string>();
  /** Identifiers of the QoS 1 and 2 messages that the client waits for: they count towards Receive Maximum. */
  readonly receiving = new Set<number>();
  /** What has come again of the QoS 2 messages among them: a digest of each one's last repetition. */
  readonly repeated = new Map<number, string>();

  private readonly reader: FrameReader;
  private state: "open" | "closing" | "closed" = "open";
  private timer: Timer;
  private keepAliveMs = 0;
  private lastReceived = 0;
  private pending = 0;
  private held = false;
  /** The client sends nothing any more; what it has sent may not be handled yet. */
  private hasEnded = false;
  /** The client has gone in order, and some of its packets are not answered yet. */
  private leaving = false;
  /** What must be known before the client is let in. */
  private questions = 0;

  constructor(
    readonly server: Server,
    readonly stream: ByteStream,
    /** Judges what the client sends; undefined: nothing does. */
    readonly guard?: Guard,
  ) {
    const { clock, limits, stats, flusher } = server;
    this.reader = new FrameReader(limits.packetBytes);
    const durable = server.journal && (() => server.journal!.durable());
    this.outbox = new Outbox(stream, limits, stats, flusher, () => this.hasRoom(), durable);
    this.timer = clock.setTimer(limits.connectTimeoutMs, () =>
      this.close(this.questions > 0 ? "unanswered" : "connect_timeout"),
    );
    stream.on("data", (chunk: Buffer) => this.received(chunk));
    stream.on("drain", () => this.outbox.drained());
    stream.on("end", () => this.peerEnded());
    stream.on("error", (error) => this.close("stream_error", error.message));
    stream.on("close", () => this.closed());
  }

  get isOpen(): boolean {
    return this.state === "open";
  }

  /**
   * Starts the keep-alive of the session: after one and a half times `seconds` without a packet the connection is
   * closed (MQTT-3.1.2-22); 0 is never.
   */
  startKeepAlive(seconds: number): void {
    if (this.hasEnded) return this.awaitLastWords();
    this.timer.cancel();
    this.keepAliveMs = seconds * 1_500;
    if (this.keepAliveMs > 0) this.timer = this.server.clock.setTimer(this.keepAliveMs, this.checkKeepAlive);
  }

  /** Reads nothing more until `admitted`: whether the client is let in is being looked up. */
  awaitAdmission(): void {
    this.questions += 1;
    this.hold();
  }

  admitted(): void {
    this.questions -= 1;
    this.unhold();
  }

  /** What `handle` changes of sessions is written before anything leaves that it sends. */
  promising(handle: () => void): void {
    const { changes } = this.server;
    handle();
    if (changes !== this.server.changes) this.outbox.commit();
  }

  /** One more packet whose answer waits for the uplink; `settled` when it has been answered. */
  pend(): void {
    this.pending += 1;
  }

  settled(): void {
    this.pending -= 1;
    if (this.leaving && this.pending === 0) this.leave();
    else this.unhold();
  }

  /**
   * Closes in order: an MQTT 5 client is told why, what is queued is written, then the stream is ended, and it is reset
   * when the client leaves its side open for too long. Whoever goes by itself may still read what its packets are answered:
   * that is waited for, `Limits.lingerMs` at most. Does nothing when already closing.
   * @param isTold false where the client is not to be sent anything
   * @param code what an MQTT 5 client is told; undefined: nothing
   */
  close(reason: CloseReason, detail?: string, isTold = true, code = DISCONNECT_CODES[reason]): void {
    if (this.state !== "open") {
      if (reason === "uplink_error") this.leave();
      return;
    }
    this.state = "closing";
    this.guard?.closed(reason, detail);
    const { server, stream } = this;
    this.timer.cancel();
    server.stats.closed(reason);
    server.log?.info({ peer: stream.peer, client: this.session?.clientId, reason, detail }, "client closed");
    if (isTold) this.tell(code, detail);
    this.leaving = this.pending > 0 && (reason === "disconnect" || reason === "peer_closed");
    if (this.leaving) this.timer = server.clock.setTimer(server.limits.lingerMs, () => this.leave());
    // Before the session hears of it: what is queued for the client leaves, and nothing new is queued for it.
    else this.end();
    server.detach(this);
    // What the client still sends is read and thrown away, so that it can read why it was closed before a reset.
    this.held = false;
    stream.resume();
  }

  /** All that the client waited for is answered, or will not be. */
  private leave(): void {
    if (!this.leaving || this.state !== "closing") return;
    this.leaving = false;
    this.timer.cancel();
    this.end();
  }

  private end(): void {
    const { clock, limits } = this.server;
    this.timer = clock.setTimer(limits.lingerMs, () => this.stream.destroy());
    this.outbox.end();
  }

  /** Closes where the screen asks for that; false: it does not. */
  endedBy(refusal: Refusal | undefined): boolean {
    if (refusal?.action !== "disconnect") return false;
    this.close("screened", undefined, true, refusal.code);
    return true;
  }

  /** DISCONNECT, in words where the client asked for them and takes a packet as large (MQTT-3.14.2-3). */
  private tell(code: number | undefined, detail: string | undefined): void {
    if (code === undefined || this.version !== 5 || this.session === undefined) return;
    const inWords = encodeDisconnect(code, this.wantsReasons ? detail : undefined);
    const packet = this.outgoing.takes(inWords.length) ? inWords : encodeDisconnect(code, undefined);
    if (this.outgoing.takes(packet.length)) this.outbox.push(packet);
  }

  private received(chunk: Buffer): void {
    if (this.state !== "open") return;
    const { server } = this;
    server.stats.bytes_received += chunk.length;
    this.lastReceived = server.clock.now();
    this.reader.push(chunk);
    this.work();
  }

  /** What the client has sent before is handled first, also where that is held: its DISCONNECT may be behind it. */
  private peerEnded(): void {
    this.hasEnded = true;
    if (!this.held) this.close("peer_closed");
    // Until its CONNECT is answered the time for that runs.
    else if (this.session !== undefined) this.awaitLastWords();
  }

  private awaitLastWords(): void {
    const { clock, limits } = this.server;
    this.timer.cancel();
    this.timer = clock.setTimer(limits.lingerMs, () => this.close("peer_closed"));
  }

  /** Handles what has arrived until there is no whole packet left, or reading is held. */
  private work(): void {
    try {
      while (this.state === "open" && !this.held) {
        const frame = this.reader.next();
        if (frame === undefined) {
          if (this.hasEnded) this.close("peer_closed");
          return;
        }
        this.server.stats.packets_received += 1;
        const { changes } = this.server;
        if (this.session === undefined) this.connectInTurn(frame);
        else handlePacket(this, this.session, decode(frame, this.version));
        if (changes !== this.server.changes) this.outbox.commit();
        if (this.isWaiting || this.unanswered >= this.server.limits.pendingAcks) this.hold();
      }
    } catch (error) {
      this.failed(error);
    }
  }

  /** What a packet's handler has thrown. */
  private failed(error: unknown): void {
    if (error instanceof PacketError) {
      const isTold = !(error instanceof FramingError);
      this.close(closeReason(error), error.message, isTold, disconnectCode(error));
    } else {
      this.server.log?.error({ peer: this.stream.peer, err: error }, "packet handler failed");
      this.close("internal_error");
    }
  }

  /** Handles the CONNECT, now or, where too many others came before in this turn of the event loop, when it is its turn. */
  private connectInTurn(frame: Buffer): void {
    const isNow = this.server.turns.take(() => {
      try {
        if (this.isOpen) this.promising(() => handleConnect(this, frame));
      } catch (error) {
        this.failed(error);
      }
      this.admitted();
    });
    if (isNow) handleConnect(this, frame);
    else this.awaitAdmission();
  }

  private hasRoom(): void {
    if (this.state !== "open") return;
    this.session?.pump();
    this.unhold();
  }

  /**
   * What comes next must wait: until the client is let in, until it reads its acknowledgements, or, where it has as many
   * messages unacknowledged as it may, until the uplink has had its say; what it has sent meanwhile is not its fault.
   */
  private get isWaiting(): boolean {
    const isFull = this.version === 5 && this.receiving.size >= this.server.limits.receiveMaximum;
    return this.questions > 0 || this.outbox.congested || (isFull && this.pending > 0);
  }

  /** Packets whose answers wait: for the uplink, or for those of packets before them. */
  private get unanswered(): number {
    return Math.max(this.pending, this.acks.length + this.grants.length);
  }

  private hold(): void {
    if (this.state !== "open" || this.held) return;
    this.held = true;
    this.server.stats.reads_held += 1;
    this.stream.pause();
  }

  private unhold(): void {
    if (!this.held || this.isWaiting || this.unanswered > this.server.limits.pendingAcks / 2) return;
    this.held = false;
    // The time while nothing was read is not the client's silence.
    this.lastReceived = this.server.clock.now();
    this.work();
    if (!this.held) this.stream.resume();
  }

  /** The timer is not moved with each packet; it looks when the last one came, and waits for the rest. */
  private readonly checkKeepAlive = (): void => {
    const { clock } = this.server;
    const isWaitingForUplink = this.held && !this.outbox.congested;
    const silent = isWaitingForUplink ? 0 : clock.now() - this.lastReceived;
    if (silent >= this.keepAliveMs) this.close("keep_alive");
    else this.timer = clock.setTimer(this.keepAliveMs - silent, this.checkKeepAlive);
  };

  private closed(): void {
    this.close("stream_error", "closed without end");
    this.state = "closed";
    this.timer.cancel();
    this.outbox.abandon();
    this.server.remove(this);
  }
}
