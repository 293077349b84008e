import { createHash } from "node:crypto";
import type { ContentRequest, ContentVerdict } from "../content.js";
import { normalForm } from "./normal-form.js";

/** The name of all requests that have the same verdict: a SHA-256 of what is judged. */
export function requestKey(request: ContentRequest, inert: boolean): string {
  const { payload, ...rest } = request;
  const hash = createHash("sha256").update(JSON.stringify(rest)).update("\0");
  const form = normalForm(payload, inert);
  // A payload may be made to look like another's normal form.
  return hash
    .update(form === payload ? "as it is" : "normal form")
    .update(form)
    .digest("binary");
}

/**
 * Verdicts by key, at most `limit` of them and the rules that they quote. Two generations: when the younger is half the limit it becomes the elder, and
 * what nobody asked for since is forgotten. That costs less for each question than an exact order of use.
 */
export class VerdictMemory {
  private younger = new Map<string, ContentVerdict>();
  private elder = new Map<string, ContentVerdict>();
  private youngerWeight = 0;

  constructor(private readonly limit: number) {}

  get size(): number {
    return this.younger.size + this.elder.size;
  }

  get(key: string): ContentVerdict | undefined {
    const recent = this.younger.get(key);
    if (recent !== undefined) return recent;
    const verdict = this.elder.get(key);
    if (verdict === undefined) return undefined;
    this.elder.delete(key);
    this.set(key, verdict);
    return verdict;
  }

  set(key: string, verdict: ContentVerdict): void {
    const weight = weightOf(verdict);
    if (weight > this.limit >> 1) return;
    if (this.youngerWeight + weight > this.limit >> 1) {
      this.elder = this.younger;
      this.younger = new Map();
      this.youngerWeight = 0;
    }
    this.younger.set(key, verdict);
    this.youngerWeight += weight;
  }
}

function weightOf(verdict: ContentVerdict): number {
  if (!("clean" in verdict)) return 1;
  return 1 + (verdict.clean ? (verdict.noted?.length ?? 0) : verdict.rules.length);
}
