import { encodeFabricJson, FabricTopic, formatEndpoint, type SteeringProblem } from "@topicast/protocol";
import type { SteeringGap } from "../dataplane/dataplane.js";
import type { Agent } from "./agents.js";

/** Agents say to whoever asks them whether the switches lead their intercepted addresses' clients to them. */
export function tellSteering(agents: Iterable<Agent>, gaps: readonly SteeringGap[]): void {
  for (const agent of agents) {
    if (agent.claim.intercepts.length === 0 || agent.confirmed !== undefined) continue;
    const problems = gaps
      .filter((gap) => gap.agents.includes(agent.id))
      .map((gap): SteeringProblem => ({ endpoint: formatEndpoint(gap), problem: gap.reason }));
    const told = JSON.stringify(problems);
    if (told === agent.steering) continue;
    agent.steering = told;
    void agent.channel.send(encodeFabricJson(FabricTopic.STEERING, problems));
  }
}
