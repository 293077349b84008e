import { randomUUID } from "node:crypto";
import { levelCount, PacketError, ReasonCode } from "@topicast/protocol";
import type { IConnackPacket } from "mqtt-packet";
import type { Admission, ClientIdentity } from "../authority.js";
import { type Connect, protocolLevel, readConnect, type WillRequest } from "../codec/connect.js";
import { encodeConnack, encodeDisconnect } from "../codec/encode.js";
import { FramingError } from "../codec/errors.js";
import type { Connection } from "../connection.js";
import { willOf } from "../durable/adopt.js";
import type { Feature, Limits } from "../limits.js";
import { Outgoing } from "../outgoing.js";
import type { Holder, Refusal as Screened, Verdict } from "../screen.js";
import type { Stats } from "../stats.js";

/** What the client is promised, and told of in CONNACK. */
interface Terms {
  /** In seconds. */
  readonly keepAlive: number;
  readonly properties: NonNullable<IConnackPacket["properties"]>;
}

/** A counter that tells what clients are refused for. */
type Refusal = keyof Stats & `refused_${string}`;

/**
 * The first packet of a connection: CONNECT (MQTT 3.1.1 and 5, section 3.1), answered with CONNACK.
 * @throws PacketError when it is another packet, or malformed and not of MQTT 5: the connection is closed without an
 *   answer (MQTT-3.1.4-1)
 */
export function handleConnect(connection: Connection, frame: Buffer): void {
  const { version, text, fields } = protocolLevel(frame);
  if (version === undefined) {
    // Whatever the version, the refusal has the form of MQTT 5 (MQTT-3.1.2-2).
    connection.version = 5;
    return refuse(connection, ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, "refused_protocol_version", text);
  }
  connection.version = version;
  let connect: Connect;
  try {
    connect = readConnect(fields, version);
  } catch (error) {
    if (version !== 5 || !(error instanceof PacketError) || error instanceof FramingError) throw error;
    return refuse(connection, error.code, "refused_malformed", error.message);
  }
  const clientId = acceptableClientId(connect, connection.server.limits);
  if (clientId === undefined) {
    // As mosquitto has it: of MQTT 5 an empty one is valid, only not here.
    const isEmpty = version === 5 && connect.clientId === "";
    const code = isEmpty ? ReasonCode.UNSPECIFIED_ERROR : ReasonCode.CLIENT_IDENTIFIER_NOT_VALID;
    return refuse(connection, code, "refused_client_id", "client identifier", connect);
  }
  if (connect.authenticationMethod !== undefined) {
    const code = ReasonCode.BAD_AUTHENTICATION_METHOD;
    const detail = `authentication method ${connect.authenticationMethod}`;
    connection.guard?.auth(detail, clientId);
    return refuse(connection, code, "refused_authentication_method", detail, connect);
  }
  screened(connection, clientId, connection.guard?.connect(connect, clientId), (refusal) => {
    if (refusal === undefined) authenticate(connection, connect, clientId);
    else refuseScreened(connection, connect, refusal);
  });
}

/** Goes on with what the screen has said; where that takes time, reads nothing more from the client until then. */
export function screened(
  connection: Connection,
  clientId: string,
  verdict: Verdict | Promise<Verdict>,
  act: (refusal: Verdict) => void,
): void {
  if (!(verdict instanceof Promise)) return act(verdict);
  goOnWith(connection, clientId, verdict, (refusal) => {
    if (connection.isOpen) act(refusal);
  });
}

function refuseScreened(connection: Connection, connect: Connect, { code }: Screened): void {
  refuse(connection, code, "refused_screened", "refused by the firewall", connect);
}

/** The client's identifier, one assigned to it, or undefined where it is to be refused (MQTT-3.1.3-5 to -9). */
function acceptableClientId({ clientId, clean, version }: Connect, limits: Limits): string | undefined {
  if (clientId !== "") return Buffer.byteLength(clientId) <= limits.clientIdBytes ? clientId : undefined;
  // MQTT 3.1 has no empty identifiers, 3.1.1 has them for clean sessions only.
  if (version === 3 || (version === 4 && !clean) || limits.without.includes("empty-ids")) return undefined;
  return `auto-${randomUUID()}`;
}

function authenticate(connection: Connection, connect: Connect, clientId: string): void {
  const { server, stream } = connection;
  const { username, password } = connect;
  const { identity, peer, listener } = stream;
  const answer = server.authority.authenticate({ clientId, username, password, identity, peer, listener });
  if (!(answer instanceof Promise)) return admit(connection, connect, clientId, answer);
  const failed = (error: unknown): Admission => {
    server.log?.error({ peer, client: clientId, err: error }, "authentication failed");
    return { admitted: false, reason: "not_authorized" };
  };
  goOnWith(connection, clientId, answer.catch(failed), (admission) => {
    if (connection.isOpen) admit(connection, connect, clientId, admission);
  });
}

/** Reads nothing more from the client before the answer is there, and has been acted on. */
function goOnWith<T>(
  connection: Connection,
  clientId: string,
  answer: Promise<T>,
  act: (answer: T) => void,
): void {
  connection.awaitAdmission();
  answer.then((value) => {
    try {
      connection.promising(() => act(value));
    } catch (error) {
      const { peer } = connection.stream;
      connection.server.log?.error({ peer, client: clientId, err: error }, "CONNECT failed");
      connection.close("internal_error");
    }
    connection.admitted();
  });
}

function admit(connection: Connection, connect: Connect, clientId: string, admission: Admission): void {
  const { server } = connection;
  if (!admission.admitted) {
    const { reason } = admission;
    connection.guard?.rejected(reason);
    const counter = reason === "server_busy" ? "refused_busy" : "refused_credentials";
    return refuse(connection, codeOf(reason, connect), counter, reason.replaceAll("_", " "), connect);
  }
  if (connect.version !== 5 && connect.keepAlive > server.limits.keepAliveSeconds) {
    // It cannot be told another one. mosquitto answers so, for want of a code of its own.
    const code = ReasonCode.CLIENT_IDENTIFIER_NOT_VALID;
    return refuse(connection, code, "refused_keep_alive", `keep-alive ${connect.keepAlive}`, connect);
  }
  const { username } = admission;
  const client: ClientIdentity = { clientId, username, listener: connection.stream.listener };
  const refusal = connect.will && willRefusal(connection, connect.will, client);
  if (refusal !== undefined) {
    return refuse(connection, refusal.code, "refused_will", refusal.message, connect);
  }
  const terms = termsFor(connect, clientId, server.limits);
  // Before anything changes: it cannot be told that it was let in (MQTT-3.1.2-24).
  const connack = encodeConnack(connect.version, ReasonCode.SUCCESS, false, terms.properties)!;
  if (connack.length > connect.maximumPacketSize)
    return connection.close("packet_too_large", "CONNACK", false);
  const verdict = connection.guard?.admitted(client, holderOf(connection, clientId));
  if (verdict !== undefined) return refuseScreened(connection, connect, verdict);
  // Nobody else has an identifier that was assigned.
  const claim = clientId === connect.clientId ? server.claim(clientId, connect.clean) : undefined;
  if (claim === undefined) return open(connection, connect, client, terms);
  goOnWith(connection, clientId, claim, (isOurs) => {
    if (!isOurs) supersede(connection, connect, terms);
    else if (connection.isOpen) open(connection, connect, client, terms);
    else server.unclaim(clientId);
  });
}

/**
 * The client has connected once more meanwhile, here or elsewhere: it is answered as if it had been let in before that, and
 * taken over then (MQTT-3.1.4-3). Its other connection has the session: nobody is told that there is none.
 */
function supersede(connection: Connection, { version, clean }: Connect, { properties }: Terms): void {
  if (connection.isOpen) {
    const { outbox } = connection;
    outbox.push(encodeConnack(version, ReasonCode.SUCCESS, !clean, properties)!);
    if (version === 5) outbox.push(encodeDisconnect(ReasonCode.SESSION_TAKEN_OVER, undefined));
  }
  connection.close("taken_over");
}

/**
 * Whoever presents a wrong password is not authorized, as mosquitto has it, without being told which of name and password is
 * wrong; of MQTT 3.1's return codes (section 3.2) 4 says the same, of 3.1.1's that they are malformed.
 */
function codeOf(reason: (Admission & { admitted: false })["reason"], { version }: Connect): number {
  if (reason === "server_busy") return ReasonCode.SERVER_BUSY;
  if (reason === "bad_credentials" && version === 3) return ReasonCode.BAD_USER_NAME_OR_PASSWORD;
  return ReasonCode.NOT_AUTHORIZED;
}

function holderOf({ server }: Connection, clientId: string): Holder | undefined {
  const session = server.sessions.get(clientId);
  if (session?.connection === undefined) return undefined;
  return { username: session.client.username, peer: session.connection.stream.peer };
}

function open(connection: Connection, connect: Connect, client: ClientIdentity, terms: Terms): void {
  const { server } = connection;
  const { clientId, username } = client;
  const opened = server.openSession(connection, connect, client);
  if (opened === undefined) {
    server.unclaim(clientId);
    return refuse(connection, ReasonCode.SERVER_BUSY, "refused_sessions", "too many sessions", connect);
  }
  const { session, isPresent } = opened;
  const { limits, stats, now } = server;
  connection.session = session;
  connection.wantsReasons = connect.wantsReasons;
  connection.outgoing = new Outgoing(connect, limits, connection.outbox, stats, now);
  if (connect.will !== undefined) server.setWill(session, willOf(ownWill(connect.will)));
  session.journal?.head(session);
  connection.startKeepAlive(terms.keepAlive);
  connection.outbox.push(encodeConnack(connect.version, ReasonCode.SUCCESS, isPresent, terms.properties)!);
  server.log?.info(
    {
      peer: connection.stream.peer,
      client: clientId,
      protocolLevel: connect.version,
      user: username,
      resumed: isPresent,
    },
    "client connected",
  );
  session.delivery.connect(connection.outgoing);
  session.retained.connect(connection.outgoing);
  session.pump();
}

function refuse(
  connection: Connection,
  code: number,
  counter: Refusal,
  detail: string,
  connect?: Connect,
): void {
  connection.server.stats[counter] += 1;
  const { version, outbox } = connection;
  const largest = connect?.maximumPacketSize ?? Number.POSITIVE_INFINITY;
  const inWords = connect?.wantsReasons ? { reasonString: detail } : {};
  // In words only where the client takes a packet as large (MQTT-3.2.2-19).
  const connack = [inWords, {}]
    .map((properties) => encodeConnack(version, code, false, properties))
    .find((packet) => packet !== undefined && packet.length <= largest);
  if (connack !== undefined) outbox.push(connack);
  connection.close("refused", detail);
}

/** What the client must know of this server that is not as it asked, or not the standard's default. */
function termsFor(connect: Connect, clientId: string, limits: Limits): Terms {
  const keepAlive = keepAliveOf(connect, limits);
  const sessionExpiry = Math.min(connect.sessionExpiry, limits.sessionExpirySeconds);
  const { topicAliases, maximumQos } = limits;
  const isWithout = (feature: Feature) => limits.without.includes(feature);
  // In mosquitto's order, which its suite looks for.
  const properties = {
    ...(keepAlive === connect.keepAlive ? {} : { serverKeepAlive: keepAlive }),
    ...(topicAliases === 0 ? {} : { topicAliasMaximum: topicAliases }),
    ...(clientId === connect.clientId ? {} : { assignedClientIdentifier: clientId }),
    ...(sessionExpiry === connect.sessionExpiry ? {} : { sessionExpiryInterval: sessionExpiry }),
    ...(isWithout("retain") ? { retainAvailable: false } : {}),
    maximumPacketSize: limits.packetBytes,
    receiveMaximum: limits.receiveMaximum,
    ...(maximumQos === 2 ? {} : { maximumQoS: maximumQos }),
    ...(isWithout("wildcards") ? { wildcardSubscriptionAvailable: false } : {}),
    ...(isWithout("subscription-ids") ? { subscriptionIdentifiersAvailable: false } : {}),
    ...(isWithout("shared") ? { sharedSubscriptionAvailable: false } : {}),
  };
  return { keepAlive, properties };
}

/** The keep-alive in force, in seconds: an MQTT 5 client can be told another one than it asked for (MQTT-3.1.2-21). */
function keepAliveOf({ keepAlive, version }: Connect, { keepAliveSeconds }: Limits): number {
  if (version !== 5 || keepAliveSeconds === 65_535) return keepAlive;
  return keepAlive === 0 ? keepAliveSeconds : Math.min(keepAlive, keepAliveSeconds);
}

/** What a message asks for that this server does not offer (MQTT-3.2.2-12, -13; sections 3.2.2.3.4 and 3.2.2.3.5). */
export function unsupportedOf(
  { qos, retain }: { readonly qos: number; readonly retain: boolean },
  { maximumQos, without }: Limits,
): PacketError | undefined {
  if (qos > maximumQos)
    return new PacketError(ReasonCode.QOS_NOT_SUPPORTED, `QoS ${qos}, at most ${maximumQos}`);
  if (retain && without.includes("retain"))
    return new PacketError(ReasonCode.RETAIN_NOT_SUPPORTED, "retained message");
  return undefined;
}

function willRefusal(
  { server }: Connection,
  will: WillRequest,
  client: ClientIdentity,
): PacketError | undefined {
  const { topic } = will;
  const unsupported = unsupportedOf(will, server.limits);
  if (unsupported !== undefined) return unsupported;
  const levels = levelCount(topic);
  if (levels > server.limits.topicLevels) {
    return new PacketError(ReasonCode.TOPIC_NAME_INVALID, `will topic of ${levels} levels`);
  }
  if (!server.authority.mayPublish(client, topic) || isReserved(topic)) {
    return new PacketError(ReasonCode.NOT_AUTHORIZED, "will topic");
  }
  return undefined;
}

/** Where a mosquitto bridge says of itself whether it is connected: by a will, and it does not connect without. */
const BRIDGE_STATE = /^\$SYS\/broker\/connection\/[^/]+\/state$/;

/** Topics that only the server publishes on, and those that no message can have (4.7.2, MQTT-4.8.2). */
export function isReserved(topic: string): boolean {
  if (topic.charCodeAt(0) !== 0x24) return false;
  return topic.startsWith("$share/") || (topic.startsWith("$SYS/") && !BRIDGE_STATE.test(topic));
}

/** The will lives as long as the connection, what the CONNECT arrived in need not. */
function ownWill(will: WillRequest): WillRequest {
  return { ...will, payload: Buffer.from(will.payload), forward: will.forward && Buffer.from(will.forward) };
}
