import { group, OPEN } from "./cases.js";

const config = { keepAliveIdle: 60_000, keepAliveInterval: 10_000, keepAliveProbes: 2 };

export const keepAlive = group("TCP keep-alive (RFC 9293 section 3.8.4)", [
  {
    name: "is off unless asked for",
    script: `${OPEN}
      +86400 state ESTABLISHED
      counter keep_alive_probes 0`,
  },
  {
    name: "probes after the idle time, just before what is expected next, and goes on for as long as the peer answers",
    config,
    script: `${OPEN}
      +59.9 state ESTABLISHED
      +0.1 > . 0:0(0) ack 1 win 32768
      +0.01 < . 1:1(0) ack 1 win 512
      +60 > . 0:0(0) ack 1
      +10 > . 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 512
      +60 > . 0:0(0) ack 1
      counter keep_alive_probes 4
      state ESTABLISHED`,
  },
  {
    name: "resets after the last probe without an answer",
    config,
    script: `${OPEN}
      +60 > . 0:0(0) ack 1
      +10 > . 0:0(0) ack 1
      +10 > R. 1:1(0) ack 1
      closed timeout
      state NONE
      counter timed_out 1`,
  },
  {
    name: "waits from the last segment that came",
    config,
    script: `${OPEN}
      +40 < P. 1:11(10) ack 1 win 512
      > . 1:1(0) ack 11
      +59.9 state ESTABLISHED
      +0.1 > . 0:0(0) ack 11`,
  },
  {
    name: "a forged segment outside the window is no sign of life",
    config,
    script: `${OPEN}
      +40 < . 900000:900000(0) ack 1 win 512
      > . 1:1(0) ack 1
      +20 > . 0:0(0) ack 1`,
  },
  {
    name: "leaves a peer to the retransmission timer while data is on its way",
    config: { ...config, keepAliveIdle: 500, userTimeout: 4_000 },
    script: `${OPEN}
      write 100
      > P. 1:101(100)
      +0.21 > P. 1:101(100)
      +0.42 > P. 1:101(100)
      +0.84 > P. 1:101(100)
      +1.68 > P. 1:101(100)
      +3.36 > R. 101:101(0) ack 1
      closed timeout
      counter keep_alive_probes 0`,
  },
  {
    name: "ends FIN-WAIT-2 when the peer is gone",
    config: { ...config, finWait2: 0 },
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      +0.01 < . 1:1(0) ack 2 win 512
      state FIN-WAIT-2
      +60 > . 1:1(0) ack 1
      +10 > . 1:1(0) ack 1
      +10 > R. 2:2(0) ack 1
      state NONE`,
  },
  {
    name: "sends nothing in TIME-WAIT",
    config: { ...config, keepAliveIdle: 1_000 },
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      +0.01 < F. 1:1(0) ack 2 win 512
      > . 2:2(0) ack 2
      < . 2:2(0) ack 2 win 512
      +59 state TIME-WAIT
      +5 state NONE
      counter keep_alive_probes 0`,
  },
  {
    name: "probes carry the timestamps that were agreed on",
    config,
    script: `
      < S 0:0(0) win 65535 <mss 1460,TS val 100 ecr 0>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 65535 <TS val 110 ecr 0>
      +60 > . 0:0(0) ack 1 <TS val 60010 ecr 110>`,
  },
]);
