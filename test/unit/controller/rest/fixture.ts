import { request } from "node:http";
import type { Dataplane } from "@topicast/controller/dataplane/dataplane.js";
import { RestServer } from "@topicast/controller/rest/server.js";
import type {
  ForwarderView,
  MetricView,
  QuarantineEntryView,
  TopicView,
} from "@topicast/controller/rest/view.js";

export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what was answered is for the test to find out
  readonly json: any;
}

/** A forwarder's view over a real data plane, with lists that a test fills. */
export class TestView implements ForwarderView {
  readonly agentList: { id: string; address: string; mac: string; port: number }[] = [];
  readonly filterList: { filter: string; edges: string[] }[] = [];
  readonly topicList: TopicView[] = [];
  readonly metricList: MetricView[] = [];
  readonly shutOut = new Map<string, QuarantineEntryView>();
  readonly quarantine = {
    list: () => this.shutOut.values(),
    add: (source: string, rule: string, seconds: number, by: string) => {
      if (source === "10.0.0.1") return false;
      this.shutOut.set(source, { source, rule, by, since: 0, until: 1_000 * seconds });
      return true;
    },
    remove: (source: string) => this.shutOut.delete(source),
  };
  idle = 0;
  waiting = 0;

  constructor(readonly dataplane: Dataplane) {}

  uptimeMs(): number {
    return 1234.5;
  }

  counts() {
    const { agentList, filterList, topicList, idle } = this;
    return { agents: agentList.length, filters: filterList.length, topics: topicList.length, idle };
  }

  allocation() {
    return { sets: 3, groups: 2, shared: 1, waiting: this.waiting, copies: { useful: 7, extra: 2 } };
  }

  load(address: string) {
    return address === "239.192.0.1" ? { sets: 2, topics: 5, waste: 0.12345 } : undefined;
  }

  agents() {
    return this.agentList.map((agent) => ({ ...agent, filters: 2, upMs: 1000.25, silentMs: 0.5 }));
  }

  filters() {
    return this.filterList;
  }

  topics() {
    return this.topicList;
  }

  metrics() {
    return this.metricList;
  }
}

export class Rest {
  readonly errors: unknown[] = [];
  private constructor(
    readonly server: RestServer,
    errors: unknown[],
  ) {
    this.errors = errors;
  }

  static async open(view: ForwarderView): Promise<Rest> {
    const errors: unknown[] = [];
    const log = { error: (fields: object) => errors.push(fields) };
    const listen = { address: "127.0.0.1", port: 0 };
    return new Rest(await RestServer.open({ view, listen, log }), errors);
  }

  get port(): number {
    return this.server.address.port;
  }

  ask(path: string, method = "GET", body?: string, headers: Record<string, string> = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = request(
        { host: "127.0.0.1", port: this.port, path, method, headers, agent: false },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (chunk) => {
            text += chunk;
          });
          response.on("end", () => {
            const isJson = response.headers["content-type"]?.startsWith("application/json") && text !== "";
            const json = isJson ? JSON.parse(text) : undefined;
            resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json });
          });
          response.on("error", reject);
        },
      );
      call.on("error", reject);
      call.end(body);
    });
  }

  close(): Promise<void> {
    return this.server.close();
  }
}
