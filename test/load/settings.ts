import { connect, type IClientOptions, type MqttClient } from "mqtt";

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

interface Connected<T> {
  readonly settings: T;
  readonly client: MqttClient;
  /** Publishes of QoS 1 and 2 that the agent takes before it has acknowledged them; MQTT.js leaves that to us. */
  readonly receiveMaximum: number;
}

/** The settings of this process and its connected client. */
export async function connectLoad<T extends LoadSettings>(): Promise<Connected<T>> {
  const settings = JSON.parse(process.argv[2]!) as T;
  const { agent, username, password } = settings;
  const options: IClientOptions = { username, password, protocolVersion: 5, reconnectPeriod: 0 };
  let receiveMaximum = 65_535;
  const client = connect(`mqtt://${agent}`, options);
  await new Promise<void>((resolve, reject) => {
    client.once("error", reject);
    client.once("connect", ({ properties }) => {
      receiveMaximum = properties?.receiveMaximum ?? receiveMaximum;
      resolve();
    });
  });
  let why = "";
  client.on("disconnect", ({ reasonCode = 0 }) => {
    why = `, reason 0x${reasonCode.toString(16)}`;
  });
  client.on("close", () => {
    throw new Error(`the agent has closed the connection${why}`);
  });
  console.log("ready");
  return { settings, client, receiveMaximum };
}

/** Calls `act` so many times a second for so many seconds, when `mayAct`; what is late is made up for. */
export async function paced(
  { perSecond, seconds }: LoadSettings,
  act: () => void,
  mayAct = () => true,
): Promise<void> {
  const begin = machineTime();
  const count = perSecond * seconds;
  for (let done = 0; done < count; ) {
    const due = Math.min(count, ((machineTime() - begin) / 1_000) * perSecond);
    for (; done < due && mayAct(); done++) act();
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
