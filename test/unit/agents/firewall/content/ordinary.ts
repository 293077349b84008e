/** What devices ordinarily send, by the seed: thousands of payloads in the shapes of common products and protocols. */

export interface Ordinary {
  readonly kind: string;
  readonly topic: string;
  readonly payload: Buffer;
}

/** Numbers in [0, 1) from a seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Dice {
  constructor(private readonly next: () => number) {}

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  one<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  real(low: number, high: number, digits = 2): number {
    return Number((low + this.next() * (high - low)).toFixed(digits));
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  hex(length: number): string {
    return this.bytes(length).toString("hex");
  }

  time(): string {
    return new Date(
      Date.UTC(2026, this.below(12), 1 + this.below(28), this.below(24), this.below(60), this.below(60)),
    ).toISOString();
  }
}

const names = [
  "temp",
  "temperature",
  "humidity",
  "pressure",
  "co2",
  "voltage",
  "current",
  "power",
  "energy",
  "rssi",
  "battery",
  "pm2_5",
  "lux",
  "flow",
  "level",
  "speed",
];
const rooms = ["kitchen", "living-room", "boiler", "hall 2", "Büro", "garage", "roof", "line-4"];
const states = ["ON", "OFF", "open", "closed", "online", "offline", "idle", "heating", "auto", "error: E21"];

const sentences = [
  // English
  "The pump in hall 3 was switched off at 14:05 because the pressure rose above 6.2 bar.",
  "Door opened; select a mode and press OK to update the settings.",
  "Please don't restart the gateway before the update is complete (about 10 minutes).",
  "Battery low - replace soon! Last value: 2.9 V.",
  // German
  "Die Pumpe in Halle 3 wurde um 14:05 Uhr abgeschaltet, weil der Druck über 6,2 bar lag.",
  "Tür geöffnet – bitte schließen; Heizung läuft im Sparbetrieb.",
  // French
  "La pompe du hall 3 s'est arrêtée à 14h05, la pression ayant dépassé 6,2 bars.",
  "Porte ouverte : veuillez la fermer, s'il vous plaît.",
  // Spanish
  "La bomba se apagó a las 14:05 porque la presión superó los 6,2 bares.",
  "¡Atención! La puerta está abierta; ciérrela, por favor.",
  // Japanese
  "ポンプ3は14時05分に停止しました。圧力が6.2バールを超えたためです。",
  "ドアが開いています。閉めてください。",
];

/** CBOR of small values (RFC 8949). */
function cbor(value: unknown): Buffer {
  if (typeof value === "string")
    return Buffer.concat([cborHead(3, Buffer.byteLength(value)), Buffer.from(value)]);
  if (typeof value === "number" && Number.isInteger(value))
    return value < 0 ? cborHead(1, -1 - value) : cborHead(0, value);
  if (typeof value === "number") {
    const real = Buffer.alloc(9, 0xfb);
    real.writeDoubleBE(value, 1);
    return real;
  }
  if (Array.isArray(value)) return Buffer.concat([cborHead(4, value.length), ...value.map(cbor)]);
  const entries = Object.entries(value as Record<string, unknown>);
  return Buffer.concat([
    cborHead(5, entries.length),
    ...entries.flatMap(([name, item]) => [cbor(name), cbor(item)]),
  ]);
}

function cborHead(major: number, argument: number): Buffer {
  if (argument < 24) return Buffer.from([(major << 5) | argument]);
  if (argument < 256) return Buffer.from([(major << 5) | 24, argument]);
  const head = Buffer.alloc(5, (major << 5) | 26);
  head.writeUInt32BE(argument, 1);
  return head;
}

/** A Protocol Buffers message of varints, floats and strings. */
function protobuf(fields: readonly (number | string)[]): Buffer {
  const parts = fields.map((field, index) => {
    const number = index + 1;
    if (typeof field === "string") {
      return Buffer.concat([Buffer.from([(number << 3) | 2, Buffer.byteLength(field)]), Buffer.from(field)]);
    }
    const real = Buffer.alloc(5, (number << 3) | 5);
    real.writeFloatLE(field, 1);
    return real;
  });
  return Buffer.concat(parts);
}

function nmea(body: string): string {
  const sum = [...Buffer.from(body)].reduce((sum, byte) => sum ^ byte, 0);
  return `$${body}*${sum.toString(16).toUpperCase().padStart(2, "0")}`;
}

function reading(d: Dice): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (let i = 0; i <= d.below(5); i++) values[d.one(names)] = d.real(-40, 1000, d.below(4));
  if (d.below(2) === 0) values.ts = d.one([d.time(), 1_770_000_000 + d.below(1e7)]);
  if (d.below(3) === 0)
    values.id = d.one([`dev-${d.hex(3)}`, d.hex(8), `${d.hex(4)}-${d.hex(2)}-${d.hex(2)}`]);
  if (d.below(3) === 0) values.unit = d.one(["C", "°C", "%", "hPa", "ppm", "W", "kWh", "m/s"]);
  if (d.below(3) === 0) values.state = d.one(states);
  return values;
}

const makers: Readonly<Record<string, (d: Dice) => string | Buffer>> = {
  "sensor JSON": (d) => JSON.stringify(reading(d)),
  "sensor JSON, nested": (d) =>
    JSON.stringify(
      {
        device: { id: d.hex(6), room: d.one(rooms) },
        readings: [reading(d), reading(d)],
        fw: `v1.${d.below(20)}.${d.below(9)}`,
      },
      null,
      d.below(2) * 2,
    ),
  SenML: (d) =>
    JSON.stringify([
      {
        bn: `urn:dev:mac:${d.hex(6)}:`,
        bt: 1.7e9 + d.below(1e6),
        n: d.one(names),
        u: "Cel",
        v: d.real(0, 40),
      },
    ]),
  "JSON lines": (d) => `${JSON.stringify(reading(d))}\n${JSON.stringify(reading(d))}\n`,
  "JSON with NaN": (d) => `{"${d.one(names)}": NaN, "${d.one(names)}": ${d.real(0, 100)}}`,
  "Home Assistant discovery": (d) =>
    JSON.stringify({
      name: `${d.one(rooms)} ${d.one(names)}`,
      state_topic: `zigbee2mqtt/0x${d.hex(8)}`,
      value_template: `{{ value_json.${d.one(names)} }}`,
      unit_of_measurement: d.one(["°C", "%"]),
      unique_id: `0x${d.hex(8)}_${d.one(names)}_zigbee2mqtt`,
      device: {
        identifiers: [`zigbee2mqtt_0x${d.hex(8)}`],
        manufacturer: "Xiaomi",
        model: "Aqara (WSDCGQ11LM)",
        sw_version: "1.33.0",
      },
    }),
  Tasmota: (d) =>
    JSON.stringify({
      Time: d.time().slice(0, 19),
      Uptime: `${d.below(99)}T01:02:03`,
      Vcc: d.real(3, 3.5),
      POWER: d.one(["ON", "OFF"]),
      Wifi: { AP: 1, SSId: "plant-iot", BSSId: "A0:B1:C2:D3:E4:F5", Channel: 6, RSSI: d.below(100) },
    }),
  "LoRaWAN uplink (JSON)": (d) =>
    JSON.stringify({
      end_device_ids: {
        device_id: `eui-${d.hex(8)}`,
        dev_eui: d.hex(8).toUpperCase(),
        join_eui: "0000000000000000",
      },
      received_at: d.time(),
      uplink_message: {
        f_port: 1 + d.below(200),
        f_cnt: d.below(65536),
        frm_payload: d.bytes(5 + d.below(30)).toString("base64"),
        rx_metadata: [
          { gateway_ids: { gateway_id: `gw-${d.below(99)}` }, rssi: -d.below(120), snr: d.real(-20, 10, 1) },
        ],
        settings: { data_rate: { lora: { bandwidth: 125000, spreading_factor: 7 } }, frequency: "868100000" },
      },
    }),
  "LoRaWAN frame": (d) => Buffer.concat([Buffer.from([0x40]), d.bytes(12 + d.below(40))]),
  number: (d) => String(d.real(-50, 2000, d.below(4))),
  state: (d) => d.one(states),
  CSV: (d) => `${d.time()},${d.real(0, 40)},${d.real(0, 100)},${d.one(rooms)}`,
  "Influx line protocol": (d) =>
    `weather,location=${d.one(["us-midwest", "hall2"])},id=${d.hex(3)} temperature=${d.real(0, 40)},humidity=${d.below(100)}i ${1_770_000_000 + d.below(1e6)}000000000`,
  form: (d) => `temp=${d.real(0, 40)}&hum=${d.below(100)}&id=${d.hex(4)}`,
  "text in five languages": (d) => d.one(sentences),
  "log line": (d) =>
    `${d.time()} [INFO] wifi: connected to "plant-iot" (channel ${1 + d.below(13)}, rssi -${d.below(90)})`,
  NMEA: (d) =>
    nmea(
      `GPGGA,${100000 + d.below(130000)},48${d.real(10, 50, 3)},N,011${d.real(10, 50, 3)},E,1,08,0.9,${d.real(100, 900, 1)},M,46.9,M,,`,
    ),
  GeoJSON: (d) =>
    JSON.stringify({
      type: "Feature",
      geometry: { type: "Point", coordinates: [d.real(-180, 180, 6), d.real(-90, 90, 6)] },
      properties: { speed: d.real(0, 130, 1), course: d.below(360) },
    }),
  base64: (d) => d.bytes(10 + d.below(90)).toString("base64"),
  hex: (d) => d.hex(4 + d.below(40)),
  CBOR: (d) =>
    cbor({
      id: d.hex(4),
      room: d.one(rooms),
      values: [d.real(0, 40), d.below(1000), -d.below(90)],
      state: d.one(states),
    }),
  protobuf: (d) => protobuf([d.hex(4), d.real(0, 40), d.one(rooms), d.real(0, 1), d.one(states)]),
  "random bytes": (d) => d.bytes(1 + d.below(200)),
  XML: (d) =>
    `<?xml version="1.0" encoding="UTF-8"?><reading id="${d.hex(4)}"><time>${d.time()}</time><value unit="C">${d.real(0, 40)}</value><room>${d.one(rooms)}</room></reading>`,
};

const topics: readonly ((d: Dice) => string)[] = [
  (d) => `plant/${d.below(20)}/${d.one(rooms)}/${d.one(names)}`,
  (d) => `zigbee2mqtt/0x${d.hex(8)}`,
  (d) => `tele/tasmota_${d.hex(3).toUpperCase()}/SENSOR`,
  (d) => `stat/${d.one(["env", "time", "id", "host", "set", "ps", "who"])}/RESULT`,
  (d) => `v3/app@tenant/devices/eui-${d.hex(8)}/up`,
  (d) => `spBv1.0/Group 1/DDATA/edge-${d.below(9)}/pump`,
  (d) => `homeassistant/sensor/${d.hex(4)}/config`,
  (d) => `$share/workers/jobs/${d.below(100)}`,
  (d) => `/devices/${d.one(rooms)}/controls/${d.one(names)}`,
];

export function* ordinary(count: number, seed: number): Generator<Ordinary> {
  const dice = new Dice(random(seed));
  const kinds = Object.entries(makers);
  for (let i = 0; i < count; i++) {
    const [kind, make] = kinds[i % kinds.length]!;
    const made = make(dice);
    yield {
      kind,
      topic: dice.one(topics)(dice),
      payload: typeof made === "string" ? Buffer.from(made) : made,
    };
  }
}
