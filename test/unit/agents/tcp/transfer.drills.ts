import { group, OPEN } from "./cases.js";

export const dataOut = group("TCP data out", [
  {
    name: "what is written in one turn leaves in as few segments as possible",
    script: `${OPEN}
      write 100; write 200; write 1300
      > . 1:1461(1460)
      > P. 1461:1601(140)`,
  },
  {
    name: "small writes do not wait for acknowledgements (no Nagle)",
    script: `${OPEN}
      write 10
      > P. 1:11(10)
      write 10
      > P. 11:21(10)
      +0.01 < . 1:1(0) ack 21 win 512`,
  },
  {
    name: "an acknowledgement travels with data written in the same turn",
    script: `${OPEN}
      < P. 1:101(100) ack 1 win 512; write 50
      > P. 1:51(50) ack 101`,
  },
  {
    name: "several segments of one turn share an acknowledgement",
    script: `${OPEN}
      < . 1:1001(1000) ack 1 win 512; < . 1001:2001(1000) ack 1 win 512; < P. 2001:2101(100) ack 1 win 512
      > . 1:1(0) ack 2101
      read 2100`,
  },
  {
    name: "ten segments to begin with (RFC 6928), two more for each acknowledged in slow start",
    script: `${OPEN}
      write 40000
      > . 1:1461(1460)
      > . 1461:2921(1460)
      > . 2921:4381(1460)
      > . 4381:5841(1460)
      > . 5841:7301(1460)
      > . 7301:8761(1460)
      > . 8761:10221(1460)
      > . 10221:11681(1460)
      > . 11681:13141(1460)
      > . 13141:14601(1460)
      +0.01 < . 1:1(0) ack 1461 win 512
      > . 14601:16061(1460)
      > . 16061:17521(1460)
      +0.01 < . 1:1(0) ack 4381 win 512
      > . 17521:18981(1460)
      > . 18981:20441(1460)
      > . 20441:21901(1460)
      > . 21901:23361(1460)`,
  },
  {
    name: "the peer's window is respected, and its update lets go on",
    script: `
      < S 0:0(0) win 2920 <mss 1460>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 2920
      write 5000
      > . 1:1461(1460)
      > . 1461:2921(1460)
      +0.01 < . 1:1(0) ack 2921 win 0
      +0.05 < . 1:1(0) ack 2921 win 2920
      > . 2921:4381(1460)
      > P. 4381:5001(620)`,
  },
  {
    name: "no sliver of a segment into a nearly full window (RFC 9293 section 3.8.6.2.1)",
    script: `
      < S 0:0(0) win 3000 <mss 1000>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 3000
      write 5000
      > . 1:1001(1000)
      > . 1001:2001(1000)
      > . 2001:3001(1000)
      +0.01 < . 1:1(0) ack 1001 win 2100
      +0.01 < . 1:1(0) ack 2001 win 2000
      > . 3001:4001(1000)`,
  },
  {
    name: "a shut window is probed with one byte, ever more seldom, for as long as the peer answers",
    config: { userTimeout: 5_000 },
    script: `
      < S 0:0(0) win 1000 <mss 1000>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 1000
      write 3000
      > . 1:1001(1000)
      +0.01 < . 1:1(0) ack 1001 win 0
      +0.21 > . 1001:1002(1)
      +0.01 < . 1:1(0) ack 1001 win 0
      +0.41 > P. 1001:1002(1)
      < . 1:1(0) ack 1001 win 0
      +0.84 > P. 1001:1002(1)
      < . 1:1(0) ack 1001 win 0
      +1.68 > P. 1001:1002(1)
      < . 1:1(0) ack 1001 win 0
      +3.36 > P. 1001:1002(1)
      < . 1:1(0) ack 1001 win 0
      +6.72 > P. 1001:1002(1)
      < . 1:1(0) ack 1001 win 3000
      > P. 1001:1002(1)
      > . 1002:2002(1000)
      > P. 2002:3001(999)
      +0.01 < . 1:1(0) ack 3001 win 3000
      counter timeouts 0`,
  },
  {
    name: "a probe that the peer takes in moves on",
    script: `
      < S 0:0(0) win 1000 <mss 1000>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 1000
      write 2000
      > . 1:1001(1000)
      +0.01 < . 1:1(0) ack 1001 win 0
      +0.21 > . 1001:1002(1)
      +0.01 < . 1:1(0) ack 1002 win 1000
      > P. 1002:2001(999)`,
  },
  {
    name: "a peer that answers no probe is given up after the user time-out",
    config: { userTimeout: 3_000 },
    script: `
      < S 0:0(0) win 1000 <mss 1000>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 1000
      write 2000
      > . 1:1001(1000)
      +0.01 < . 1:1(0) ack 1001 win 0
      +0.21 > . 1001:1002(1)
      +0.42 > P. 1001:1002(1)
      +0.84 > P. 1001:1002(1)
      +1.68 > R. 1002:1002(0) ack 1
      closed timeout
      state NONE`,
  },
  {
    name: "a window that shrinks does no harm",
    script: `${OPEN}
      write 4380
      > . 1:1461(1460)
      > . 1461:2921(1460)
      > P. 2921:4381(1460)
      +0.01 < . 1:1(0) ack 1461 win 8
      write 1000
      +0.01 < . 1:1(0) ack 4381 win 8
      > P. 4381:5381(1000)`,
  },
  {
    name: "an old acknowledgement does not bring back an old window (SND.WL1, SND.WL2)",
    script: `${OPEN}
      write 2920
      > . 1:1461(1460)
      > P. 1461:2921(1460)
      +0.01 < . 1:1(0) ack 2921 win 512
      < . 1:1(0) ack 1461 win 0
      write 1000
      > P. 2921:3921(1000)`,
  },
  {
    name: "a writer beyond the send buffer is told to wait, and when to go on",
    config: { sendBuffer: 2_000 },
    script: `${OPEN}
      write 2500; blocked
      > . 1:1461(1460)
      > P. 1461:2501(1040)
      +0.01 < . 1:1(0) ack 1461 win 512
      +0.01 < . 1:1(0) ack 2501 win 512
      writable`,
  },
  {
    name: "the congestion window starts over after idleness longer than the time-out",
    config: { mss: 1000 },
    script: `
      < S 0:0(0) win 65535 <mss 1000,wscale 7>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 512
      write 10000
      > . 1:1001(1000)
      > . 1001:2001(1000)
      > . 2001:3001(1000)
      > . 3001:4001(1000)
      > . 4001:5001(1000)
      > . 5001:6001(1000)
      > . 6001:7001(1000)
      > . 7001:8001(1000)
      > . 8001:9001(1000)
      > P. 9001:10001(1000)
      +0.01 < . 1:1(0) ack 8001 win 512
      +0.01 < . 1:1(0) ack 10001 win 512
      +1 write 12000
      > . 10001:11001(1000)
      > . 11001:12001(1000)
      > . 12001:13001(1000)
      > . 13001:14001(1000)
      > . 14001:15001(1000)
      > . 15001:16001(1000)
      > . 16001:17001(1000)
      > . 17001:18001(1000)
      > . 18001:19001(1000)
      > . 19001:20001(1000)`,
  },
]);

export const dataIn = group("TCP data in", [
  {
    name: "a gap is answered with a duplicate acknowledgement each, the filling with one for all",
    script: `${OPEN}
      < . 1001:2001(1000) ack 1 win 512
      > . 1:1(0) ack 1
      < . 2001:3001(1000) ack 1 win 512
      > . 1:1(0) ack 1
      read 0
      < . 1:1001(1000) ack 1 win 512
      > . 1:1(0) ack 3001
      read 3000
      counter out_of_order 2`,
  },
  {
    name: "duplicate acknowledgements are not joined within a turn",
    script: `${OPEN}
      < . 1001:2001(1000) ack 1 win 512; < . 2001:3001(1000) ack 1 win 512; < . 3001:4001(1000) ack 1 win 512
      > . 1:1(0) ack 1
      > . 1:1(0) ack 1
      > . 1:1(0) ack 1`,
  },
  {
    name: "overlapping pieces, any way round",
    script: `${OPEN}
      < . 501:1001(500) ack 1 win 512
      > . 1:1(0) ack 1
      < . 301:601(300) ack 1 win 512
      > . 1:1(0) ack 1
      < . 201:1201(1000) ack 1 win 512
      > . 1:1(0) ack 1
      < . 701:801(100) ack 1 win 512
      > . 1:1(0) ack 1
      < . 1:301(300) ack 1 win 512
      > . 1:1(0) ack 1201
      read 1200`,
  },
  {
    name: "a repeated segment is acknowledged again and not delivered again",
    script: `${OPEN}
      < P. 1:101(100) ack 1 win 512
      > . 1:1(0) ack 101
      < P. 1:101(100) ack 1 win 512
      > . 1:1(0) ack 101
      read 100
      counter drop_out_of_window 1`,
  },
  {
    name: "a segment half old, half new",
    script: `${OPEN}
      < P. 1:101(100) ack 1 win 512
      > . 1:1(0) ack 101
      < P. 51:201(150) ack 1 win 512
      > . 1:1(0) ack 201
      read 200`,
  },
  {
    name: "the window shuts while nobody reads, takes no more, and opens when reading goes on",
    config: { receiveBuffer: 4_000 },
    script: `
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 4000 <mss 1460>
      +0.01 < . 1:1(0) ack 1 win 65535
      hold
      < . 1:1001(1000) ack 1 win 65535
      > . 1:1(0) ack 1001 win 3000
      < . 1001:4001(3000) ack 1 win 65535
      > . 1:1(0) ack 4001 win 0
      < . 4001:4002(1) ack 1 win 65535
      > . 1:1(0) ack 4001 win 0
      +5 resume
      > . 1:1(0) ack 4001 win 4000
      read 4000
      < . 4001:5001(1000) ack 1 win 65535
      > . 1:1(0) ack 5001 win 4000
      read 1000`,
  },
  {
    name: "a probe of our shut window carries an acknowledgement that counts",
    config: { receiveBuffer: 1_000 },
    script: `
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 1000
      +0.01 < . 1:1(0) ack 1 win 65535
      hold
      < . 1:1001(1000) ack 1 win 65535
      > . 1:1(0) ack 1001 win 0
      write 10
      > P. 1:11(10) ack 1001 win 0
      +0.01 < . 1001:1002(1) ack 11 win 65535
      > . 11:11(0) ack 1001 win 0
      +10 counter retransmitted 0`,
  },
  {
    name: "the window opens only by whole segments (RFC 9293 section 3.8.6.2.2)",
    config: { receiveBuffer: 3_000 },
    script: `
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 3000
      +0.01 < . 1:1(0) ack 1 win 65535
      hold
      < . 1:2501(2500) ack 1 win 65535
      > . 1:1(0) ack 2501 win 500
      < . 2501:2601(100) ack 1 win 65535
      > . 1:1(0) ack 2601 win 400
      resume
      > . 1:1(0) ack 2601 win 3000`,
  },
  {
    name: "what lies beyond the window is cut off",
    config: { receiveBuffer: 1_000 },
    script: `
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 1000
      +0.01 < . 1:1(0) ack 1 win 65535
      hold
      < F. 1:1501(1500) ack 1 win 65535
      > . 1:1(0) ack 1001 win 0
      state ESTABLISHED
      resume
      > . 1:1(0) ack 1001 win 1000
      read 1000
      < F. 1001:1501(500) ack 1 win 65535
      > . 1:1(0) ack 1502
      read 500
      eof`,
  },
  {
    name: "memory for all connections together is limited: payload beyond is dropped and comes again",
    config: { receiveMemory: 1_500 },
    script: `${OPEN}
      hold
      < . 1:1001(1000) ack 1 win 512
      > . 1:1(0) ack 1001
      < . 1001:2001(1000) ack 1 win 512
      > . 1:1(0) ack 1001
      counter drop_memory_full 1
      resume
      read 1000
      < . 1001:2001(1000) ack 1 win 512
      > . 1:1(0) ack 2001
      read 1000`,
  },
]);
