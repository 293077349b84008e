// One client for quarantine.test.ts, as its argument (JSON) says. Prints one line of JSON for each thing that happens.
//   latency: publishes to itself every `everyMs`, and says every second when it published and how long each took
//   guess:   logs in with wrong passwords, one connection after the other, until nobody answers any more
//   connect: opens connections as fast as it can, with the right password
//   publish: one connection that publishes as fast as it is read
//   login:   connects once with the right password
// Attacks (guess, connect, publish) begin at a line `go` of standard input and pause at any other.
import { connect as dial } from "node:net";
import { createInterface } from "node:readline";
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

/** An attack that standard input switches on and off. */
function switched() {
  let waiting = [];
  let on = false;
  const attack = {
    onPause: () => {},
    isOn: () => (on ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  };
  createInterface({ input: process.stdin }).on("line", (line) => {
    on = line === "go";
    if (!on) return attack.onPause();
    for (const resolve of waiting) resolve();
    waiting = [];
  });
  say({ ready: true });
  return attack;
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
      const { at, start } = sent.get(number);
      times.push([at, Math.round((performance.now() - start) * 100) / 100]);
      sent.delete(number);
    });
    await new Promise((resolve) => client.once("connect", resolve));
    await client.subscribeAsync(`latency/${id}`);
    let number = 0;
    setInterval(() => {
      number += 1;
      sent.set(String(number), { at: Date.now(), start: performance.now() });
      client.publish(`latency/${id}`, String(number), { qos: 1 });
    }, wish.everyMs);
    setInterval(() => {
      say({ times, waiting: sent.size });
      times = [];
    }, 1_000);
  },

  async guess() {
    const guesses = switched();
    for (let n = 1; ; n++) {
      await guesses.isOn();
      const answer = await login(`guess-${n}`, `wrong-${n}`, 300);
      if (n <= 50 || n % 20 === 0) say({ guess: n, answer });
      if (answer === "silence" || answer === "closed") await sleep(50);
    }
  },

  async connect() {
    const flood = switched();
    const lane = async () => {
      for (;;) {
        await flood.isOn();
        await login(`flood-${Math.random()}`, password);
      }
    };
    for (let n = 0; n < 50; n++) void lane();
  },

  async publish() {
    const body = Buffer.from(`\0\x05flood${"x".repeat(100)}`);
    const packet = Buffer.concat([Buffer.from([0x30, body.length]), body]);
    const many = Buffer.concat(Array(500).fill(packet));
    const flood = switched();
    for (;;) {
      await flood.isOn();
      await new Promise((resolve) => {
        const socket = dial(1883, host);
        const pour = () => {
          while (socket.write(many));
        };
        socket.on("connect", () => socket.write(connectPacket(id, password)));
        socket.once("data", pour);
        socket.on("drain", pour);
        socket.on("error", () => {});
        socket.on("close", resolve);
        flood.onPause = () => socket.destroy();
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
