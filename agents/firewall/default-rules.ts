import type { Rules } from "./rules.js";

const MINUTE_MS = 60_000;

/**
 * Without a rule file: what no device in good order does. Floods are cut to what one edge serves beside others', guessing
 * ends, and what only looks odd is logged.
 */
export const DEFAULT_RULES: Rules = {
  rates: [
    {
      ...{ id: "rates.connections.address", of: "connections", per: "address", topics: undefined },
      ...{ perSecond: 50, burst: 500, answer: "drop" },
    },
    {
      ...{ id: "rates.messages.client", of: "messages", per: "client", topics: undefined },
      ...{ perSecond: 1_000, burst: 5_000, answer: "drop" },
    },
    {
      ...{ id: "rates.bytes.client", of: "bytes", per: "client", topics: undefined },
      ...{ perSecond: 4 * 1_048_576, burst: 16 * 1_048_576, answer: "drop" },
    },
    {
      ...{ id: "rates.subscriptions.client", of: "subscriptions", per: "client", topics: undefined },
      ...{ perSecond: 100, burst: 1_000, answer: "drop" },
    },
  ],
  topics: [],
  subscribeAll: { id: "subscribe-all", answer: "log" },
  payloads: [],
  guessing: {
    address: {
      ...{ id: "guessing.address", answer: "quarantine" },
      ...{ perSecond: 20 / 60, burst: 20, lockMs: 5 * MINUTE_MS },
    },
    user: {
      ...{ id: "guessing.user", answer: "drop" },
      ...{ perSecond: 50 / 60, burst: 50, lockMs: 5 * MINUTE_MS },
    },
  },
  protocol: { id: "protocol", answer: "quarantine", perSecond: 20 / 60, burst: 20 },
  takeOver: { id: "take-over", answer: "drop", by: "user" },
  content: { id: "content", answer: "drop", failed: "refuse", topics: ["#"], engine: {}, isOptional: true },
  quarantineMs: 5 * MINUTE_MS,
  safe: [],
  mqtt3: "acknowledge",
  events: { perSecond: 100, burst: 100 },
};
