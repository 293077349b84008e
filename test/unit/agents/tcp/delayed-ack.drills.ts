import { group, OPEN } from "./cases.js";

/** The user has answered a first request, so that the next answer can be waited for. */
const ANSWERED = `${OPEN}
  < P. 1:101(100) ack 1 win 512
  > . 1:1(0) ack 101
  read 100
  +0.005 write 4
  > P. 1:5(4) ack 101
  +0.01 < . 101:101(0) ack 5 win 512
`;

export const delayedAck = group("delayed acknowledgement (RFC 9293 3.8.6.3, RFC 5681 4.2)", [
  {
    name: "none at the beginning, nor while nobody answers",
    script: `${OPEN}
      < P. 1:101(100) ack 1 win 512
      > . 1:1(0) ack 101
      +0.01 < P. 101:201(100) ack 1 win 512
      > . 1:1(0) ack 201
      read 200`,
  },
  {
    name: "the answer carries it",
    script: `${ANSWERED}
      < P. 101:201(100) ack 5 win 512
      +0.01 write 4
      > P. 5:9(4) ack 201
      +0.01 < . 201:201(0) ack 9 win 512
      +1 read 100`,
  },
  {
    name: "40 ms at most, from the first segment on",
    script: `${ANSWERED}
      < P. 101:201(100) ack 5 win 512
      +0.015 < P. 201:301(100) ack 5 win 512
      +0.025 > . 5:5(0) ack 301
      read 200`,
  },
  {
    name: "once that time was over, none waits until an answer comes in time",
    script: `${ANSWERED}
      < P. 101:201(100) ack 5 win 512
      +0.04 > . 5:5(0) ack 201
      +0.01 < P. 201:301(100) ack 5 win 512
      > . 5:5(0) ack 301
      write 4
      > P. 5:9(4) ack 301
      +0.01 < P. 301:401(100) ack 9 win 512
      +0.04 > . 9:9(0) ack 401
      read 300`,
  },
  {
    name: "an answer later than that is not waited for",
    script: `${ANSWERED}
      < P. 101:201(100) ack 5 win 512
      +0.04 > . 5:5(0) ack 201
      +0.02 write 4
      > P. 5:9(4) ack 201
      +0.01 < P. 201:301(100) ack 9 win 512
      > . 9:9(0) ack 301
      read 200`,
  },
  {
    name: "two full segments do not wait",
    script: `${ANSWERED}
      < . 101:1561(1460) ack 5 win 512
      +0.01 < . 1561:3021(1460) ack 5 win 512
      > . 5:5(0) ack 3021
      read 2920`,
  },
  {
    name: "nor does what lies behind a gap, or fills one, whole or in part",
    script: `${ANSWERED}
      < P. 301:401(100) ack 5 win 512
      > . 5:5(0) ack 101
      < P. 101:201(100) ack 5 win 512
      > . 5:5(0) ack 201
      < P. 201:301(100) ack 5 win 512
      > . 5:5(0) ack 401
      read 300`,
  },
  {
    name: "nor FIN",
    script: `${ANSWERED}
      < FP. 101:201(100) ack 5 win 512
      > . 5:5(0) ack 202
      eof`,
  },
  {
    name: "none at all when switched off",
    config: { ackDelay: 0 },
    script: `${ANSWERED}
      < P. 101:201(100) ack 5 win 512
      > . 5:5(0) ack 201
      read 100`,
  },
]);
