import type { ContentRule } from "../content.js";

/** Syslog's numbers, as rules' `severity` action gives them (ModSecurity reference manual, "severity"). */
const severities = ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];

/** Data that rules quote is cut to this many characters. */
const dataLength = 200;

/**
 * Reads one of libmodsecurity's log lines:
 *
 * `ModSecurity: Warning. … (Value: `…' ) [file "…"] [line "…"] [id "942100"] [rev ""] [msg "…"] [data "…"] [severity "2"]
 * … [hostname "SERVER"] [uri "…"] …`
 *
 * The value before `[file` and the uri at the end are the sender's, with quotes as they are, so they may hold text that
 * looks like fields. What lies between is escaped. So: up to the host name, which the sender cannot guess, the last
 * `[id` is the rule's. Undefined for a line that is not like this.
 */
export function readLogLine(line: string, server: string): ContentRule | undefined {
  const end = line.indexOf(`[hostname "${server}"]`);
  const start = line.lastIndexOf('[id "', Math.max(0, end));
  if (end === -1 || start === -1) return undefined;
  const fields = line.slice(start, end);
  const id = Number(field(fields, "id"));
  const severity = Number(field(fields, "severity"));
  return {
    id,
    message: field(fields, "msg"),
    matched: field(fields, "data").slice(0, dataLength),
    // Rules that say nothing of it are logged as 0 too.
    severity: severity === 0 ? "" : (severities[severity] ?? ""),
  };
}

function field(fields: string, name: string): string {
  const start = fields.indexOf(`[${name} "`);
  if (start === -1) return "";
  const from = start + name.length + 3;
  const end = fields.indexOf('"]', from);
  return fields.slice(from, end === -1 ? undefined : end);
}
