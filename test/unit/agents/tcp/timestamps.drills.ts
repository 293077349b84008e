import { group } from "./cases.js";

/** As OPEN, with timestamps; the peer's clock stands at 100 when it begins, ours at 0. */
const STAMPED = `
  < S 0:0(0) win 65535 <mss 1460,TS val 100 ecr 0,wscale 7>
  > S. 0:0(0) ack 1 win 65535 <mss 1460,TS val 0 ecr 100,wscale 3>
  +0.01 < . 1:1(0) ack 1 win 512 <TS val 110 ecr 0>
  state ESTABLISHED
`;

export const timestamps = group("TCP timestamps (RFC 7323)", [
  {
    name: "are answered when offered, and take their room from every segment",
    script: `${STAMPED}
      write 1500
      > . 1:1449(1448) ack 1 <TS val 10 ecr 110>
      > P. 1449:1501(52) ack 1 <TS val 10 ecr 110>
      +0.01 < . 1:1(0) ack 1501 win 512 <TS val 120 ecr 10>`,
  },
  {
    name: "are not sent to a peer that offered none, and ignored from it",
    script: `
      < S 0:0(0) win 65535 <mss 1460,wscale 7>
      > S. 0:0(0) ack 1 <mss 1460,wscale 3>
      +0.01 < . 1:1(0) ack 1 win 512
      < P. 1:11(10) ack 1 win 512 <TS val 5 ecr 5>
      > . 1:1(0) ack 11 <>
      read 10
      write 1460
      > P. 1:1461(1460) ack 11 <>`,
  },
  {
    name: "can be switched off",
    config: { timestamps: false },
    script: `
      < S 0:0(0) win 65535 <mss 1460,TS val 100 ecr 0,wscale 7>
      > S. 0:0(0) ack 1 <mss 1460,wscale 3>
      +0.01 < . 1:1(0) ack 1 win 512
      write 1460
      > P. 1:1461(1460) ack 1 <>`,
  },
  {
    name: "are offered by an active open and used when the SYN-ACK has them",
    script: `
      connect
      > S 0:0(0) <mss 1460,sackOK,TS val 0 ecr 0,wscale 3>
      +0.01 < S. 0:0(0) ack 1 win 65535 <mss 1460,TS val 500 ecr 0,wscale 7>
      > . 1:1(0) ack 1 <TS val 10 ecr 500>
      state ESTABLISHED`,
  },
  {
    name: "stay away when the SYN-ACK has none",
    script: `
      connect
      > S 0:0(0) <mss 1460,sackOK,TS val 0 ecr 0,wscale 3>
      +0.01 < S. 0:0(0) ack 1 win 65535 <mss 1460,wscale 7>
      > . 1:1(0) ack 1 <>
      write 1460
      > P. 1:1461(1460) ack 1 <>`,
  },
  {
    name: "echo the newest one at the edge of what was acknowledged (section 4.3)",
    script: `${STAMPED}
      < P. 1:11(10) ack 1 win 512 <TS val 130 ecr 0>
      > . 1:1(0) ack 11 <TS val 10 ecr 130>
      +0.01 < P. 11:21(10) ack 1 win 512 <TS val 140 ecr 10>
      > . 1:1(0) ack 21 <TS val 20 ecr 140>
      read 20`,
  },
  {
    name: "do not echo what lies behind a gap, but what fills it",
    script: `${STAMPED}
      < . 1001:2001(1000) ack 1 win 512 <TS val 140 ecr 0>
      > . 1:1(0) ack 1 <TS val 10 ecr 110>
      +0.01 < . 1:1001(1000) ack 1 win 512 <TS val 130 ecr 0>
      > . 1:1(0) ack 2001 <TS val 20 ecr 130>
      read 2000`,
  },
  {
    name: "of two segments in one turn the first one's is echoed, as it waited for the acknowledgement",
    script: `${STAMPED}
      < . 1:1001(1000) ack 1 win 512 <TS val 120 ecr 0>; < P. 1001:2001(1000) ack 1 win 512 <TS val 150 ecr 0>
      > . 1:1(0) ack 2001 <TS val 10 ecr 120>
      read 2000`,
  },
  {
    name: "PAWS: an old duplicate inside the window is dropped and acknowledged",
    script: `${STAMPED}
      < P. 1:11(10) ack 1 win 512 <TS val 50 ecr 0>
      > . 1:1(0) ack 1 <TS val 10 ecr 110>
      read 0
      counter drop_paws 1
      < P. 1:11(10) ack 1 win 512 <TS val 110 ecr 0>
      > . 1:1(0) ack 11
      read 10`,
  },
  {
    name: "PAWS: empty segments are answered seldom",
    script: `${STAMPED}
      < . 1:1(0) ack 1 win 512 <TS val 50 ecr 0>
      > . 1:1(0) ack 1
      < . 1:1(0) ack 1 win 512 <TS val 50 ecr 0>
      counter drop_paws 2
      counter challenge_acks 1`,
  },
  {
    name: "PAWS does not stand in the way of RST (section 5.2)",
    script: `${STAMPED}
      < R 1:1(0) <TS val 1 ecr 0>
      closed reset
      state NONE`,
  },
  {
    name: "PAWS lets any timestamp through after 24 days of silence (section 5.5)",
    script: `${STAMPED}
      +2073601 < P. 1:11(10) ack 1 win 512 <TS val 50 ecr 0>
      > . 1:1(0) ack 11
      counter drop_paws 0
      read 10`,
  },
  {
    name: "a timestamp across the wrap of 32 bits is newer",
    script: `
      < S 0:0(0) win 65535 <mss 1460,TS val 2147483600 ecr 0>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 65535 <TS val 2147483647 ecr 0>
      < P. 1:11(10) ack 1 win 65535 <TS val 2147483658 ecr 0>
      > . 1:1(0) ack 11 <TS val 10 ecr 2147483658>
      read 10`,
  },
  {
    name: "a segment without the option is dropped once it was agreed on (section 3.2), RST apart",
    script: `${STAMPED}
      < P. 1:11(10) ack 1 win 512
      +0.1 read 0
      counter drop_no_timestamp 1
      < R 1:1(0)
      closed reset`,
  },
  {
    name: "our own RST carries them",
    script: `${STAMPED}
      abort
      > R. 1:1(0) ack 1 <TS val 10 ecr 110>`,
  },
  {
    name: "a round trip is measured although the segment was sent twice: the doubling ends",
    script: `${STAMPED}
      write 100
      > P. 1:101(100)
      +0.21 > P. 1:101(100) ack 1 <TS val 220 ecr 110>
      +0.01 < . 1:1(0) ack 101 win 512 <TS val 340 ecr 220>
      write 100
      > P. 101:201(100)
      +0.21 > P. 101:201(100)
      +0.01 < . 1:1(0) ack 201 win 512 <TS val 570 ecr 440>`,
  },
  {
    name: "an echo of the time to come is no sample",
    script: `${STAMPED}
      write 100
      > P. 1:101(100)
      +0.21 > P. 1:101(100)
      +0.01 < . 1:1(0) ack 101 win 512 <TS val 340 ecr 5000>
      write 100
      > P. 101:201(100)
      +0.42 > P. 101:201(100)`,
  },
]);

/** Closed by us: in TIME-WAIT with TS.Recent 120 and 2 expected next. */
const WAITING = `${STAMPED}
  close
  > F. 1:1(0) ack 1
  +0.01 < F. 1:1(0) ack 2 win 512 <TS val 120 ecr 10>
  > . 2:2(0) ack 2
  state TIME-WAIT
`;

export const timeWait = group("TIME-WAIT and timestamps (RFC 6191)", [
  {
    name: "a SYN with a lower number but a later timestamp reopens",
    script: `${WAITING}
      +1 < S -5000:-5000(0) win 65535 <mss 1460,TS val 1130 ecr 0>
      > S. 65538:65538(0) ack -4999
      counter time_wait_recycled 1`,
  },
  {
    name: "a SYN with a higher number but an earlier timestamp does not",
    script: `${WAITING}
      +1 < S 5000:5000(0) win 65535 <mss 1460,TS val 119 ecr 0>
      > . 2:2(0) ack 2
      state TIME-WAIT`,
  },
  {
    name: "with the same timestamp the number decides",
    script: `${WAITING}
      +1 < S -5000:-5000(0) win 65535 <mss 1460,TS val 120 ecr 0>
      > . 2:2(0) ack 2
      +1 < S 5000:5000(0) win 65535 <mss 1460,TS val 120 ecr 0>
      > S. 65538:65538(0) ack 5001`,
  },
  {
    name: "without timestamps on the SYN the number decides",
    script: `${WAITING}
      +1 < S 5000:5000(0) win 65535 <mss 1460>
      > S. 65538:65538(0) ack 5001`,
  },
]);
