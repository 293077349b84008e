export { loadSettings, type Setting, type SettingSources, type Settings, type ValuesOf } from "./settings.js";
export type { Value } from "./values.js";
export * as value from "./values.js";
export { readYamlMap, type YamlEntry } from "./yaml-file.js";
