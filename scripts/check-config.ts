import { agentSettings, loadAgentConfig } from "@topicast/agent/config.js";
import { startContentEngine } from "@topicast/agent/firewall/content/engine.js";
import { mistakeLine, RuleMistakes, readRules } from "@topicast/agent/firewall/rule-file.js";
import { ruleSections } from "@topicast/agent/firewall/rule-schema.js";
import { controllerSettings, loadControllerConfig } from "@topicast/controller/config.js";
import { readYamlTree, settingMistakes, UserError } from "@topicast/protocol";

export interface Checked {
  /** What there is to say, for people. */
  readonly lines: readonly string[];
  readonly isInOrder: boolean;
}

interface Kind {
  readonly name: string;
  readonly keys: readonly string[];
  /** What is wrong, line by line. */
  readonly mistakes: (file: string) => string[] | Promise<string[]>;
  /** What is wrong with it where nothing is given beside it. */
  readonly alone: (file: string) => void;
}

const KINDS: readonly Kind[] = [
  {
    name: "firewall rules",
    keys: ruleSections,
    mistakes: ruleMistakes,
    alone: () => {},
  },
  {
    name: "settings of an agent",
    keys: Object.keys(agentSettings),
    mistakes: (file) => {
      const mistakes = settingMistakes(agentSettings, file).map(mistakeLine);
      return mistakes.length > 0 ? mistakes : ruleMistakesOf(file);
    },
    alone: (file) => loadAgentConfig({ flags: {}, env: process.env, file }),
  },
  {
    name: "settings of a controller",
    keys: Object.keys(controllerSettings),
    mistakes: (file) => settingMistakes(controllerSettings, file).map(mistakeLine),
    alone: (file) => loadControllerConfig({ flags: {}, env: process.env, file }),
  },
];

/**
 * All that is wrong with a file, whatever it is: that which has most of its keys.
 * @throws UserError where it cannot be read
 */
export async function checkConfig(file: string): Promise<Checked> {
  const { value, mistakes: syntax } = readYamlTree(file);
  if (syntax.length > 0) return { lines: syntax.map(mistakeLine), isInOrder: false };
  const keys = Object.keys((value ?? {}) as object);
  const known = (kind: Kind) => keys.filter((key) => kind.keys.includes(key)).length;
  const [kind] = KINDS.toSorted((a, b) => known(b) - known(a)) as [Kind];
  const mistakes = await kind.mistakes(file);
  if (mistakes.length > 0) {
    const count = mistakes.length === 1 ? "1 mistake" : `${mistakes.length} mistakes`;
    return { lines: [...mistakes, `${file}: ${kind.name}, ${count}`], isInOrder: false };
  }
  const need = messageOf(() => kind.alone(file));
  const note = need === undefined ? [] : [`${file}: not enough by itself: ${need}`];
  return { lines: [`${file}: ${kind.name}, in order`, ...note], isInOrder: true };
}

/** The rules that an agent's settings name. */
function ruleMistakesOf(file: string): string[] | Promise<string[]> {
  const { value, lineOf } = readYamlTree(file);
  const rules = (value as { "firewall-rules"?: unknown } | undefined)?.["firewall-rules"];
  if (typeof rules !== "string") return [];
  const unreadable = messageOf(() => readYamlTree(rules));
  const line = lineOf(["firewall-rules"]);
  if (unreadable !== undefined)
    return [mistakeLine({ file, line, message: `firewall-rules: ${unreadable}` })];
  return ruleMistakes(rules);
}

/** Own SecRules are the content engine's to read: where the file names some, it is started for that. */
async function ruleMistakes(file: string): Promise<string[]> {
  try {
    const { content } = readRules(file);
    if (content?.engine.files === undefined) return [];
    const engine = await startContentEngine({ ...content.engine, workers: 1 });
    await engine.close();
    return [];
  } catch (error) {
    if (error instanceof RuleMistakes) return error.mistakes.map(mistakeLine);
    if (error instanceof UserError) return [error.message];
    throw error;
  }
}

function messageOf(load: () => void): string | undefined {
  try {
    load();
    return undefined;
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}
