import { group, OPEN } from "./cases.js";

/**
 * With SACK, segments of 1000 bytes and a round trip of 80 ms: the time-out is 280 ms. (A longer one's time-out is not the
 * same on Linux, a shorter one leaves no room for being a little late there.)
 */
const SACKED = `
  < S 0:0(0) win 65535 <mss 1000,sackOK,wscale 7>
  > S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,wscale 3>
  +0.08 < . 1:1(0) ack 1 win 512
`;

/** The same with timestamps. */
const TIMED = `
  < S 0:0(0) win 65535 <mss 1012,sackOK,TS val 1 ecr 0,wscale 7>
  > S. 0:0(0) ack 1 win 65535
  +0.08 < . 1:1(0) ack 1 win 512 <TS val 2 ecr 0>
`;

const FIVE = `
  write 5000
  > . 1:1001(1000)
  > . 1001:2001(1000)
  > . 2001:3001(1000)
  > . 3001:4001(1000)
  > P. 4001:5001(1000)
`;

export const lossByTime = group("losses by time (RACK, RFC 8985)", [
  {
    name: "less than three segments held beyond a hole: it is lost a quarter of a round trip later",
    script: `${SACKED}${FIVE}
      +0.08 < . 1:1(0) ack 1 win 512 <sack 1001:2001>
      +0.02 > P. 1:1001(1000)
      +0.08 < . 1:1(0) ack 5001 win 512
      +5 counter retransmitted 1
      counter fast_recoveries 1
      counter timeouts 0`,
  },
  {
    name: "a hole that fills by itself until then was reordering",
    script: `${SACKED}${FIVE}
      +0.08 < . 1:1(0) ack 1 win 512 <sack 1001:3001>
      +0.008 < . 1:1(0) ack 3001 win 512
      +0.06 < . 1:1(0) ack 5001 win 512
      +5 counter retransmitted 0
      counter fast_recoveries 0`,
  },
  {
    name: "once reordering was seen, three segments held prove nothing before the time",
    script: `${SACKED}${FIVE}
      +0.08 < . 1:1(0) ack 1 win 512 <sack 1001:3001>
      +0.008 < . 1:1(0) ack 5001 win 512
      write 5000
      > . 5001:6001(1000)
      > . 6001:7001(1000)
      > . 7001:8001(1000)
      > . 8001:9001(1000)
      > P. 9001:10001(1000)
      +0.08 < . 1:1(0) ack 5001 win 512 <sack 6001:10001>
      +0.02 > P. 5001:6001(1000)
      +0.08 < . 1:1(0) ack 10001 win 512
      counter retransmitted 1`,
  },
  {
    name: "D-SACK widens the window: a repair that was not needed makes more patient",
    script: `${SACKED}${FIVE}
      +0.08 < . 1:1(0) ack 1 win 512 <sack 1001:2001>
      +0.02 > P. 1:1001(1000)
      +0.02 < . 1:1(0) ack 5001 win 512
      +0.06 < . 1:1(0) ack 5001 win 512 <sack 1:1001>
      write 5000
      > . 5001:6001(1000)
      > . 6001:7001(1000)
      > . 7001:8001(1000)
      > . 8001:9001(1000)
      > P. 9001:10001(1000)
      +0.08 < . 1:1(0) ack 5001 win 512 <sack 6001:7001>
      +0.04 > P. 5001:6001(1000)
      +0.08 < . 1:1(0) ack 10001 win 512`,
  },
  {
    name: "a repair that is lost as well is found by what was sent after it",
    script: `${SACKED}${FIVE}
      +0.08 < . 1:1(0) ack 1 win 512 <sack 1001:5001>
      > P. 1:1001(1000)
      write 1000
      > P. 5001:6001(1000)
      +0.08 < . 1:1(0) ack 1 win 512 <sack 1001:6001>
      > P. 1:1001(1000)
      +0.08 < . 1:1(0) ack 6001 win 512
      counter retransmitted 2
      counter fast_recoveries 2
      counter timeouts 0`,
  },
  {
    name: "a time-out holds only that for lost which had its time",
    script: `${SACKED}
      write 1000
      > P. 1:1001(1000)
      +0.08 < . 1:1(0) ack 1001 win 512
      write 1000
      > P. 1001:2001(1000)
      +0.28 > P. 1001:2001(1000)
      +0.24 write 1000
      > P. 2001:3001(1000)
      +0.04 > P. 1001:2001(1000)
      +0.03 < . 1:1(0) ack 2001 win 512
      +0.05 < . 1:1(0) ack 3001 win 512
      counter tail_probes 1
      counter timeouts 1
      counter retransmitted 2`,
  },
]);

export const tailProbe = group("tail loss probe (RFC 8985)", [
  {
    name: "the end of a burst is lost: the last segment again after two round trips, the rest as the answer tells",
    script: `${SACKED}${FIVE}
      +0.08 < . 1:1(0) ack 2001 win 512
      +0.16 > P. 4001:5001(1000)
      +0.1 < . 1:1(0) ack 2001 win 512 <sack 4001:5001>
      > P. 2001:3001(1000)
      > P. 3001:4001(1000)
      +0.08 < . 1:1(0) ack 5001 win 512
      +5 counter tail_probes 1
      counter fast_recoveries 1
      counter timeouts 0`,
  },
  {
    name: "new data goes first, beyond the congestion window",
    script: `${SACKED}
      write 11000
      > . 1:1001(1000)
      > . 1001:2001(1000)
      > . 2001:3001(1000)
      > . 3001:4001(1000)
      > . 4001:5001(1000)
      > . 5001:6001(1000)
      > . 6001:7001(1000)
      > . 7001:8001(1000)
      > . 8001:9001(1000)
      > . 9001:10001(1000)
      +0.16 > P. 10001:11001(1000)
      +0.08 < . 1:1(0) ack 1 win 512 <sack 10001:11001>
      > P. 1:1001(1000)
      > P. 1001:2001(1000)
      > P. 2001:3001(1000)
      > P. 3001:4001(1000)
      > P. 4001:5001(1000)
      > P. 5001:6001(1000)
      > P. 6001:7001(1000)
      counter tail_probes 1
      counter timeouts 0
      abort
      > R. 11001:11001(0)`,
  },
  {
    name: "a single segment: at its time-out, which then comes once more, not yet doubled",
    script: `${SACKED}
      write 100
      > P. 1:101(100)
      +0.28 > P. 1:101(100)
      counter tail_probes 1
      counter timeouts 0
      +0.28 > P. 1:101(100)
      counter timeouts 1
      +0.56 > P. 1:101(100)
      +0.08 < . 1:1(0) ack 101 win 512
      +5 counter tail_probes 1`,
  },
  {
    name: "a loss that only the probe has repaired is answered as congestion",
    script: `${SACKED}${FIVE}
      +0.08 < . 1:1(0) ack 4001 win 512
      +0.28 > P. 4001:5001(1000)
      +0.08 < . 1:1(0) ack 5001 win 512
      write 6000
      > . 5001:6001(1000)
      > . 6001:7001(1000)
      > . 7001:8001(1000)
      > . 8001:9001(1000)
      > . 9001:10001(1000)
      > P. 10001:11001(1000)
      +0.08 < . 1:1(0) ack 11001 win 512
      write 8000
      > . 11001:12001(1000)
      > . 12001:13001(1000)
      > . 13001:14001(1000)
      > . 14001:15001(1000)
      > . 15001:16001(1000)
      > . 16001:17001(1000)
      > . 17001:18001(1000)
      +0.08 < . 1:1(0) ack 18001 win 512
      > P. 18001:19001(1000)
      +0.08 < . 1:1(0) ack 19001 win 512`,
  },
  {
    name: "one that was not needed is no congestion: D-SACK tells",
    script: `${SACKED}${FIVE}
      +0.08 < . 1:1(0) ack 4001 win 512
      +0.28 > P. 4001:5001(1000)
      +0.02 < . 1:1(0) ack 5001 win 512
      +0.06 < . 1:1(0) ack 5001 win 512 <sack 4001:5001>
      write 6000
      > . 5001:6001(1000)
      > . 6001:7001(1000)
      > . 7001:8001(1000)
      > . 8001:9001(1000)
      > . 9001:10001(1000)
      > P. 10001:11001(1000)
      +0.08 < . 1:1(0) ack 11001 win 512
      write 8000
      > . 11001:12001(1000)
      > . 12001:13001(1000)
      > . 13001:14001(1000)
      > . 14001:15001(1000)
      > . 15001:16001(1000)
      > . 16001:17001(1000)
      > . 17001:18001(1000)
      > P. 18001:19001(1000)
      +0.08 < . 1:1(0) ack 19001 win 512`,
  },
  {
    name: "none without SACK",
    script: `${OPEN}
      write 100
      > P. 1:101(100)
      +0.21 > P. 1:101(100)
      counter tail_probes 0
      counter timeouts 1
      +0.01 < . 1:1(0) ack 101 win 512`,
  },
]);

export const unneededRepairs = group("repairs that were not needed (Eifel, RFC 3522, RFC 4015)", [
  {
    name: "a time-out is undone when the peer answers the original: nothing more goes twice, the window is as it was",
    script: `${TIMED}${FIVE}
      +0.16 > P. 4001:5001(1000)
      +0.28 > P. 1:1001(1000)
      +0.08 < . 1:1(0) ack 1001 win 512 <TS val 3 ecr 80>
      +0.008 < . 1:1(0) ack 5001 win 512 <TS val 3 ecr 80>
      counter spurious_recoveries 1
      counter timeouts 1
      counter retransmitted 2
      write 10000
      > . 5001:6001(1000)
      > . 6001:7001(1000)
      > . 7001:8001(1000)
      > . 8001:9001(1000)
      > . 9001:10001(1000)
      > . 10001:11001(1000)
      > . 11001:12001(1000)
      > . 12001:13001(1000)
      > . 13001:14001(1000)
      > P. 14001:15001(1000)
      +0.08 < . 1:1(0) ack 15001 win 512 <TS val 4 ecr 608>`,
  },
  {
    name: "an answer to the repair proves the loss",
    script: `${TIMED}${FIVE}
      +0.16 > P. 4001:5001(1000)
      +0.28 > P. 1:1001(1000)
      +0.08 < . 1:1(0) ack 1001 win 512 <TS val 3 ecr 520>
      > P. 1001:2001(1000)
      > P. 2001:3001(1000)
      counter spurious_recoveries 0
      +0.08 < . 1:1(0) ack 5001 win 512 <TS val 4 ecr 600>`,
  },
  {
    name: "so is a fast recovery, and its reordering is remembered",
    script: `${TIMED}${FIVE}
      +0.08 < . 1:1(0) ack 1 win 512 <TS val 3 ecr 80,sack 1001:5001>
      > P. 1:1001(1000)
      +0.01 < . 1:1(0) ack 5001 win 512 <TS val 3 ecr 80>
      counter fast_recoveries 1
      counter spurious_recoveries 1
      write 5000
      > . 5001:6001(1000)
      > . 6001:7001(1000)
      > . 7001:8001(1000)
      > . 8001:9001(1000)
      > P. 9001:10001(1000)
      +0.08 < . 1:1(0) ack 5001 win 512 <TS val 4 ecr 170,sack 6001:10001>
      +0.01 < . 1:1(0) ack 10001 win 512 <TS val 4 ecr 170>
      +1 counter retransmitted 1`,
  },
]);

export const blackHole = group("a path that drops what is large and does not tell", [
  {
    name: "the third time-out of a large segment halves it, down to 536 bytes",
    script: `${OPEN}
      write 1460
      > P. 1:1461(1460)
      +0.21 > P. 1:1461(1460)
      +0.42 > P. 1:1461(1460)
      +0.84 > P. 1:731(730)
      +1.68 > P. 1:537(536)
      +0.01 < . 1:1(0) ack 537 win 512
      > P. 537:731(194)
      > P. 731:1267(536)
      > P. 1267:1461(194)
      +0.01 < . 1:1(0) ack 1461 win 512
      counter path_mtu_lowered 2`,
  },
  {
    name: "small segments say nothing of it",
    script: `${OPEN}
      write 500
      > P. 1:501(500)
      +0.21 > P. 1:501(500)
      +0.42 > P. 1:501(500)
      +0.84 > P. 1:501(500)
      +1.68 > P. 1:501(500)
      counter path_mtu_lowered 0
      +0.01 < . 1:1(0) ack 501 win 512`,
  },
]);
