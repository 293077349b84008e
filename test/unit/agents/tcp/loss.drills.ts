import { group, OPEN } from "./cases.js";

export const retransmission = group("TCP retransmission", [
  {
    name: "time-out, doubled each time (RFC 6298), until the peer answers",
    script: `${OPEN}
      write 100
      > P. 1:101(100) ack 1
      +0.21 > P. 1:101(100) ack 1
      +0.42 > P. 1:101(100) ack 1
      +0.84 > P. 1:101(100) ack 1
      +0.1 < . 1:1(0) ack 101 win 512
      +10 counter retransmitted 3
      counter timeouts 3`,
  },
  {
    name: "the time-out grows to a minute at most and ends with the user time-out: RST",
    config: { maxRto: 500, userTimeout: 2_000 },
    script: `${OPEN}
      write 100
      > P. 1:101(100)
      +0.21 > P. 1:101(100)
      +0.42 > P. 1:101(100)
      +0.5 > P. 1:101(100)
      +0.5 > P. 1:101(100)
      +0.5 > R. 101:101(0) ack 1
      closed timeout
      state NONE`,
  },
  {
    name: "Karn: an acknowledgement of a retransmitted segment is no sample, the doubled time-out stays",
    script: `${OPEN}
      write 100
      > P. 1:101(100)
      +0.21 > P. 1:101(100)
      +0.01 < . 1:1(0) ack 101 win 512
      write 100
      > P. 101:201(100)
      +0.42 > P. 101:201(100)
      +0.01 < . 1:1(0) ack 201 win 512`,
  },
  {
    name: "a new sample ends the doubling",
    script: `${OPEN}
      write 100
      > P. 1:101(100)
      +0.21 > P. 1:101(100)
      +0.01 < . 1:1(0) ack 101 win 512
      write 100
      > P. 101:201(100)
      +0.01 < . 1:1(0) ack 201 win 512
      write 100
      > P. 201:301(100)
      +0.21 > P. 201:301(100)`,
  },
  {
    name: "three duplicate acknowledgements bring the segment again at once (RFC 5681, limited transmit RFC 3042)",
    script: `${OPEN}
      write 16000
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
      +0.01 < . 1:1(0) ack 1 win 512
      > P. 14601:16001(1400)
      < . 1:1(0) ack 1 win 512
      < . 1:1(0) ack 1 win 512
      > P. 1:1461(1460)
      < . 1:1(0) ack 1 win 512
      +0.01 < . 1:1(0) ack 16001 win 512
      counter fast_recoveries 1
      counter retransmitted 1
      counter timeouts 0`,
  },
  {
    name: "a partial acknowledgement brings the next lost segment (RFC 6582)",
    config: { mss: 1000 },
    script: `
      < S 0:0(0) win 65535 <mss 1000,wscale 7>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 512
      write 8000
      > . 1:1001(1000)
      > . 1001:2001(1000)
      > . 2001:3001(1000)
      > . 3001:4001(1000)
      > . 4001:5001(1000)
      > . 5001:6001(1000)
      > . 6001:7001(1000)
      > P. 7001:8001(1000)
      +0.01 < . 1:1(0) ack 1 win 512; < . 1:1(0) ack 1 win 512; < . 1:1(0) ack 1 win 512
      > P. 1:1001(1000)
      +0.01 < . 1:1(0) ack 2001 win 512
      > P. 2001:3001(1000)
      +0.01 < . 1:1(0) ack 8001 win 512
      counter retransmitted 2
      counter fast_recoveries 1`,
  },
  {
    name: "two duplicates are reordering, not loss",
    script: `${OPEN}
      write 5000
      > . 1:1461(1460)
      > . 1461:2921(1460)
      > . 2921:4381(1460)
      > P. 4381:5001(620)
      < . 1:1(0) ack 1 win 512
      < . 1:1(0) ack 1 win 512
      +0.01 < . 1:1(0) ack 5001 win 512
      counter retransmitted 0`,
  },
  {
    name: "window updates and segments with data are no duplicates",
    script: `${OPEN}
      write 5000
      > . 1:1461(1460)
      > . 1461:2921(1460)
      > . 2921:4381(1460)
      > P. 4381:5001(620)
      < . 1:1(0) ack 1 win 513
      < . 1:1(0) ack 1 win 514
      < . 1:1(0) ack 1 win 515
      < P. 1:2(1) ack 1 win 515; < P. 2:3(1) ack 1 win 515; < P. 3:4(1) ack 1 win 515
      > . 5001:5001(0) ack 4
      counter fast_recoveries 0`,
  },
  {
    name: "after a time-out slow start from one segment, and no segment twice that was acknowledged meanwhile",
    config: { mss: 1000 },
    script: `
      < S 0:0(0) win 65535 <mss 1000,wscale 7>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 512
      write 6000
      > . 1:1001(1000)
      > . 1001:2001(1000)
      > . 2001:3001(1000)
      > . 3001:4001(1000)
      > . 4001:5001(1000)
      > P. 5001:6001(1000)
      +0.21 > P. 1:1001(1000)
      +0.01 < . 1:1(0) ack 1001 win 512
      > P. 1001:2001(1000)
      > P. 2001:3001(1000)
      +0.01 < . 1:1(0) ack 6001 win 512
      +5 counter retransmitted 3`,
  },
  {
    name: "a lost FIN is sent again",
    script: `${OPEN}
      write 10; close
      > FP. 1:11(10) ack 1
      +0.21 > FP. 1:11(10) ack 1
      +0.01 < . 1:1(0) ack 12 win 512
      state FIN-WAIT-2`,
  },
  {
    name: "a FIN alone is sent again when its data was acknowledged",
    script: `${OPEN}
      write 10
      > P. 1:11(10)
      close
      > F. 11:11(0) ack 1
      +0.01 < . 1:1(0) ack 11 win 512
      +0.21 > F. 11:11(0) ack 1
      +0.01 < . 1:1(0) ack 12 win 512
      state FIN-WAIT-2`,
  },
  {
    name: "an acknowledgement in the middle of a segment leaves the rest to be sent again",
    script: `${OPEN}
      write 1000
      > P. 1:1001(1000)
      +0.01 < . 1:1(0) ack 501 win 512
      +0.21 > P. 501:1001(500)`,
  },
]);
