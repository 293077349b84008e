import * as answers from "./answers.js";
import * as commands from "./commands.js";
import { FormatError, formatDpid, type RyuError } from "./errors.js";
import { type Answer, type Call, type CallOptions, HttpConnection } from "./http.js";
import { type JsonValue, parseJson } from "./json.js";
import { pythonLiteral } from "./literal.js";
import { Fields, readList } from "./read.js";
import type * as stats from "./stats.js";
import * as topology from "./topology.js";

export interface RyuClientOptions {
  /** Base URL of Ryu's REST interface, e.g. `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Default time-out of a call in milliseconds. Default 5000; Ryu itself waits up to 1000 for a switch. */
  readonly timeoutMs?: number;
  /** Connections kept to Ryu; calls beyond wait for one. Default 8. */
  readonly maxConnections?: number;
  /** Calls under way or waiting; more are refused with kind `overloaded`. Default 4096. */
  readonly maxPending?: number;
  /** Longest answer that is read, in bytes. Default 64 MiB (about 200,000 flows). */
  readonly maxAnswerBytes?: number;
}

/** Ryu waits this long (ofctl_utils.DEFAULT_TIMEOUT, 1 s) for a switch's statistics before it answers without them. */
const SILENCE_MS = 990;

type OptionalId = number | undefined;

/**
 * A client for ofctl_rest and rest_topology of one Ryu. Every method rejects with a RyuError.
 *
 * Commands resolve when Ryu has queued the message for the switch, *before* the switch has judged it: an error of the
 * switch (group exists, bad match …) shows only in what statistics say afterwards. A statistics call made after
 * a command's promise has resolved reflects that command, since Ryu and the switch keep the order.
 */
export class RyuClient {
  private readonly http: HttpConnection;
  readonly url: string;

  constructor(options: RyuClientOptions) {
    this.url = options.url.replace(/\/$/, "");
    this.http = new HttpConnection({
      url: this.url,
      timeoutMs: options.timeoutMs ?? 5000,
      maxConnections: options.maxConnections ?? 8,
      maxPending: options.maxPending ?? 4096,
      maxAnswerBytes: options.maxAnswerBytes ?? 64 * 1024 * 1024,
    });
  }

  /** Calls that have been made and not yet answered. */
  get pending(): number {
    return this.http.pending;
  }

  /** Closes the connections; calls under way and later ones fail with kind `aborted`. */
  close(): void {
    this.http.close();
  }

  // ---- ofctl_rest: what the switches say -----------------------------------------------------------------------

  /** The datapath ids of all connected switches. */
  async switches(options: CallOptions = {}): Promise<bigint[]> {
    const call: Call = { method: "GET", path: "/stats/switches", read: true };
    const answer = await this.http.send(call, options);
    return this.understand(call, answer, (value) => {
      if (!Array.isArray(value)) throw new FormatError("the answer is not a list");
      return value.map((dpid, i) => Fields.of({ dpid }, `switches[${i}]`).u64("dpid"));
    });
  }

  desc(dpid: bigint, options?: CallOptions): Promise<stats.SwitchDesc> {
    return this.one("desc", dpid, [], undefined, answers.readDesc, options);
  }

  /** The flows that agree with the filter; all flows of all tables without one. */
  flows(dpid: bigint, filter?: commands.FlowFilter, options?: CallOptions): Promise<stats.FlowStats[]> {
    return this.list("flow", dpid, [], filter, answers.readFlow, options);
  }

  /** The same answer as `flows`, by ofctl_rest's other path for it. */
  flowDesc(dpid: bigint, filter?: commands.FlowFilter, options?: CallOptions): Promise<stats.FlowStats[]> {
    return this.list("flowdesc", dpid, [], filter, answers.readFlow, options);
  }

  /** The sum over the flows that agree with the filter. */
  aggregateFlow(
    dpid: bigint,
    filter?: commands.FlowFilter,
    options?: CallOptions,
  ): Promise<stats.AggregateStats> {
    return this.first("aggregateflow", dpid, filter, answers.readAggregate, options);
  }

  tables(dpid: bigint, options?: CallOptions): Promise<stats.TableStats[]> {
    return this.list("table", dpid, [], undefined, answers.readTable, options);
  }

  tableFeatures(dpid: bigint, options?: CallOptions): Promise<stats.TableFeatures[]> {
    return this.list("tablefeatures", dpid, [], undefined, answers.readTableFeatures, options);
  }

  /** Counters of all ports or of one. */
  ports(dpid: bigint, portNo?: number, options?: CallOptions): Promise<stats.PortStats[]> {
    return this.list("port", dpid, [portNo], undefined, answers.readPort, options);
  }

  portDesc(dpid: bigint, portNo?: number, options?: CallOptions): Promise<stats.PortDesc[]> {
    // Before OpenFlow 1.5 a switch describes all its ports or none.
    return this.list("portdesc", dpid, [portNo], undefined, answers.readPortDesc, options).then((ports) =>
      portNo === undefined ? ports : ports.filter((port) => port.portNo === portNo),
    );
  }

  queues(
    dpid: bigint,
    portNo?: number,
    queueId?: number,
    options?: CallOptions,
  ): Promise<stats.QueueStats[]> {
    return this.list("queue", dpid, [portNo, queueId], undefined, answers.readQueue, options);
  }

  queueConfig(dpid: bigint, portNo?: number, options?: CallOptions): Promise<stats.QueueConfig[]> {
    return this.list("queueconfig", dpid, [portNo], undefined, answers.readQueueConfig, options);
  }

  /** OpenFlow 1.4 and later only: kind `unsupported` from a 1.3 switch. The answer comes as ofctl_rest gives it. */
  queueDesc(dpid: bigint, portNo?: number, queueId?: number, options?: CallOptions): Promise<JsonValue[]> {
    return this.list("queuedesc", dpid, [portNo, queueId], undefined, (f) => f.members(), options);
  }

  meters(dpid: bigint, meterId?: number, options?: CallOptions): Promise<stats.MeterStats[]> {
    return this.list("meter", dpid, [meterId], undefined, answers.readMeter, options);
  }

  meterConfig(dpid: bigint, meterId?: number, options?: CallOptions): Promise<stats.MeterConfig[]> {
    return this.list("meterconfig", dpid, [meterId], undefined, answers.readMeterConfig, options);
  }

  /** OpenFlow 1.5 and later only: kind `unsupported` from a 1.3 switch. The answer comes as ofctl_rest gives it. */
  meterDesc(dpid: bigint, meterId?: number, options?: CallOptions): Promise<JsonValue[]> {
    return this.list("meterdesc", dpid, [meterId], undefined, (f) => f.members(), options);
  }

  meterFeatures(dpid: bigint, options?: CallOptions): Promise<stats.MeterFeatures> {
    return this.first("meterfeatures", dpid, undefined, answers.readMeterFeatures, options);
  }

  groups(dpid: bigint, groupId?: number, options?: CallOptions): Promise<stats.GroupStats[]> {
    return this.list("group", dpid, [groupId], undefined, answers.readGroup, options);
  }

  groupDesc(dpid: bigint, groupId?: number, options?: CallOptions): Promise<stats.GroupDesc[]> {
    // Before OpenFlow 1.5 a switch describes all its groups or none.
    return this.list("groupdesc", dpid, [groupId], undefined, answers.readGroupDesc, options).then(
      (groups) => (groupId === undefined ? groups : groups.filter((group) => group.groupId === groupId)),
    );
  }

  groupFeatures(dpid: bigint, options?: CallOptions): Promise<stats.GroupFeatures> {
    return this.first("groupfeatures", dpid, undefined, answers.readGroupFeatures, options);
  }

  /** The role of this Ryu at the switch. */
  role(dpid: bigint, options?: CallOptions): Promise<stats.Role> {
    return this.first("role", dpid, undefined, answers.readRole, options);
  }

  // ---- ofctl_rest: what the switches shall do ------------------------------------------------------------------

  /** Adds a flow, or replaces the one of the same table, priority and match; counters go on without RESET_COUNTS. */
  addFlow(dpid: bigint, flow: commands.FlowEntry, options?: CallOptions): Promise<void> {
    return this.command("flowentry/add", dpid, () => commands.encodeFlow(flow), options);
  }

  /** Changes the actions of every flow at least as specific as the match, but not its cookie; adds none. */
  modifyFlow(dpid: bigint, flow: commands.FlowEntry, options?: CallOptions): Promise<void> {
    return this.command("flowentry/modify", dpid, () => commands.encodeFlow(flow), options);
  }

  /** Changes the actions of the flow of this table, priority and match; adds none. */
  modifyFlowStrict(dpid: bigint, flow: commands.FlowEntry, options?: CallOptions): Promise<void> {
    return this.command("flowentry/modify_strict", dpid, () => commands.encodeFlow(flow), options);
  }

  /** Deletes every flow at least as specific as the match: with no match, the whole table (default: table 0). */
  deleteFlow(dpid: bigint, selector: commands.FlowSelector, options?: CallOptions): Promise<void> {
    return this.command("flowentry/delete", dpid, () => commands.encodeSelector(selector), options);
  }

  /** Deletes the flow of this table, priority and match. */
  deleteFlowStrict(dpid: bigint, selector: commands.FlowSelector, options?: CallOptions): Promise<void> {
    return this.command("flowentry/delete_strict", dpid, () => commands.encodeSelector(selector), options);
  }

  /** Deletes all flows of all tables, whoever made them. */
  async clearFlows(dpid: bigint, options: CallOptions = {}): Promise<void> {
    const path = `/stats/flowentry/clear/${dpid}`;
    await this.http.send({ method: "DELETE", path, dpid, read: false }, options);
  }

  /** Adds a group. The switch refuses one whose id is in use, and ofctl_rest does not tell. */
  addGroup(dpid: bigint, group: commands.GroupEntry, options?: CallOptions): Promise<void> {
    return this.command("groupentry/add", dpid, () => commands.encodeGroup(group), options);
  }

  /**
   * Replaces an existing group's type and buckets; Open vSwitch starts its counters anew. The switch refuses an unknown
   * id, and ofctl_rest does not tell.
   */
  modifyGroup(dpid: bigint, group: commands.GroupEntry, options?: CallOptions): Promise<void> {
    return this.command("groupentry/modify", dpid, () => commands.encodeGroup(group), options);
  }

  /** Deletes a group, if it exists, and with it every flow that outputs to it. `Group.ALL` deletes all. */
  deleteGroup(dpid: bigint, groupId: number, options?: CallOptions): Promise<void> {
    return this.command("groupentry/delete", dpid, () => commands.encodeGroupId(groupId), options);
  }

  addMeter(dpid: bigint, meter: commands.MeterEntry, options?: CallOptions): Promise<void> {
    return this.command("meterentry/add", dpid, () => commands.encodeMeter(meter), options);
  }

  modifyMeter(dpid: bigint, meter: commands.MeterEntry, options?: CallOptions): Promise<void> {
    return this.command("meterentry/modify", dpid, () => commands.encodeMeter(meter), options);
  }

  /** Deletes a meter, if it exists, and with it every flow that uses it. */
  deleteMeter(dpid: bigint, meterId: number, options?: CallOptions): Promise<void> {
    return this.command("meterentry/delete", dpid, () => commands.encodeMeterId(meterId), options);
  }

  modifyPort(dpid: bigint, change: commands.PortChange, options?: CallOptions): Promise<void> {
    return this.command("portdesc/modify", dpid, () => commands.encodePortChange(change), options);
  }

  setRole(dpid: bigint, role: Exclude<stats.RoleName, "NOCHANGE">, options?: CallOptions): Promise<void> {
    return this.command("role", dpid, () => ({ role }), options);
  }

  sendExperimenter(
    dpid: bigint,
    message: commands.ExperimenterMessage,
    options?: CallOptions,
  ): Promise<void> {
    return this.command(`experimenter/${dpid}`, dpid, () => commands.encodeExperimenter(message), options);
  }

  // ---- rest_topology -------------------------------------------------------------------------------------------

  /** The connected switches with their ports, or the one named (an empty list if it is not connected). */
  topologySwitches(dpid?: bigint, options?: CallOptions): Promise<topology.TopologySwitch[]> {
    return this.topology("switches", dpid, topology.readTopologySwitch, options);
  }

  /** Links between switches, one entry per direction; with a dpid only those that start there. */
  topologyLinks(dpid?: bigint, options?: CallOptions): Promise<topology.TopologyLink[]> {
    return this.topology("links", dpid, topology.readTopologyLink, options);
  }

  /** Hosts that Ryu has seen; with a dpid only those attached there. */
  topologyHosts(dpid?: bigint, options?: CallOptions): Promise<topology.TopologyHost[]> {
    return this.topology("hosts", dpid, topology.readTopologyHost, options);
  }

  /**
   * Waits until switches, ports, links or hosts are others than at `version` ("0": none is known), for 20 s at most;
   * the version of then, which may be the same. Only the launcher in this repository answers this; otherwise the error
   * is of kind `no-such-path`. Give it a time-out beyond 20 s and a client of its own, as it occupies a connection.
   */
  async topologyChange(version: string, options: CallOptions = {}): Promise<string> {
    const path = `/v1.0/topology/changes/${encodeURIComponent(version)}`;
    const call: Call = { method: "GET", path, read: true };
    const answer = await this.http.send(call, options);
    return this.understand(call, answer, (value) => Fields.of(value, "the answer").text("version"));
  }

  // ---- the shapes that the calls share -------------------------------------------------------------------------

  private async topology<T>(
    what: string,
    dpid: bigint | undefined,
    read: (fields: Fields) => T,
    options: CallOptions = {},
  ): Promise<T[]> {
    const path = `/v1.0/topology/${what}${dpid === undefined ? "" : `/${formatDpid(dpid)}`}`;
    const call: Call = { method: "GET", path, read: true, ...(dpid === undefined ? {} : { dpid }) };
    const answer = await this.http.send(call, options);
    return this.understand(call, answer, (value) => readList(value, what, read));
  }

  private async command(
    path: string,
    dpid: bigint,
    body: () => commands.Body,
    options: CallOptions = {},
  ): Promise<void> {
    const call: Call = { method: "POST", path: `/stats/${path}`, dpid, read: false };
    await this.http.send({ ...call, body: this.write(call, () => ({ dpid, ...body() })) }, options);
  }

  /** Statistics come as `{"<dpid>": value}`. */
  private async statistics<T>(
    what: string,
    dpid: bigint,
    ids: readonly OptionalId[],
    filter: commands.FlowFilter | undefined,
    read: (value: JsonValue, answer: Answer, call: Call) => T,
    options: CallOptions = {},
  ): Promise<T> {
    const call: Call = {
      method: filter === undefined ? "GET" : "POST",
      path: `/stats/${what}/${dpid}${idPath(ids)}`,
      dpid,
      read: true,
    };
    const request =
      filter === undefined
        ? call
        : { ...call, body: this.write(call, () => commands.encodeSelector(filter)) };
    const answer = await this.http.send(request, options);
    return this.understand(call, answer, (value) => {
      const statistics = Fields.of(value, "the answer").raw(dpid.toString());
      if (statistics === undefined) throw new FormatError("the answer does not name this switch");
      return read(statistics, answer, call);
    });
  }

  private list<T>(
    what: string,
    dpid: bigint,
    ids: readonly OptionalId[],
    filter: commands.FlowFilter | undefined,
    read: (fields: Fields) => T,
    options: CallOptions | undefined,
  ): Promise<T[]> {
    const readAll = (value: JsonValue, answer: Answer, call: Call) => {
      const list = readList(value, what, read);
      if (list.length === 0 && answer.elapsedMs >= SILENCE_MS) throw this.silence(call);
      return list;
    };
    return this.statistics(what, dpid, ids, filter, readAll, options);
  }

  /** For statistics that are an object, not a list. */
  private one<T>(
    what: string,
    dpid: bigint,
    ids: readonly OptionalId[],
    filter: commands.FlowFilter | undefined,
    read: (fields: Fields) => T,
    options: CallOptions | undefined,
  ): Promise<T> {
    const readOne = (value: JsonValue, _answer: Answer, call: Call) => {
      const fields = Fields.of(value, what);
      if (Object.keys(fields.members()).length === 0) throw this.silence(call);
      return read(fields);
    };
    return this.statistics(what, dpid, ids, filter, readOne, options);
  }

  /** For statistics that are a list of exactly one: an empty list can only mean that the switch was silent. */
  private first<T>(
    what: string,
    dpid: bigint,
    filter: commands.FlowFilter | undefined,
    read: (fields: Fields) => T,
    options: CallOptions | undefined,
  ): Promise<T> {
    const readFirst = (value: JsonValue, _answer: Answer, call: Call) => {
      const [first] = readList(value, what, read);
      if (first === undefined) throw this.silence(call);
      return first;
    };
    return this.statistics(what, dpid, [], filter, readFirst, options);
  }

  private silence(call: Call): RyuError {
    return this.http.error(call, {
      kind: "no-answer",
      status: 200,
      detail: "the switch did not answer Ryu in time, so what it has is unknown",
    });
  }

  private write(call: Call, body: () => commands.Body): string {
    try {
      return pythonLiteral(body());
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      throw this.http.error(call, { kind: "bad-request", detail: error.message, cause: error });
    }
  }

  private understand<T>(call: Call, answer: Answer, read: (value: JsonValue) => T): T {
    try {
      return read(parseJson(answer.text));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      throw this.http.error(call, { kind: "bad-answer", status: 200, detail: error.message, cause: error });
    }
  }
}

/** `/2/1`; an id left out in front of one that is given is written ALL. */
function idPath(ids: readonly OptionalId[]): string {
  const last = ids.findLastIndex((id) => id !== undefined);
  return ids
    .slice(0, last + 1)
    .map((id) => `/${id ?? "ALL"}`)
    .join("");
}
