import type { Child } from "topicast/testbed/child";
import { CREDENTIALS, type Testbed } from "topicast/testbed/testbed";
import type { PublishedMessage, PublishSettings, SubscribeReport, SubscribeSettings } from "./settings.js";

type Where = "agent" | "username" | "password";

/** A program of this room at work; `report` is what it tells in the end. */
export interface Load<Report> {
  readonly child: Child;
  readonly report: Promise<Report>;
}

/** Publishes from `host` at the agent of `agentHost`; resolves when it is connected. */
export function startPublishing(
  testbed: Testbed,
  host: string,
  agentHost: string,
  settings: Omit<PublishSettings, Where>,
): Promise<Load<PublishedMessage[]>> {
  return start(testbed, "publish", host, agentHost, settings);
}

/** Subscribes and unsubscribes from `host` at the agent of `agentHost`; resolves when it is connected. */
export function startSubscribing(
  testbed: Testbed,
  host: string,
  agentHost: string,
  settings: Omit<SubscribeSettings, Where>,
): Promise<Load<SubscribeReport>> {
  return start(testbed, "subscribe", host, agentHost, settings);
}

async function start<Report>(
  testbed: Testbed,
  program: string,
  host: string,
  agentHost: string,
  settings: { readonly seconds: number },
): Promise<Load<Report>> {
  const { network, run } = testbed;
  const text = JSON.stringify({ ...settings, ...CREDENTIALS, agent: network.address(agentHost) });
  const file = `${import.meta.dirname}/${program}-main.js`;
  const child = run.start({
    name: `${program} on ${host}`,
    command: network.inHost(host, [process.execPath, file, text]),
  });
  await child.waitFor(/^ready$/, 15_000);
  const line = child.waitFor(/^[[{]/, settings.seconds * 1_000 + 60_000);
  return { child, report: line.then((json) => JSON.parse(json) as Report) };
}
