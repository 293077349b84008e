import { group, OPEN } from "./cases.js";

/** A peer with a window of 1,000 bytes that it then shuts; the first probe of it is out. */
const SHUT = `
  < S 0:0(0) win 1000 <mss 1000>
  > S. 0:0(0) ack 1
  +0.01 < . 1:1(0) ack 1 win 1000
  write 4000
  > . 1:1001(1000)
  +0.01 < . 1:1(0) ack 1001 win 0
  +0.21 > . 1001:1002(1)
`;

export const patience = group("TCP patience", [
  {
    name: "a peer that shuts its window and answers every probe is given up after the persist time-out (RFC 6429)",
    config: { persistTimeout: 3_000 },
    script: `${SHUT}
      +0.01 < . 1:1(0) ack 1001 win 0
      +0.41 > P. 1001:1002(1)
      < . 1:1(0) ack 1001 win 0
      +0.84 > P. 1001:1002(1)
      < . 1:1(0) ack 1001 win 0
      +1.68 > P. 1001:1002(1)
      < . 1:1(0) ack 1001 win 0
      +3.36 > R. 1002:1002(0) ack 1
      counter persist_expired 1
      counter timed_out 1
      closed timeout
      state NONE`,
  },
  {
    name: "a FIN that is answered but never acknowledged is not repeated for ever, whatever the window",
    config: { persistTimeout: 3_000 },
    script: `
      < S 0:0(0) win 1000 <mss 1000>
      > S. 0:0(0) ack 1
      +0.01 < F. 1:1(0) ack 1 win 0
      > . 1:1(0) ack 2
      close
      > F. 1:1(0) ack 2
      +0.21 > F. 1:1(0) ack 2
      < . 2:2(0) ack 1 win 0
      +0.42 > F. 1:1(0) ack 2
      < . 2:2(0) ack 1 win 0
      +0.84 > F. 1:1(0) ack 2
      < . 2:2(0) ack 1 win 0
      +1.68 > F. 1:1(0) ack 2
      < . 2:2(0) ack 1 win 0
      +3.36 > R. 2:2(0) ack 2
      state NONE`,
  },
  {
    name: "a peer that never closes its side is given up in FIN-WAIT-2",
    config: { finWait2: 60_000 },
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      +0.01 < . 1:1(0) ack 2 win 512
      state FIN-WAIT-2
      +59.9 state FIN-WAIT-2
      +0.1 > R. 2:2(0) ack 1
      counter fin_wait_2_expired 1
      closed timeout
      state NONE`,
  },
  {
    name: "bytes of the peer keep FIN-WAIT-2, empty segments do not",
    config: { finWait2: 60_000 },
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      +0.01 < . 1:1(0) ack 2 win 512
      +50 < P. 1:101(100) ack 2 win 512
      > . 2:2(0) ack 101
      +50 < . 101:101(0) ack 2 win 512
      state FIN-WAIT-2
      +10 > R. 2:2(0) ack 101
      read 100
      state NONE`,
  },
  {
    name: "the peer's FIN in time ends FIN-WAIT-2 in order",
    config: { finWait2: 60_000, timeWait: 90_000 },
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      +0.01 < . 1:1(0) ack 2 win 512
      +59 < F. 1:1(0) ack 2 win 512
      > . 2:2(0) ack 2
      +80 state TIME-WAIT
      +10 state NONE
      closed finished
      counter fin_wait_2_expired 0`,
  },
  {
    name: "both may last for ever where that is wished",
    config: { persistTimeout: 0, finWait2: 0 },
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      +0.01 < . 1:1(0) ack 2 win 512
      +100000 state FIN-WAIT-2`,
  },
]);
