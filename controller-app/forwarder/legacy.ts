import {
  type Endpoint,
  encodePlainPublish,
  FilterTrie,
  filterError,
  formatEndpoint,
  type Message,
  readPlain,
  topicError,
} from "@topicast/protocol";

/** Filters of one proxy; beyond it a SUBSCRIBE is dropped and counted. */
const FILTERS_MAX = 10_000;

export interface LegacyOptions {
  /** Where the proxies are: nobody else is listened to. */
  readonly proxies: readonly Endpoint[];
  readonly transmit: (packets: Buffer, to: Endpoint) => void;
  /** A proxy's subscriptions have changed: the topics that this filter matches go by another way. */
  readonly onChange: (filter: string) => void;
  /** A proxy's clients have published this. */
  readonly onPublish: (message: Message, proxy: LegacyProxy) => void;
}

/** One proxy that speaks bare MQTT packets over UDP. */
export interface LegacyProxy {
  readonly endpoint: Endpoint;
  readonly filters: Set<string>;
}

/**
 * The edges that speak the plain form: protocol/README.md, section "The plain form". They acknowledge nothing and are
 * told nothing again, so they are edges at QoS 0, and their topics go by way of the forwarder.
 */
export class LegacyProxies {
  private readonly byEndpoint = new Map<string, LegacyProxy>();
  private readonly filters = new FilterTrie<LegacyProxy>();

  readonly stats = {
    received: 0,
    sent: 0,
    malformed: 0,
    strangers: 0,
    filters_refused: 0,
    unknown_packets: 0,
  };

  constructor(private readonly options: LegacyOptions) {
    for (const endpoint of options.proxies) {
      this.byEndpoint.set(formatEndpoint(endpoint), { endpoint, filters: new Set() });
    }
  }

  /** Whether a proxy is subscribed to the topic. */
  wants(topic: string): boolean {
    return this.filters.size > 0 && this.filters.match(topic).length > 0;
  }

  /** Sends a message to every proxy that is subscribed, but for the one that it came from. */
  send(message: Message, except?: LegacyProxy): void {
    if (this.filters.size === 0) return;
    const proxies = new Set(this.filters.match(message.topic));
    if (except !== undefined) proxies.delete(except);
    if (proxies.size === 0) return;
    const packet = encodePlainPublish(message);
    for (const { endpoint } of proxies) {
      this.stats.sent += 1;
      this.options.transmit(packet, endpoint);
    }
  }

  onDatagram(bytes: Buffer, from: Endpoint): void {
    const proxy = this.byEndpoint.get(formatEndpoint(from));
    if (proxy === undefined) {
      this.stats.strangers += 1;
      return;
    }
    this.stats.received += 1;
    const packets = readPlain(bytes);
    if (packets === undefined) {
      this.stats.malformed += 1;
      return;
    }
    for (const packet of packets) {
      if (packet.type === "subscribe") for (const filter of packet.filters) this.subscribe(proxy, filter);
      else if (packet.type === "unsubscribe")
        for (const filter of packet.filters) this.unsubscribe(proxy, filter);
      else if (packet.type === "publish") this.publish(proxy, packet.message);
      else this.stats.unknown_packets += 1;
    }
  }

  private subscribe(proxy: LegacyProxy, filter: string): void {
    const refused = filterError(filter) !== undefined || filter.startsWith("$");
    if (refused || (proxy.filters.size >= FILTERS_MAX && !proxy.filters.has(filter))) {
      this.stats.filters_refused += 1;
      return;
    }
    proxy.filters.add(filter);
    this.filters.add(filter, proxy);
    this.options.onChange(filter);
  }

  private unsubscribe(proxy: LegacyProxy, filter: string): void {
    if (!proxy.filters.delete(filter)) return;
    this.filters.remove(filter, proxy);
    this.options.onChange(filter);
  }

  private publish(proxy: LegacyProxy, message: Message): void {
    if (topicError(message.topic) !== undefined || message.topic.startsWith("$")) {
      this.stats.malformed += 1;
      return;
    }
    this.options.onPublish(message, proxy);
  }
}
