import type { z } from "zod";
import { UserError } from "../errors.js";
import type { Value } from "./values.js";
import { readYamlMap } from "./yaml-file.js";
import type { Mistake } from "./yaml-tree.js";

/** One setting of a command: a flag, and a key of its configuration file. */
export interface Setting {
  /** Single letter of the short flag. */
  readonly short?: string;
  /** What stands for the value in the help, e.g. `ADDRESS[:PORT]`; without it the flag is a switch that gives `true`. */
  readonly argument?: string;
  readonly help: string;
  // biome-ignore lint/suspicious/noExplicitAny: a table holds settings of all kinds
  readonly value: Value<any>;
  /** May be given several times on the command line: the texts are a list then, as in a file. */
  readonly repeatable?: boolean;
  /** Environment variable that gives the value, for secrets. */
  readonly env?: string;
  /** The value is not to be shown. */
  readonly secret?: boolean;
  /** The default as one would write it; without it the setting may be left out. */
  readonly preset?: string;
  /** The default in words for the help, where the preset differs from host to host. */
  readonly presetHelp?: string;
}

/** Settings by the name of their long flag, which is their key in the file. */
export type Settings = Readonly<Record<string, Setting>>;

/** What `loadSettings` gives for a table of settings. */
export type ValuesOf<S extends Settings> = {
  readonly [K in keyof S]: S[K] extends { preset: string }
    ? z.output<S[K]["value"]["schema"]>
    : z.output<S[K]["value"]["schema"]> | undefined;
};

export interface SettingSources {
  /** Texts given on the command line, by setting name. */
  readonly flags: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Path of the YAML file, if one was named. */
  readonly file?: string | undefined;
}

interface Given {
  readonly value: unknown;
  /** Where it was given, as the error line begins. */
  readonly where: string;
}

/**
 * Reads and checks all settings. A flag wins over the environment, that over the file, that over the default.
 * @throws UserError (exit code 2) of one line that names the first wrong one, its value and what is allowed
 */
export function loadSettings<const S extends Settings>(settings: S, sources: SettingSources): ValuesOf<S> {
  const inFile = sources.file === undefined ? new Map<string, Given>() : readFile(settings, sources.file);
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(settings)) {
    const given =
      flag(name, sources) ?? environment(setting, sources) ?? inFile.get(name) ?? preset(name, setting);
    if (given === undefined) continue;
    const result = setting.value.schema.safeParse(given.value);
    if (!result.success) throw new UserError(`${given.where}: ${refusal(setting, given.value)}`, 2);
    values[name] = result.data;
  }
  return values as ValuesOf<S>;
}

function readFile(settings: Settings, path: string): Map<string, Given> {
  const given = new Map<string, Given>();
  for (const [name, { value, line }] of readYamlMap(path)) {
    if (!Object.hasOwn(settings, name)) throw new UserError(`${path}:${line}: ${unknown(settings, name)}`, 2);
    given.set(name, { value, where: `${path}:${line}: ${name}` });
  }
  return given;
}

/**
 * All that is wrong with a file of these settings, each by itself.
 * @throws UserError where it cannot be read, or is no map
 */
export function settingMistakes(settings: Settings, file: string): Mistake[] {
  return [...readYamlMap(file)].flatMap(([name, { value, line }]) => {
    const setting = Object.hasOwn(settings, name) ? settings[name] : undefined;
    if (setting === undefined) return [{ file, line, message: unknown(settings, name) }];
    if (setting.value.schema.safeParse(value).success) return [];
    return [{ file, line, message: `${name}: ${refusal(setting, value)}` }];
  });
}

function unknown(settings: Settings, name: string): string {
  return `there is no setting ${JSON.stringify(name)}: must be one of ${Object.keys(settings).join(", ")}`;
}

function refusal({ secret, value: { allowed } }: Setting, given: unknown): string {
  return `${secret ? "the value given" : show(given)} is not accepted: must be ${allowed}`;
}

function flag(name: string, { flags }: SettingSources): Given | undefined {
  const value = flags[name];
  return value === undefined ? undefined : { value, where: `--${name}` };
}

/** An empty variable is one that is not set. */
function environment({ env }: Setting, sources: SettingSources): Given | undefined {
  const value = env === undefined ? undefined : sources.env[env];
  return value === undefined || value === "" ? undefined : { value, where: `environment variable ${env}` };
}

function preset(name: string, { preset: value }: Setting): Given | undefined {
  return value === undefined ? undefined : { value, where: `--${name} (by default)` };
}

/** A value for the error line: JSON, cut where it is long. */
function show(value: unknown): string {
  const json = JSON.stringify(value) ?? String(value);
  return json.length <= 80 ? json : `${json.slice(0, 77)}...`;
}
