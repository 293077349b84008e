export { type RunningAgent, startAgent } from "./agent.js";
export { type AgentConfig, agentSettings, loadAgentConfig } from "./config.js";
export * from "./mqtt/index.js";
export type { ByteStream, Transport } from "./transport/transport.js";
