import { PropertyId, PropertySet, propertiesIn } from "@topicast/protocol";
import type { ContentRequest, ContentVerdict } from "./content.js";
import type { ContentRule, Mode, Rule } from "./rules.js";

/** Something to say of a broken rule. */
export interface About {
  readonly topic?: string | undefined;
  readonly detail: string;
  readonly payload?: Buffer | undefined;
  readonly matched?: string | undefined;
  readonly contentRule?: number | undefined;
}

const NO_WORDS = { contentType: undefined, properties: [] } as const;

/** What the properties of a message or a will say in words. */
export function wordsOf(forward: Buffer | undefined): Pick<ContentRequest, "contentType" | "properties"> {
  if (forward === undefined || forward.length === 0) return NO_WORDS;
  const properties: (readonly [string, string])[] = [];
  let contentType: string | undefined;
  for (const { id, value } of propertiesIn(forward, PropertySet.PUBLISH)) {
    if (id === PropertyId.CONTENT_TYPE) contentType = value as string;
    else if (id === PropertyId.RESPONSE_TOPIC) properties.push(["Response Topic", value as string]);
    else if (id === PropertyId.USER_PROPERTY) properties.push(value as readonly [string, string]);
  }
  return { contentType, properties };
}

/** What an engine's verdict breaks: the rule with its answer, which is the milder one where nothing was found for sure. */
export function findings(
  rule: ContentRule,
  mode: Mode,
  verdict: ContentVerdict,
  topic: string | undefined,
  payload: Buffer,
): readonly (readonly [Rule, About])[] {
  const { id } = rule;
  if ("failed" in verdict) {
    const detail = `no verdict on the content: ${verdict.failed}`;
    // Where clients wait for verdicts fewer are asked for at a time: nothing would have been refused for that.
    const wouldWait = mode === "detect" && verdict.failed === "busy";
    const answer = rule.failed === "refuse" && !wouldWait ? "drop" : "log";
    return [
      [
        { id, answer },
        { topic, detail },
      ],
    ];
  }
  if (verdict.clean) {
    return (verdict.noted ?? []).map(({ id: contentRule, message, matched }) => [
      { id, answer: "log" },
      { topic, detail: message, matched, contentRule },
    ]);
  }
  const [first] = verdict.rules;
  const detail = `${first?.message ?? "content is hostile"} (score ${verdict.score})`;
  return [[rule, { topic, payload, detail, matched: first?.matched, contentRule: first?.id }]];
}
