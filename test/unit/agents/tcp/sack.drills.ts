import { group } from "./cases.js";

/** With SACK, segments of 1000 bytes and a round trip of 30 ms: the time-out is 230 ms, a probe for a lost tail would leave after 60. */
const SACKED = `
  < S 0:0(0) win 65535 <mss 1000,sackOK,wscale 7>
  > S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,wscale 3>
  +0.03 < . 1:1(0) ack 1 win 512
`;

/** Eight segments are out. */
const EIGHT = `${SACKED}
  write 8000
  > . 1:1001(1000)
  > . 1001:2001(1000)
  > . 2001:3001(1000)
  > . 3001:4001(1000)
  > . 4001:5001(1000)
  > . 5001:6001(1000)
  > . 6001:7001(1000)
  > P. 7001:8001(1000)
`;

export const sacksSent = group("SACK blocks sent (RFC 2018)", [
  {
    name: "tell what lies behind a gap, the newest block first, neighbours joined",
    script: `${SACKED}
      < . 1001:2001(1000) ack 1 win 512
      > . 1:1(0) ack 1 <sack 1001:2001>
      < . 3001:4001(1000) ack 1 win 512
      > . 1:1(0) ack 1 <sack 3001:4001 1001:2001>
      < . 5001:6001(1000) ack 1 win 512
      > . 1:1(0) ack 1 <sack 5001:6001 3001:4001 1001:2001>
      < . 2001:3001(1000) ack 1 win 512
      > . 1:1(0) ack 1 <sack 1001:4001 5001:6001>
      < . 1:1001(1000) ack 1 win 512
      > . 1:1(0) ack 4001 <sack 5001:6001>
      < . 4001:5001(1000) ack 1 win 512
      > . 1:1(0) ack 6001 <>
      read 6000`,
  },
  {
    name: "are four at most, the oldest go",
    script: `${SACKED}
      < . 1001:1002(1) ack 1 win 512; < . 1101:1102(1) ack 1 win 512; < . 1201:1202(1) ack 1 win 512
      > . 1:1(0) ack 1
      > . 1:1(0) ack 1
      > . 1:1(0) ack 1
      < . 1301:1302(1) ack 1 win 512
      > . 1:1(0) ack 1 <sack 1301:1302 1201:1202 1101:1102 1001:1002>
      < . 1401:1402(1) ack 1 win 512
      > . 1:1(0) ack 1 <sack 1401:1402 1301:1302 1201:1202 1101:1102>`,
  },
  {
    name: "are three at most beside timestamps",
    script: `
      < S 0:0(0) win 65535 <mss 1000,sackOK,TS val 1 ecr 0>
      > S. 0:0(0) ack 1 <mss 1460,sackOK,TS val 0 ecr 1>
      +0.01 < . 1:1(0) ack 1 win 65535 <TS val 2 ecr 0>
      < . 1001:1002(1) ack 1 win 512 <TS val 2 ecr 0>; < . 1101:1102(1) ack 1 win 512 <TS val 2 ecr 0>
      > . 1:1(0) ack 1
      > . 1:1(0) ack 1
      < . 1201:1202(1) ack 1 win 512 <TS val 2 ecr 0>; < . 1301:1302(1) ack 1 win 512 <TS val 2 ecr 0>
      > . 1:1(0) ack 1 <TS val 10 ecr 2,sack 1301:1302 1201:1202 1101:1102>
      > . 1:1(0) ack 1 <TS val 10 ecr 2,sack 1301:1302 1201:1202 1101:1102>`,
  },
  {
    name: "are not sent to a peer that did not offer it, or when switched off",
    script: `
      < S 0:0(0) win 65535 <mss 1000,wscale 7>
      > S. 0:0(0) ack 1 <mss 1460,wscale 3>
      +0.01 < . 1:1(0) ack 1 win 512
      < . 1001:2001(1000) ack 1 win 512
      > . 1:1(0) ack 1 <>`,
  },
  {
    name: "and not agreed on when switched off",
    config: { sack: false },
    script: `
      < S 0:0(0) win 65535 <mss 1000,sackOK,wscale 7>
      > S. 0:0(0) ack 1 <mss 1460,wscale 3>
      +0.01 < . 1:1(0) ack 1 win 512
      < . 1001:2001(1000) ack 1 win 512
      > . 1:1(0) ack 1 <>`,
  },
  {
    name: "D-SACK: a segment that came twice is told once (RFC 2883)",
    script: `${SACKED}
      < P. 1:101(100) ack 1 win 512
      > . 1:1(0) ack 101 <>
      < P. 1:101(100) ack 1 win 512
      > . 1:1(0) ack 101 <sack 1:101>
      < P. 101:201(100) ack 1 win 512
      > . 1:1(0) ack 201 <>
      read 200`,
  },
  {
    name: "D-SACK: one behind a gap that came twice, before the block that holds it (RFC 2883 section 4.1)",
    script: `${SACKED}
      < . 1001:2001(1000) ack 1 win 512
      > . 1:1(0) ack 1 <sack 1001:2001>
      < . 2001:3001(1000) ack 1 win 512
      > . 1:1(0) ack 1 <sack 1001:3001>
      < . 1001:2001(1000) ack 1 win 512
      > . 1:1(0) ack 1 <sack 1001:2001 1001:3001>`,
  },
  {
    name: "tell nothing of what memory had no room for",
    config: { receiveMemory: 4_000 },
    script: `${SACKED}
      < . 1001:2001(1000) ack 1 win 512
      > . 1:1(0) ack 1 <sack 1001:2001>
      < . 3001:4001(1000) ack 1 win 512
      > . 1:1(0) ack 1 <sack 1001:2001>
      counter drop_memory_full 1`,
  },
]);

export const sacksUsed = group("SACK blocks used (RFC 6675)", [
  {
    name: "three segments held beyond a hole bring it again, and only it",
    script: `${EIGHT}
      +0.03 < . 1:1(0) ack 1 win 512 <sack 1001:2001>
      < . 1:1(0) ack 1 win 512 <sack 1001:3001>
      < . 1:1(0) ack 1 win 512 <sack 1001:4001>
      > P. 1:1001(1000)
      < . 1:1(0) ack 1 win 512 <sack 1001:8001>
      +0.03 < . 1:1(0) ack 8001 win 512
      +5 counter retransmitted 1
      counter fast_recoveries 1
      counter timeouts 0`,
  },
  {
    name: "one acknowledgement is enough to tell all holes; each goes again as the window lets it",
    script: `${EIGHT}
      +0.03 < . 1:1(0) ack 1 win 512 <sack 6001:8001 3001:5001>
      > P. 1:1001(1000)
      > P. 1001:2001(1000)
      > P. 2001:3001(1000)
      > P. 5001:6001(1000)
      < . 1:1(0) ack 5001 win 512 <sack 6001:8001>
      +0.03 < . 1:1(0) ack 8001 win 512
      +5 counter retransmitted 4
      counter timeouts 0`,
  },
  {
    name: "duplicates without news prove nothing",
    script: `${EIGHT}
      +0.03 < . 1:1(0) ack 1 win 512; < . 1:1(0) ack 1 win 512; < . 1:1(0) ack 1 win 512
      < . 1:1(0) ack 1 win 512 <sack 1001:2001>; < . 1:1(0) ack 1 win 512 <sack 1001:2001>
      < . 1:1(0) ack 1 win 512 <sack 1001:2001>
      counter fast_recoveries 0
      abort
      > R. 8001:8001(0)`,
  },
  {
    name: "D-SACK and nonsense are no news: before una, beyond what was sent, the wrong way round",
    script: `${EIGHT}
      +0.03 < . 1:1(0) ack 4001 win 512 <sack 1:1001>
      < . 1:1(0) ack 4001 win 512 <sack 5001:90001>
      < . 1:1(0) ack 4001 win 512 <sack 8001:5001>
      < . 1:1(0) ack 4001 win 512 <sack 5001:5001>
      < . 1:1(0) ack 4001 win 512 <sack 1:8001>
      counter fast_recoveries 0
      counter retransmitted 0
      abort
      > R. 8001:8001(0)`,
  },
  {
    name: "half a segment held counts for nothing",
    script: `${EIGHT}
      +0.03 < . 1:1(0) ack 1 win 512 <sack 1501:4500>
      counter fast_recoveries 0
      abort
      > R. 8001:8001(0)`,
  },
  {
    name: "a retransmission that is lost again is found by what was sent after it, without a time-out",
    script: `${EIGHT}
      +0.03 < . 1:1(0) ack 1 win 512 <sack 1001:8001>
      > P. 1:1001(1000)
      write 4000
      > . 8001:9001(1000)
      > . 9001:10001(1000)
      > . 10001:11001(1000)
      > P. 11001:12001(1000)
      +0.03 < . 1:1(0) ack 1 win 512 <sack 1001:12001>
      > P. 1:1001(1000)
      +0.03 < . 1:1(0) ack 12001 win 512
      +5 counter retransmitted 2
      counter timeouts 0
      counter fast_recoveries 2`,
  },
  {
    name: "a time-out spares what the peer holds",
    script: `${EIGHT}
      +0.03 < . 1:1(0) ack 1 win 512 <sack 7001:8001 5001:6001>
      +0.0075 > P. 1:1001(1000)
      > P. 1001:2001(1000)
      > P. 2001:3001(1000)
      > P. 3001:4001(1000)
      > P. 4001:5001(1000)
      > P. 6001:7001(1000)
      +0.1925 > P. 1:1001(1000)
      +0.03 < . 1:1(0) ack 5001 win 512 <sack 7001:8001 5001:6001>
      > P. 6001:7001(1000)
      +0.03 < . 1:1(0) ack 8001 win 512`,
  },
  {
    name: "a peer that drops what it held gets it again (reneging, RFC 2018 section 8)",
    script: `${EIGHT}
      +0.03 < . 1:1(0) ack 1 win 512 <sack 1001:3001>
      +0.0075 > P. 1:1001(1000)
      +0.03 < . 1:1(0) ack 1001 win 512
      > P. 3001:4001(1000)
      > P. 4001:5001(1000)
      > P. 5001:6001(1000)
      > P. 6001:7001(1000)
      > P. 7001:8001(1000)
      +0.23 > P. 1001:2001(1000)
      +0.03 < . 1:1(0) ack 2001 win 512
      > P. 2001:3001(1000)
      > P. 3001:4001(1000)
      +0.03 < . 1:1(0) ack 8001 win 512`,
  },
  {
    name: "small messages count as segments, not by their bytes",
    script: `${SACKED}
      write 10
      > P. 1:11(10)
      write 10
      > P. 11:21(10)
      write 10
      > P. 21:31(10)
      write 10
      > P. 31:41(10)
      +0.03 < . 1:1(0) ack 1 win 512 <sack 11:41>
      > P. 1:11(10)
      +0.03 < . 1:1(0) ack 41 win 512
      counter fast_recoveries 1`,
  },
]);
