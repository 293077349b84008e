import { dirname, resolve } from "node:path";
import { type Mistake, readAccessFile, readYamlTree, UserError, type YamlTree } from "@topicast/protocol";
import type { ValidateFunction } from "ajv";
import { type ContentSettings, contentRanges } from "./content/settings.js";
import { DEFAULT_RULES } from "./default-rules.js";
import { type RuleFile, ruleFile } from "./rule-schema.js";
import type {
  Answer,
  ContentRule,
  GuessingRule,
  PayloadRule,
  RateRule,
  Rule,
  Rules,
  TopicRule,
} from "./rules.js";
import { compileSchema } from "./schemas.js";
import { parseTopicList } from "./topic-file.js";
import { isPattern, isWild, PATTERNS_MAX, WILD_MAX } from "./topics.js";

/** All that is wrong with a rule file and the files that it names. As an error it says the first one. */
export class RuleMistakes extends UserError {
  constructor(
    file: string,
    readonly mistakes: readonly Mistake[],
  ) {
    const [first] = mistakes.map(mistakeLine);
    const more = mistakes.length - 1;
    super(more === 0 ? `${first}` : `${first} (and ${more} more: topicast check-config ${file})`, 2);
  }
}

/** Characters of a mistake that are shown: some quote what is wrong, however long that is. */
const SHOWN = 400;

/** `file:line: what is wrong`, in one line that is not too long to read. */
export function mistakeLine({ file, line, message }: Mistake): string {
  const text = message.length <= SHOWN ? message : `${message.slice(0, SHOWN)}...`;
  return `${file}:${line}: ${text.replaceAll(/[\r\n]+/g, " ")}`;
}

/**
 * Reads a rule file, and the topic lists and schemas that it names (relative to it). What it does not say is as in
 * `DEFAULT_RULES`, section by section.
 * @throws RuleMistakes with all mistakes in all of them; UserError where the rule file cannot be read
 */
export function readRules(file: string): Rules {
  const tree = readYamlTree(file);
  const reader = new RuleReader(file, tree);
  const rules = reader.read();
  if (rules !== undefined && reader.mistakes.length === 0) return rules;
  const order = ({ file: name, line }: Mistake) => (name === file ? line : Number.POSITIVE_INFINITY);
  throw new RuleMistakes(
    file,
    reader.mistakes.sort((a, b) => order(a) - order(b) || 0),
  );
}

type Path = readonly PropertyKey[];
type Given<K extends keyof RuleFile> = NonNullable<RuleFile[K]>;

class RuleReader {
  readonly mistakes: Mistake[];
  private readonly ids = new Set<string>();

  constructor(
    private readonly file: string,
    private readonly tree: YamlTree,
  ) {
    this.mistakes = [...tree.mistakes];
  }

  read(): Rules | undefined {
    if (this.mistakes.length > 0) return undefined;
    const result = ruleFile.safeParse(this.tree.value ?? {});
    if (!result.success) {
      for (const issue of result.error.issues) {
        const { path, message } = issue;
        if (issue.code !== "unrecognized_keys") this.mistake(path, message);
        else {
          for (const key of issue.keys) {
            this.mistake([...path, key], `there is no ${JSON.stringify(key)}: ${message}`, path);
          }
        }
      }
      return undefined;
    }
    return this.rules(result.data);
  }

  private rules(given: RuleFile): Rules {
    const standard = DEFAULT_RULES;
    return {
      rates: given.rates?.map((rate, i) => this.rate(rate, ["rates", i])) ?? standard.rates,
      topics: given.topics?.map((rule, i) => this.topic(rule, ["topics", i])) ?? standard.topics,
      subscribeAll: this.section(given["subscribe-all"], standard.subscribeAll, (answer) =>
        this.rule("subscribe-all", answer),
      ),
      payloads: given.payloads?.map((rule, i) => this.payload(rule, ["payloads", i])) ?? standard.payloads,
      guessing: this.guessing(given.guessing),
      protocol: this.section(given.protocol, standard.protocol, ({ limit, answer = "quarantine" }) => {
        if (answer === "drop" || answer === "disconnect") {
          this.mistake(["protocol", "answer"], "the connection has ended by then: must be log or quarantine");
        }
        return { ...this.rule("protocol", answer), ...limit };
      }),
      takeOver: this.section(given["take-over"], standard.takeOver, ({ by, answer = "drop" }) => ({
        ...this.rule("take-over", answer),
        by,
      })),
      content: this.section(given.content, standard.content, (content) => this.content(content)),
      quarantineMs: given.quarantine?.for ?? standard.quarantineMs,
      safe: given.safe ?? standard.safe,
      mqtt3: given.mqtt3 ?? standard.mqtt3,
      events: given.events?.limit ?? standard.events,
    };
  }

  private section<G, R>(given: G | "off" | undefined, standard: R | undefined, make: (given: G) => R) {
    if (given === undefined) return standard;
    return given === "off" ? undefined : make(given as G);
  }

  private rate(given: Given<"rates">[number], path: Path): RateRule {
    const { of, per, limit, burst = limit.burst, topics, answer = "drop" } = given;
    const isOfMessages = of === "messages" || of === "bytes";
    if (per === "topic" && !isOfMessages) {
      this.mistake([...path, "per"], `${of} are not counted per topic: must be address, client or user`);
    }
    if (topics !== undefined && !isOfMessages) {
      this.mistake([...path, "topics"], `${of} have no topics: only messages and bytes have`);
    }
    if (of !== "bytes" && limit.unit !== undefined) {
      this.mistake(
        [...path, "limit"],
        `${limit.unit} is for bytes, and these are ${of}: must be as 100/s or 20/m`,
      );
    }
    if (burst < 1) this.mistake([...path, "burst"], "0 lets nothing pass: must be at least 1");
    const rule = this.named(given.id, `rates.${of}.${per}`, answer, path);
    return { ...rule, of, per, burst, perSecond: limit.perSecond, topics };
  }

  private topic(given: Given<"topics">[number], path: Path): TopicRule {
    const { of = "both", answer = "drop" } = given;
    const allowed = this.lists(given.allow, given["allow-files"], [...path, "allow-files"]);
    const denied = this.lists(given.deny, given["deny-files"], [...path, "deny-files"]);
    if (allowed === undefined && denied === undefined) {
      this.mistake(path, "allows and denies nothing: must have allow, deny, allow-files or deny-files");
    }
    for (const [key, list] of [
      ["allow", allowed],
      ["deny", denied],
    ] as const) {
      const patterns = list?.filter(isPattern).length ?? 0;
      const wild = list?.filter((filter) => isWild(filter) && !isPattern(filter)).length ?? 0;
      if (patterns > PATTERNS_MAX) {
        this.mistake([...path, key], `${patterns} filters with %u or %c, at most ${PATTERNS_MAX}`);
      }
      if (wild > WILD_MAX)
        this.mistake([...path, key], `${wild} filters with wildcards, at most ${WILD_MAX}`);
    }
    return {
      ...this.named(given.id, of === "both" ? "topics" : `topics.${of}`, answer, path),
      publish: of !== "subscribe",
      subscribe: of !== "publish",
      allow: allowed,
      deny: denied ?? [],
    };
  }

  private payload(given: Given<"payloads">[number], path: Path): PayloadRule {
    const { topics, answer = "drop", empty = "allow", schema: inline, "schema-file": schemaFile } = given;
    for (const [i, filter] of topics.entries()) {
      if (isPattern(filter)) this.mistake([...path, "topics", i], "payload rules have no %u and %c");
    }
    if (inline !== undefined && schemaFile !== undefined) {
      this.mistake([...path, "schema-file"], "there is a schema, too: give one of them");
    }
    const isJson = inline !== undefined || schemaFile !== undefined;
    if (isJson && given.type !== undefined && given.type !== "json") {
      this.mistake([...path, "type"], "what has a schema is of type json");
    }
    let schema: ValidateFunction | undefined;
    if (inline !== undefined) schema = this.schema(inline, [...path, "schema"]);
    else if (schemaFile !== undefined) schema = this.schemaFile(schemaFile, [...path, "schema-file"]);
    return {
      ...this.named(given.id, "payloads", answer, path),
      topics,
      maxBytes: given["max-bytes"] ?? (isJson ? CHECKED_BYTES : undefined),
      type: isJson ? "json" : (given.type ?? "any"),
      schema,
      allowsEmpty: empty === "allow",
    };
  }

  private content(given: Exclude<Given<"content">, "off">): ContentRule {
    const {
      answer = "drop",
      failed = "refuse",
      topics = ["#"],
      files,
      "max-bytes": maxBytes,
      ...engine
    } = given;
    const [least, most] = contentRanges.maxBytes;
    if (maxBytes !== undefined && (maxBytes < least || maxBytes > most)) {
      this.mistake(["content", "max-bytes"], `must be ${least} to ${most} bytes`);
    }
    const settings: { [K in keyof ContentSettings]?: ContentSettings[K] | undefined } = {
      ...engine,
      files: files?.map((file, i) => {
        const at = this.resolve(file);
        this.attempt(["content", "files", i], () => readAccessFile("rules", at));
        return at;
      }),
      maxBytes,
    };
    return {
      ...this.rule("content", answer),
      failed,
      topics,
      engine: Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)),
      isOptional: false,
    };
  }

  private guessing(given: RuleFile["guessing"]): Rules["guessing"] {
    if (given === "off") return { address: undefined, user: undefined };
    const make = (what: "address" | "user") =>
      this.section(
        given?.[what],
        DEFAULT_RULES.guessing[what],
        ({ limit, lock = LOCK_MS, answer }): GuessingRule => {
          const standard = what === "address" ? "quarantine" : "drop";
          if (what === "user" && answer === "quarantine") {
            this.mistake(
              ["guessing", what, "answer"],
              "a user has no address of its own: only addresses are quarantined",
            );
          }
          return { ...this.rule(`guessing.${what}`, answer ?? standard), ...limit, lockMs: lock };
        },
      );
    return { address: make("address"), user: make("user") };
  }

  /** Filters given here and in files; undefined where neither is given. */
  private lists(
    filters: string[] | undefined,
    files: string[] | undefined,
    path: Path,
  ): string[] | undefined {
    if (filters === undefined && files === undefined) return undefined;
    const all = [...(filters ?? [])];
    for (const [i, file] of (files ?? []).entries()) {
      const at = this.resolve(file);
      const text = this.attempt([...path, i], () => readAccessFile("topic list", at));
      if (text !== undefined) for (const filter of parseTopicList(text, at, this.mistakes)) all.push(filter);
    }
    return all;
  }

  private schema(schema: unknown, path: Path): ValidateFunction | undefined {
    return this.attempt(path, () => compileSchema(schema));
  }

  private schemaFile(file: string, path: Path): ValidateFunction | undefined {
    const at = this.resolve(file);
    return this.attempt(path, () => compileSchema(JSON.parse(readAccessFile("schema", at))));
  }

  /** A rule with the name that it was given, or one that nobody else has. */
  private named(id: string | undefined, standard: string, answer: Answer, path: Path): Rule {
    if (id !== undefined && this.ids.has(id)) {
      this.mistake([...path, "id"], `another rule has the id ${JSON.stringify(id)}: give each its own`);
    }
    let free = id ?? standard;
    for (let number = 2; this.ids.has(free); number++) free = `${standard}.${number}`;
    return this.rule(free, answer);
  }

  private rule(id: string, answer: Answer): Rule {
    this.ids.add(id);
    return { id, answer };
  }

  private resolve(file: string): string {
    return resolve(dirname(this.file), file);
  }

  private attempt<T>(path: Path, make: () => T): T | undefined {
    try {
      return make();
    } catch (error) {
      this.mistake(path, (error as Error).message);
      return undefined;
    }
  }

  /** @param named what the message names, where that is not where it points to */
  private mistake(path: Path, message: string, named: Path = path): void {
    const at = named
      .map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`))
      .join("")
      .slice(1);
    const { file, tree } = this;
    this.mistakes.push({ file, line: tree.lineOf(path), message: at === "" ? message : `${at}: ${message}` });
  }
}

/** Parsing and checking takes the event loop a few milliseconds at most. */
const CHECKED_BYTES = 65_536;
const LOCK_MS = 300_000;
