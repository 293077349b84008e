import { connectAsync, type IClientOptions, type MqttClient } from "mqtt";

/** Where a client connects, and for how long it works. */
export interface LoadSettings {
  /** Address of an agent. */
  readonly agent: string;
  readonly username: string;
  readonly password: string;
  /** Changes or messages a second. */
  readonly perSecond: number;
  readonly seconds: number;
}

export interface PublishSettings extends LoadSettings {
  readonly topics: readonly string[];
  readonly qos: 0 | 1 | 2;
}

export interface SubscribeSettings extends LoadSettings {
  readonly filters: readonly string[];
  readonly qos: 0 | 1 | 2;
  /** How many of the filters are held at a time, about. */
  readonly held: number;
}

/** One message: its text, topic, and when its publish began. */
export type PublishedMessage = readonly [text: string, topic: string, at: number];

/** One time that a filter was subscribed; times in ms. */
export interface Period {
  readonly filter: string;
  /** SUBSCRIBE sent. */
  readonly asked: number;
  /** SUBACK here. */
  readonly from: number;
  /** UNSUBSCRIBE sent; the end of it all for those that are held then. */
  readonly to: number;
}

export interface SubscribeReport {
  readonly periods: readonly Period[];
  /** Texts in the order they came. */
  readonly received: readonly string[];
}

/** Of all processes of this machine alike: CLOCK_MONOTONIC, in ms. */
export function machineTime(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** The settings of this process and its connected client. */
export async function connectLoad<T extends LoadSettings>(): Promise<{ settings: T; client: MqttClient }> {
  const settings = JSON.parse(process.argv[2]!) as T;
  const { agent, username, password } = settings;
  const options: IClientOptions = { username, password, protocolVersion: 5, reconnectPeriod: 0 };
  const client = await connectAsync(`mqtt://${agent}`, options);
  client.on("close", () => {
    throw new Error("the agent has closed the connection");
  });
  console.log("ready");
  return { settings, client };
}

/** Calls `act` so many times a second for so many seconds; what is late is made up for. */
export async function paced({ perSecond, seconds }: LoadSettings, act: () => void): Promise<void> {
  const begin = machineTime();
  const count = perSecond * seconds;
  for (let done = 0; done < count; ) {
    const due = Math.min(count, ((machineTime() - begin) / 1_000) * perSecond);
    for (; done < due; done++) act();
    await sleep(1);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Says the report and ends the process, once all of it is written. */
export function report(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`, () => process.exit(0));
}
