import { UserError } from "@topicast/protocol";

/** Offsets change at full quarters of an hour alone. */
const QUARTER_MS = 900_000;
const MAX_CACHED = 65_536;

/** Writes times in one time zone, as DuckDB does: `2026-11-21 13:40:32.624008+01`. */
export class Zone {
  private readonly format: Intl.DateTimeFormat;
  private readonly offsets = new Map<number, number>();

  /** @throws UserError where there is no zone of that name */
  constructor(readonly name: string) {
    try {
      this.format = new Intl.DateTimeFormat("en", { timeZone: name, timeZoneName: "longOffset" });
    } catch {
      throw new UserError(`--tz ${name}: no such time zone; write it as Europe/Rome`, 2);
    }
  }

  text(micros: bigint): string {
    const rest = Number(((micros % 1_000_000n) + 1_000_000n) % 1_000_000n);
    const ms = Number((micros - BigInt(rest)) / 1000n);
    const offset = this.offset(ms);
    const local = new Date(ms + offset * 60_000);
    if (Number.isNaN(local.getTime())) return `${micros} µs`;
    const fraction = rest === 0 ? "" : `.${String(rest).padStart(6, "0")}`;
    return `${local.toISOString().slice(0, 19).replace("T", " ")}${fraction}${offsetText(offset)}`;
  }

  /** In minutes. */
  private offset(ms: number): number {
    const quarter = Math.floor(ms / QUARTER_MS);
    let offset = this.offsets.get(quarter);
    if (offset === undefined) {
      const date = new Date(ms);
      const name = Number.isNaN(date.getTime()) ? "GMT" : this.format.format(date);
      const [, sign, hours = "0", minutes = "0"] = /GMT([+-])(\d\d):(\d\d)/.exec(name) ?? [];
      offset = (Number(hours) * 60 + Number(minutes)) * (sign === "-" ? -1 : 1);
      if (this.offsets.size >= MAX_CACHED) this.offsets.clear();
      this.offsets.set(quarter, offset);
    }
    return offset;
  }
}

function offsetText(minutes: number): string {
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (value: number) => String(value).padStart(2, "0");
  return `${minutes < 0 ? "-" : "+"}${two(hours)}${rest === 0 ? "" : `:${two(rest)}`}`;
}
