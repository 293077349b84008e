// One client for quarantine.test.ts, as its argument (JSON) says. Prints one line of JSON for each thing that happens.
//   latency: publishes to itself every `everyMs`, and says every second how long that took
//   guess:   logs in with wrong passwords, one connection after the other, until nobody answers any more
//   connect: opens connections as fast as it can, with the right password
//   publish: one connection that publishes as fast as it is read
//   login:   connects once with the right password
import { connect as dial } from "node:net";
import { connect } from "mqtt";

const wish = JSON.parse(process.argv[2]);
const { host, id, username, password } = wish;
const say = (fields) => process.stdout.write(`${JSON.stringify({ at: Date.now(), ...fields })}\n`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A CONNECT of MQTT 3.1.1. */
function connectPacket(clientId, secret) {
  const text = (value) =>
    Buffer.concat([Buffer.from([value.length >> 8, value.length & 255]), Buffer.from(value)]);
  const body = Buffer.concat([
    Buffer.from([0, 4, 77, 81, 84, 84, 4, 0xc2, 0, 0]),
    ...[clientId, username, secret].map(text),
  ]);
  return Buffer.concat([Buffer.from([0x10, body.length]), body]);
}

/** The CONNACK's code; "closed" without one, "silence" where nothing comes at all. */
function login(clientId, secret, patienceMs = 1_000) {
  return new Promise((resolve) => {
    const socket = dial(1883, host);
    const late = setTimeout(() => end("silence"), patienceMs);
    const end = (answer) => {
      clearTimeout(late);
      socket.destroy();
      resolve(answer);
    };
    socket.on("connect", () => socket.write(connectPacket(clientId, secret)));
    socket.on("data", (bytes) => end(bytes[3]));
    socket.on("error", () => end("closed"));
    socket.on("close", () => end("closed"));
  });
}

const acts = {
  async latency() {
    const client = connect(`mqtt://${host}:1883`, { clientId: id, username, password, reconnectPeriod: 0 });
    const sent = new Map();
    let times = [];
    client.on("error", (error) => say({ error: error.message }));
    client.on("close", () => say({ closed: true }));
    client.on("message", (_topic, payload) => {
      const number = payload.toString();
      times.push(performance.now() - sent.get(number));
      sent.delete(number);
    });
    await new Promise((resolve) => client.once("connect", resolve));
    await client.subscribeAsync(`latency/${id}`);
    let number = 0;
    setInterval(() => {
      number += 1;
      sent.set(String(number), performance.now());
      client.publish(`latency/${id}`, String(number), { qos: 1 });
    }, wish.everyMs);
    setInterval(() => {
      say({ times: times.map((ms) => Math.round(ms * 100) / 100), waiting: sent.size });
      times = [];
    }, 1_000);
  },

  async guess() {
    for (let n = 1; ; n++) {
      const answer = await login(`guess-${n}`, `wrong-${n}`, 300);
      if (n <= 50 || n % 20 === 0) say({ guess: n, answer });
      if (answer === "silence" || answer === "closed") await sleep(50);
    }
  },

  async connect() {
    let count = 0;
    setInterval(() => say({ count }), 1_000);
    const lane = async () => {
      for (;;) {
        await login(`flood-${Math.random()}`, password, 3_000);
        count += 1;
      }
    };
    for (let n = 0; n < 50; n++) void lane();
  },

  async publish() {
    const body = Buffer.from(`\0\x05flood${"x".repeat(100)}`);
    const packet = Buffer.concat([Buffer.from([0x30, body.length]), body]);
    const many = Buffer.concat(Array(500).fill(packet));
    let bytes = 0;
    setInterval(() => say({ bytes }), 1_000);
    for (;;) {
      await new Promise((resolve) => {
        const socket = dial(1883, host);
        const pour = () => {
          while (socket.write(many)) bytes += many.length;
        };
        socket.on("connect", () => socket.write(connectPacket(id, password)));
        socket.once("data", pour);
        socket.on("drain", pour);
        socket.on("error", () => {});
        socket.on("close", resolve);
      });
      await sleep(50);
    }
  },

  async login() {
    say({ answer: await login(id, password, 2_000) });
    process.exit();
  },
};

await acts[wish.act]();
