import type { ContentRequest, ContentRule, ContentVerdict } from "../content.js";
import { httpRequests, looksLikeJson } from "./mapping.js";
import type { HttpRequest, Judgement } from "./modsecurity.js";
import { unreadableBody } from "./rule-sources.js";

/** Rules quoted in one verdict, at most. */
const rulesMax = 20;

/** The verdict on one MQTT packet: the engine's on each of the HTTP requests it becomes, put together. */
export function judgeContent(
  judge: (request: HttpRequest) => Judgement,
  request: ContentRequest,
): ContentVerdict {
  const found = httpRequests(request).map(judge);
  // The engine's own parser says what is JSON. What is not has not been looked into yet.
  if (looksLikeJson(request.payload) && found.some(unreadable)) {
    found.push(...httpRequests(request, false).map(judge));
  }
  const rules = distinct(found.flatMap((one) => one.rules.filter((rule) => rule.id !== unreadableBody)));
  if (found.some((one) => one.denied))
    return { clean: false, rules, score: Math.max(...found.map((o) => o.score)) };
  return rules.length === 0 ? { clean: true } : { clean: true, noted: rules };
}

function unreadable(judgement: Judgement): boolean {
  return judgement.rules.some((rule) => rule.id === unreadableBody);
}

/** Rules with `multiMatch` say the same more than once. */
function distinct(rules: readonly ContentRule[]): ContentRule[] {
  return [...new Map(rules.map((rule) => [`${rule.id} ${rule.matched}`, rule])).values()].slice(0, rulesMax);
}
