import { group, OPEN } from "./cases.js";

export const handshake = group("TCP handshake", [
  {
    name: "passive open, with MSS and window scale",
    script: `${OPEN}
      +1 < P. 1:11(10) ack 1 win 512
      > . 1:1(0) ack 11 win 32768
      read 10`,
  },
  {
    name: "the peer's window scale counts only from the segments after its SYN on",
    script: `
      < S 0:0(0) win 2000 <mss 1460,wscale 2>
      > S. 0:0(0) ack 1 <mss 1460,wscale 3>
      +0.01 < . 1:1(0) ack 1 win 730
      write 5000
      > . 1:1461(1460)
      > . 1461:2921(1460)`,
  },
  {
    name: "without the peer's window scale ours is not used either",
    script: `
      < S 0:0(0) win 5000 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      +0.01 < . 1:1(0) ack 1 win 5000
      < P. 1:101(100) ack 1 win 5000
      > . 1:1(0) ack 101 win 65435`,
  },
  {
    name: "a peer without an MSS option gets segments of 536 bytes (RFC 9293 section 3.7.1)",
    onlyIPv4: true,
    script: `
      < S 0:0(0) win 65535
      > S. 0:0(0) ack 1 <mss 1460>
      +0.01 < . 1:1(0) ack 1 win 65535
      write 600
      > . 1:537(536)
      > P. 537:601(64)`,
  },
  {
    name: "a peer with an absurdly small MSS gets 48 bytes, one with a jumbo MSS ours",
    script: `
      < S 0:0(0) win 65535 <mss 1>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 65535
      write 60
      > . 1:49(48)
      > P. 49:61(12)`,
  },
  {
    name: "a jumbo MSS does not exceed our own",
    script: `
      < S 0:0(0) win 65535 <mss 9000>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 65535
      write 1500
      > . 1:1461(1460)
      > P. 1461:1501(40)`,
  },
  {
    name: "data with the handshake's last segment",
    script: `
      < S 0:0(0) win 65535 <mss 1460,wscale 7>
      > S. 0:0(0) ack 1
      +0.01 < P. 1:6(5) ack 1 win 512
      > . 1:1(0) ack 6
      state ESTABLISHED
      read 5`,
  },
  {
    name: "data with the SYN is left to be sent again",
    script: `
      < S 0:5(5) win 65535 <mss 1460,wscale 7>
      > S. 0:0(0) ack 1
      +0.01 < . 6:6(0) ack 1 win 512
      read 0`,
  },
  {
    name: "SYN-ACK is sent again after 1, 2, 4 ... s, then the connection is given up without a word",
    config: { synRetries: 3 },
    script: `
      < S 0:0(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 1 <mss 1460>
      +1 > S. 0:0(0) ack 1 <mss 1460>
      +2 > S. 0:0(0) ack 1 <mss 1460>
      +4 > S. 0:0(0) ack 1 <mss 1460>
      +7.9 state SYN-RECEIVED
      +0.9 state NONE
      counter half_open_expired 1
      counter timed_out 1`,
  },
  {
    name: "the peer's SYN again gets the SYN-ACK again at once",
    script: `
      < S 0:0(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 1
      +0.5 < S 0:0(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 1
      +0.1 < . 1:1(0) ack 1 win 65535
      state ESTABLISHED`,
  },
  {
    name: "a new SYN far from that of a half-open connection is told where we stand, and its RST makes way for it",
    script: `
      < S 0:0(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 1
      +0.2 < S 1000000:1000000(0) win 65535 <mss 1460>
      > . 1:1(0) ack 1
      < R 1:1(0) win 0
      state NONE`,
  },
  {
    name: "the peer's SYN again gets the SYN-ACK again though data comes with it",
    script: `
      < S 0:5(5) win 65535 <mss 1460>
      > S. 0:0(0) ack 1
      +0.5 < S 0:5(5) win 65535 <mss 1460>
      > S. 0:0(0) ack 1
      +0.1 < . 1:1(0) ack 1 win 65535
      state ESTABLISHED`,
  },
  {
    name: "after a lost SYN-ACK one segment at first (RFC 5681 section 3.1), and a time-out of 3 s (RFC 6298 5.7)",
    script: `
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1
      +1 > S. 0:0(0) ack 1
      +0.1 < . 1:1(0) ack 1 win 65535
      write 3000
      > . 1:1001(1000)
      +3 > P. 1:1001(1000)`,
  },
  {
    name: "RST in SYN-RECEIVED goes back to LISTEN",
    script: `
      < S 0:0(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 1
      < R 1:1(0)
      state NONE
      +0.1 < S 100:100(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 101`,
  },
  {
    name: "a RST outside the window changes nothing in SYN-RECEIVED",
    script: `
      < S 0:0(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 1
      < R 100000:100000(0)
      state SYN-RECEIVED`,
  },
  {
    name: "an acknowledgement that is not of our SYN gets RST with its number, and the handshake goes on",
    script: `
      < S 0:0(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 1
      < . 1:1(0) ack 77 win 65535
      > R 77:77(0)
      < . 1:1(0) ack 1 win 65535
      state ESTABLISHED`,
  },
  {
    name: "another SYN inside the window of a half-open connection begins anew with the peer's next try",
    script: `
      < S 0:0(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 1
      < S 500:500(0) win 65535 <mss 1460>
      state NONE
      +1 < S 500:500(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 501`,
  },
  {
    name: "connections are limited",
    config: { maxConnections: 0 },
    script: `
      < S 0:0(0) win 65535 <mss 1460>
      counter drop_connections_full 1
      state NONE`,
  },
  {
    name: "a segment of no connection gets RST with its acknowledgement number (RFC 9293 section 3.10.7.1)",
    script: `
      < P. 1000:1100(100) ack 5000 win 100
      > R 5000:5000(0)
      counter drop_no_connection 1
      counter resets_out 1`,
  },
  {
    name: "a RST of no connection gets nothing",
    script: `
      < R. 1000:1000(0) ack 5000
      counter drop_no_connection 1`,
  },
  {
    name: "SYN and ACK to a listener is refused",
    script: `
      < S. 0:0(0) ack 9 win 65535 <mss 1460>
      > R 9:9(0)
      state NONE`,
  },
  {
    name: "active open",
    script: `
      connect
      > S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 3>
      +0.01 < S. 0:0(0) ack 1 win 65535 <mss 1460,wscale 7>
      > . 1:1(0) ack 1
      state ESTABLISHED
      write 10
      > P. 1:11(10) ack 1
      +0.01 < . 1:1(0) ack 11 win 512
      counter connected 1`,
  },
  {
    name: "active open refused",
    script: `
      connect
      > S 0:0(0)
      +0.01 < R. 0:0(0) ack 1
      closed reset
      state NONE`,
  },
  {
    name: "a RST without a proper acknowledgement does not refuse an active open",
    script: `
      connect
      > S 0:0(0)
      < R. 0:0(0) ack 5
      < R 0:0(0)
      state SYN-SENT`,
  },
  {
    name: "an active open gives up after its retries",
    config: { synRetries: 2 },
    script: `
      connect
      > S 0:0(0)
      +1 > S 0:0(0)
      +2 > S 0:0(0)
      +4 closed timeout
      state NONE`,
  },
  {
    name: "a stray SYN-ACK in SYN-SENT gets RST (old duplicate, RFC 9293 figure 9)",
    script: `
      connect
      > S 0:0(0)
      < S. 0:0(0) ack 90 win 100 <mss 1460>
      > R 90:90(0)
      state SYN-SENT`,
  },
  {
    name: "simultaneous open (RFC 9293 figure 8)",
    script: `
      connect
      > S 0:0(0) <mss 1460,sackOK,TS val 0 ecr 0,wscale 3>
      +0.01 < S 0:0(0) win 65535 <mss 1460,wscale 7>
      > S. 0:0(0) ack 1 <mss 1460,wscale 3>
      +0.01 < S. 0:0(0) ack 1 win 65535 <mss 1460,wscale 7>
      > . 1:1(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 512
      state ESTABLISHED`,
  },
]);
