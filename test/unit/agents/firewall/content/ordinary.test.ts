import assert from "node:assert/strict";
import test from "node:test";
import { full, Oracle, refused, request } from "./oracle.js";
import { ordinary } from "./ordinary.js";

/** Readings and states, without base64 and prose: what people write looks like commands at times. */
const plain = new Set([
  "sensor JSON",
  "sensor JSON, nested",
  "SenML",
  "JSON lines",
  "JSON with NaN",
  "Tasmota",
  "GeoJSON",
  "number",
]);
const count = full ? 10_000 : 480;

test(`of ${count} ordinary payloads none of the sensors' JSON is refused at level 1, and of all less than one in a hundred`, (t) => {
  const oracle = new Oracle();
  const kinds = new Map<string, { asked: number; refused: number }>();
  const examples: string[] = [];
  for (const { kind, topic, payload } of ordinary(count, 7)) {
    const found = kinds.get(kind) ?? { asked: 0, refused: 0 };
    kinds.set(kind, found);
    found.asked += 1;
    const verdict = oracle.mqtt(request({ topics: [topic], payload }));
    if (!refused(verdict)) continue;
    found.refused += 1;
    const rules = "rules" in verdict ? verdict.rules.map(({ id, matched }) => `${id} ${matched}`) : [];
    examples.push(`${kind}: ${JSON.stringify(payload.toString("latin1"))}: ${rules.join(", ")}`);
  }
  for (const [kind, { asked, refused }] of kinds) t.diagnostic(`${kind}: ${refused} of ${asked} refused`);
  for (const example of examples.slice(0, 20)) t.diagnostic(example);
  for (const [kind, { refused }] of kinds) if (plain.has(kind)) assert.equal(refused, 0, kind);
  assert.ok(examples.length * 100 < count, `${examples.length} of ${count} were refused`);
});

/** As people, device makers and platforms give them. */
const names = [
  ...[
    "O'Brien",
    "Jean-Luc d'Arc",
    "Müller & Söhne",
    "user@example.com",
    "DOMAIN\\user",
    "tenant|device",
    "root",
    "SELECT",
  ],
  ...[
    "mqttjs_8f3ab",
    "paho/34AAE54A75D839566E",
    "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}",
    "time",
    "env",
    "host",
    "a:b:c",
  ],
  ...["hub.azure-devices.net/dev1/?api-version=2021-04-12", "arn:aws:iot:eu-west-1:123:thing/x", "sensor 7"],
  ...[
    "$aws/things/x/shadow/update/delta",
    "$iothub/methods/POST/res/?$rid=1",
    "spBv1.0/G/NDATA/E",
    "etc/config",
  ],
  ...[
    "zigbee2mqtt/bridge/request/device/remove",
    "cmnd/tasmota/Backlog",
    "rpc/exec",
    "bin/status",
    "proc/1/status",
  ],
];

test("ordinary names of clients, users and topics are not refused", () => {
  const oracle = new Oracle();
  for (const name of names) {
    const connect = request({ kind: "connect", topics: [], clientId: name, username: name });
    assert.deepEqual(oracle.mqtt(connect), { clean: true }, name);
    assert.deepEqual(oracle.mqtt(request({ kind: "subscribe", topics: [name] })), { clean: true }, name);
  }
});
