import { percentEncode } from "@topicast/agent/firewall/content/encode.js";
import { judgeContent } from "@topicast/agent/firewall/content/judge.js";
import { type Judgement, ModSecurity } from "@topicast/agent/firewall/content/modsecurity.js";
import { ruleSources } from "@topicast/agent/firewall/content/rule-sources.js";
import { type ContentSettings, contentSettings } from "@topicast/agent/firewall/content/settings.js";
import type { ContentRequest, ContentVerdict } from "@topicast/agent/firewall/content.js";

/** Everything, in half a minute: `npm run test:content`. */
export const full = process.env.TOPICAST_CONTENT === "full";

export function request(given: Partial<ContentRequest> & { text?: string } = {}): ContentRequest {
  const { text, ...rest } = given;
  return {
    kind: "publish",
    topics: ["plant/7/boiler"],
    clientId: "sensor-7",
    username: undefined,
    peer: "192.0.2.7",
    payload: Buffer.from(text ?? ""),
    contentType: undefined,
    properties: [],
    ...rest,
  };
}

/** The engine in this process, without pool, memory or normal form: what all of those must agree with. */
export class Oracle {
  readonly engine: ModSecurity;

  constructor(given: Partial<ContentSettings> = {}) {
    this.engine = new ModSecurity(ruleSources(contentSettings(given)), "oracle");
  }

  mqtt(asked: ContentRequest): ContentVerdict {
    return judgeContent((http) => this.engine.judge(http), asked);
  }

  /** The same string asked as a browser would send it: `GET /?q=…`. */
  http(text: string): Judgement {
    return this.engine.judge({
      method: "GET",
      uri: `/?q=${percentEncode(text)}`,
      headers: [["Host", "www.example"]],
      body: Buffer.alloc(0),
      peer: "192.0.2.1",
    });
  }
}

export function refused(verdict: ContentVerdict): boolean {
  return "clean" in verdict && !verdict.clean;
}
