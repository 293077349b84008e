export {
  loadSettings,
  type Setting,
  type SettingSources,
  type Settings,
  settingMistakes,
  type ValuesOf,
} from "./settings.js";
export type { Value } from "./values.js";
export * as value from "./values.js";
export { readYamlMap, readYamlText, type YamlEntry } from "./yaml-file.js";
export { type Mistake, parseYamlTree, readYamlTree, type YamlTree } from "./yaml-tree.js";
