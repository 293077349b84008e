import type { Database } from "./tables/database.js";

/** The summary that a person reads: what DuckDB says to one question per section. */

interface Section {
  readonly title: string;
  readonly sql: string;
  /** Rows shown; more are counted. */
  readonly max: number;
}

const SECTIONS: readonly Section[] = [
  {
    title: "MQTT servers",
    max: 8,
    sql: `SELECT coalesce(server_name, server) AS server, server_port AS port, count(DISTINCT client_no) AS clients,
      count(*) AS connections, string_agg(DISTINCT version, ', ' ORDER BY version) AS versions,
      string_agg(DISTINCT transport, ', ') AS over, sum(messages_up) AS up, sum(messages_down) AS down
      FROM mqtt_connections GROUP BY 1, 2 ORDER BY connections DESC`,
  },
  {
    title: "MQTT clients by messages",
    max: 10,
    sql: `SELECT coalesce(nullif(client_id, ''), '(none)') AS client_id, client AS address, version,
      messages_up AS up, messages_down AS down, keep_alive AS "keep-alive s", will_topic AS will,
      coalesce("end", 'open') || CASE WHEN keep_alive_exceeded THEN ', keep-alive exceeded' ELSE '' END ||
      CASE WHEN duplicate_client_id THEN ', duplicate id' ELSE '' END AS "end"
      FROM mqtt_connections ORDER BY messages_up + messages_down DESC, connection`,
  },
  {
    title: "Topics by traffic",
    max: 10,
    sql: `SELECT topic, count(*) FILTER (from_client) AS "to server", count(*) FILTER (NOT from_client) AS "to clients",
      count(*) FILTER (from_client IS NULL) AS "over UDP", sum(payload_length)::BIGINT AS "payload bytes",
      count(*) FILTER (retain) AS retain FROM mqtt WHERE type = 'PUBLISH' GROUP BY 1 ORDER BY 5 DESC, 1`,
  },
  {
    title: "PUBLISH by QoS",
    max: 8,
    sql: `SELECT qos, CASE WHEN from_client THEN 'to server' WHEN from_client IS NULL THEN 'over UDP' ELSE 'to clients' END
      AS direction, count(*) AS publishes, count(*) FILTER (dup) AS dup,
      CASE WHEN qos > 0 THEN count(*) FILTER (handshake = 'complete') END AS acknowledged,
      CASE WHEN qos > 0 THEN count(*) FILTER (handshake = 'incomplete') END AS "never",
      round(quantile_cont(ack_ms, 0.5), 2) AS "median ms", round(quantile_cont(ack_ms, 0.99), 2) AS "99 % ms"
      FROM mqtt WHERE type = 'PUBLISH' GROUP BY 1, 2 ORDER BY 1, 2`,
  },
  {
    title: "Wildcard subscribers",
    max: 10,
    sql: `SELECT client_id, filter, qos, coalesce(server_name, server) AS server, message_id
      FROM mqtt_subscriptions WHERE has_wildcard ORDER BY frame`,
  },
  {
    title: "Wills that were due",
    max: 8,
    sql: `SELECT c.client_id, c.will_topic AS topic, c."end", count(DISTINCT d.no) AS deliveries
      FROM mqtt_connections c LEFT JOIN mqtt_deliveries d ON d.is_will AND d.topic = c.will_topic
      AND d.will_client_id = c.client_id WHERE c.will_due GROUP BY ALL ORDER BY 1`,
  },
  {
    title: "MQTT-SN",
    max: 12,
    sql: `SELECT type, dst_port AS "to port", count(*) AS messages, count(DISTINCT src) AS senders,
      string_agg(DISTINCT answer, ', ') AS answers FROM mqttsn WHERE NOT is_copy GROUP BY 1, 2 ORDER BY 3 DESC, 1`,
  },
  {
    title: "Topicast's fabric",
    max: 12,
    sql: `SELECT coalesce(agent, source::VARCHAR) AS "from", kind, coalesce(group_address, '') AS "group",
      count(*) AS datagrams, count(*) FILTER (is_multicast) AS "to the group", count(DISTINCT dst) AS addresses,
      count(DISTINCT interface) AS links FROM fabric WHERE kind NOT IN ('ACK', 'ANNOUNCE') GROUP BY 1, 2, 3
      ORDER BY kind <> 'DATA', 4 DESC, 1, 3`,
  },
  {
    title: "CoAP requests",
    max: 12,
    sql: `SELECT code AS method, coalesce(server_name, server) AS server, uri_path AS path, count(*) FILTER (NOT retransmission) AS requests,
      count(*) FILTER (retransmission) AS again, round(100.0 * count(*) FILTER (response_code LIKE '2.%' AND NOT retransmission)
      / count(*) FILTER (NOT retransmission), 1) AS "2.xx %",
      string_agg(DISTINCT response_code, ', ' ORDER BY response_code) AS answers,
      round(quantile_cont(response_ms, 0.5), 2) AS "median ms"
      FROM coap WHERE is_request GROUP BY 1, 2, 3 ORDER BY 4 DESC, 2, 3`,
  },
  {
    title: "ICMP errors",
    max: 8,
    sql: `SELECT meaning, src AS "from", quoted_dst AS about, quoted_dst_port AS port, count(*) AS messages
      FROM icmp WHERE quoted_protocol IS NOT NULL GROUP BY ALL ORDER BY 5 DESC`,
  },
  {
    title: "Problems",
    max: 12,
    sql: `SELECT layer, reason, count(*) AS times, min(frame) AS "first frame" FROM problems
      GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2`,
  },
];

/** The whole summary as text, empty sections left out. */
export async function summarize(database: Database): Promise<string> {
  const parts = [await overview(database)];
  for (const { title, sql, max } of SECTIONS) {
    const { columns, rows } = await database.valuesOf(sql);
    if (rows.length === 0) continue;
    const more = rows.length > max ? `\n  … and ${rows.length - max} more` : "";
    parts.push(`${title}\n${indent(formatTable(columns, rows.slice(0, max)))}${more}`);
  }
  return `${parts.join("\n\n")}\n`;
}

async function overview(database: Database): Promise<string> {
  const [row] =
    await database.values(`SELECT count(*), sum(length)::BIGINT, strftime(min(time), '%Y-%m-%d %H:%M:%S'),
    round(epoch(max(time)) - epoch(min(time)), 3), string_agg(DISTINCT file, ', ') FROM frames`);
  const [counts] =
    await database.values(`SELECT (SELECT count(*) FROM tcp_streams), (SELECT count(*) FROM mqtt),
    (SELECT count(*) FROM mqttsn), (SELECT count(*) FROM coap), (SELECT count(DISTINCT frame) FROM dns)`);
  const [frames, bytes, from, seconds, files] = row!;
  const [streams, mqtt, sn, coap, dns] = counts!;
  if (frames === 0) return "no frames";
  return (
    `${files ?? "live"}: ${frames} frames, ${bytes} bytes, ${seconds} s from ${from} UTC\n` +
    `  ${streams} TCP streams; packets: ${mqtt} MQTT, ${sn} MQTT-SN, ${coap} CoAP, ${dns} DNS`
  );
}

/** Columns side by side: numbers to the right, text to the left. */
export function formatTable(columns: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cells = rows.map((row) => row.map(cellText));
  const widths = columns.map((name, i) => Math.max(name.length, ...cells.map((row) => row[i]!.length)));
  const isRight = columns.map((_, i) => rows.every((row) => row[i] === null || typeof row[i] === "number"));
  const line = (texts: readonly string[]) =>
    texts
      .map((text, i) => (isRight[i] ? text.padStart(widths[i]!) : text.padEnd(widths[i]!)))
      .join("  ")
      .trimEnd();
  return [line(columns), ...cells.map(line)].join("\n");
}

const MAX_CELL = 60;

/** Control characters would move the terminal's cursor. */
function cellText(value: unknown): string {
  if (value === null) return "";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  const text = String(value).replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, "·");
  return text.length > MAX_CELL ? `${text.slice(0, MAX_CELL - 1)}…` : text;
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, "  ");
}
