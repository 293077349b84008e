import koffi from "koffi";
import type { ContentRule } from "../content.js";
import { readLogLine } from "./log-line.js";

/** An HTTP request as the rules see it. Nothing is sent anywhere. */
export interface HttpRequest {
  readonly method: string;
  /** Path and query, percent-encoded. */
  readonly uri: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  /** REMOTE_ADDR. */
  readonly peer: string;
}

/** What the rules say of one request. */
export interface Judgement {
  /** A rule denied it: CRS' own at the end where the score reaches the threshold, or one of the operator's. */
  readonly denied: boolean;
  /** Every rule that matched and logs, but for CRS' own bookkeeping. */
  readonly rules: readonly ContentRule[];
  /** CRS' anomaly score where that is why it was denied, otherwise 0. */
  readonly score: number;
}

/** One piece of configuration: text that stands in the file `name`, or (without text) a file to read. */
export interface RuleSource {
  readonly name: string;
  readonly text?: string | undefined;
  /** Where relative names in the text (`@pmFromFile`, `Include`) are looked up. */
  readonly directory?: string | undefined;
}

/** Says what is wrong with a rule file, in the library's words, with file and line where it knows them. */
export class RuleError extends Error {
  override readonly name = "RuleError";
}

const library = "libmodsecurity.so.3";

// The library's callback type and the layout of its ModSecurityIntervention (modsecurity.h, intervention.h).
const LogCallback = koffi.proto("void TopicastModsecurityLog(void *data, const void *text)");
const Intervention = koffi.struct("TopicastModsecurityIntervention", {
  status: "int",
  pause: "int",
  url: "void *",
  log: "void *",
  disruptive: "int",
});

function load() {
  const lib = koffi.load(library);
  const libc = koffi.load("libc.so.6");
  return {
    init: lib.func("void *msc_init()"),
    whoAmI: lib.func("const char *msc_who_am_i(void *engine)"),
    setLog: lib.func("msc_set_log_cb", "void", ["void *", koffi.pointer(LogCallback)]),
    createRules: lib.func("void *msc_create_rules_set()"),
    addFile: lib.func("int msc_rules_add_file(void *rules, const char *file, _Out_ const char **error)"),
    addText: lib.func("int msc_rules_add(void *rules, const char *text, _Out_ const char **error)"),
    begin: lib.func("void *msc_new_transaction(void *engine, void *rules, void *data)"),
    connection: lib.func(
      "int msc_process_connection(void *t, const char *client, int clientPort, const char *server, int serverPort)",
    ),
    uri: lib.func("int msc_process_uri(void *t, const char *uri, const char *method, const char *version)"),
    header: lib.func(
      "int msc_add_n_request_header(void *t, const uint8_t *key, size_t keyLength, const uint8_t *value, size_t length)",
    ),
    headers: lib.func("int msc_process_request_headers(void *t)"),
    append: lib.func("int msc_append_request_body(void *t, const uint8_t *body, size_t length)"),
    body: lib.func("int msc_process_request_body(void *t)"),
    intervention: lib.func("msc_intervention", "int", ["void *", koffi.inout(koffi.pointer(Intervention))]),
    end: lib.func("void msc_transaction_cleanup(void *t)"),
    strlen: libc.func("size_t strlen(const void *text)"),
    free: libc.func("void free(void *pointer)"),
  };
}

/**
 * libmodsecurity 3 with one set of rules, by its C interface. It blocks for as long as the rules take, and a fault in it
 * ends the process: for worker processes only.
 */
export class ModSecurity {
  private readonly c: ReturnType<typeof load>;
  private readonly engine: unknown;
  private readonly rules: unknown;
  private lines: string[] = [];
  readonly version: string;
  /** Rules that are loaded. */
  readonly size: number;

  /**
   * @param server what the library logs as the host name. Text that an attacker cannot guess keeps log lines readable
   * (see `readLogLine`).
   * @throws RuleError for rules that the library does not take; Error when it is not installed.
   */
  constructor(
    sources: readonly RuleSource[],
    private readonly server: string,
  ) {
    this.c = load();
    this.engine = this.c.init();
    this.version = this.c.whoAmI(this.engine) as string;
    // Registered for as long as the process lives: the library keeps the pointer.
    const onLog = koffi.register(
      (_data: unknown, text: unknown) => this.lines.push(this.text(text)),
      koffi.pointer(LogCallback),
    );
    this.c.setLog(this.engine, onLog);
    this.rules = this.c.createRules();
    this.size = sources.reduce((sum, source) => sum + this.add(source), 0);
  }

  /** Asks the rules. `request`'s strings hold no NUL, which would end them early. */
  judge(request: HttpRequest): Judgement {
    const { c } = this;
    this.lines = [];
    const transaction = c.begin(this.engine, this.rules, null);
    try {
      c.connection(transaction, request.peer, 0, this.server, 0);
      c.uri(transaction, request.uri, request.method, "1.1");
      for (const [name, value] of request.headers) {
        const key = Buffer.from(name);
        const bytes = Buffer.from(value);
        c.header(transaction, key, key.length, bytes, bytes.length);
      }
      c.headers(transaction);
      // A rule that denies in phase 1 has spoken: what follows runs only where none has.
      let denial = this.intervention(transaction);
      if (denial === undefined) {
        if (request.body.length > 0) c.append(transaction, request.body, request.body.length);
        c.body(transaction);
        denial = this.intervention(transaction);
      }
      return judgement(this.lines, denial, this.server);
    } finally {
      c.end(transaction);
    }
  }

  private add(source: RuleSource): number {
    const error: [string | null] = [null];
    if (source.directory !== undefined) process.chdir(source.directory);
    const added = (
      source.text === undefined
        ? this.c.addFile(this.rules, source.name, error)
        : this.c.addText(this.rules, source.text, error)
    ) as number;
    if (added < 0) throw new RuleError(explain(source.name, error[0] ?? "not taken, for no reason given"));
    return added;
  }

  /** What denies the transaction, as the library logs it; undefined where nothing does. */
  private intervention(transaction: unknown): string | undefined {
    const found: { log: unknown; url: unknown } & Record<string, unknown> = {
      status: 200,
      pause: 0,
      url: null,
      log: null,
      disruptive: 0,
    };
    if (this.c.intervention(transaction, found) === 0) return undefined;
    const log = found.log === null ? "" : this.text(found.log);
    this.c.free(found.log);
    this.c.free(found.url);
    return log;
  }

  private text(pointer: unknown): string {
    const length = Number(this.c.strlen(pointer));
    if (length === 0) return "";
    return Buffer.from(koffi.view(pointer, length)).toString();
  }
}

function judgement(lines: readonly string[], denial: string | undefined, server: string): Judgement {
  const rules: ContentRule[] = [];
  let score = 0;
  for (const line of denial === undefined ? lines : [...lines, denial]) {
    const rule = readLogLine(line, server);
    if (rule === undefined) continue;
    const total = /^Inbound Anomaly Score Exceeded \(Total Score: (\d+)\)/.exec(rule.message);
    if (total !== null) score = Number(total[1]);
    else rules.push(rule);
  }
  return { denied: denial !== undefined, rules, score };
}

/** The library names a file only for what it reads itself, and then not always. */
function explain(name: string, error: string): string {
  const said = error
    .replaceAll("<<reference missing or not informed>>", name)
    .replace(/File: 0x[0-9a-f]+ at line: /, `File: ${name}. Line: `)
    .replace(/^Rules error\. File: (.*?)\. Line: (\d+)\. Column: (\d+)\. */s, "$1:$2:$3: ")
    .trim();
  return said.includes(name) ? said : `${name}: ${said}`;
}
