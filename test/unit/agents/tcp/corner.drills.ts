import { group, OPEN } from "./cases.js";

/** Closed by us, acknowledged by the peer, which has not closed. */
const HALF_CLOSED = `${OPEN}
  close
  > F. 1:1(0) ack 1
  +0.01 < . 1:1(0) ack 2 win 512
  state FIN-WAIT-2
`;

const CLOSED_BY_PEER = `${OPEN}
  < F. 1:1(0) ack 1 win 512
  > . 1:1(0) ack 2
  state CLOSE-WAIT
`;

/** Both FINs are out, ours is not acknowledged. */
const CLOSING = `${OPEN}
  close
  > F. 1:1(0) ack 1
  < F. 1:1(0) ack 1 win 512
  > . 2:2(0) ack 2
  state CLOSING
`;

const LAST_ACK = `${CLOSED_BY_PEER}
  close
  > F. 1:1(0) ack 2
  state LAST-ACK
`;

export const strays = group("what comes at the wrong time (RFC 9293 section 3.10.7)", [
  {
    name: "a segment without SYN, ACK or RST to a listener gets nothing",
    script: `
      < P 1:11(10) win 100
      < F 1:1(0) win 100
      < - 1:1(0) win 100
      counter drop_no_ack 3
      counter resets_out 0`,
  },
  {
    name: "a SYN with RST opens nothing",
    script: `
      < SR 0:0(0) win 65535 <mss 1460>
      state NONE`,
  },
  {
    name: "a SYN that asks for ECN is answered without it",
    script: `
      < SEW 0:0(0) win 65535 <mss 1460,wscale 7>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 512
      < PEW. 1:11(10) ack 1 win 512
      > . 1:1(0) ack 11
      read 10`,
  },
  {
    name: "an old duplicate SYN is cleared by its owner's RST, and the new one is served (RFC 9293 figure 9)",
    script: `
      < S -90:-90(0) win 65535 <mss 1460>
      > S. 0:0(0) ack -89
      +0.01 < R -89:-89(0)
      state NONE
      < S 0:0(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 65535
      state ESTABLISHED`,
  },
  {
    name: "the SYN-ACK's acknowledgement brings FIN along: straight to CLOSE-WAIT",
    script: `
      < S 0:0(0) win 65535 <mss 1460,wscale 7>
      > S. 0:0(0) ack 1
      +0.01 < F. 1:1(0) ack 1 win 512
      > . 1:1(0) ack 2
      state CLOSE-WAIT
      eof`,
  },
  {
    name: "FIN or data without ACK complete no handshake",
    script: `
      < S 0:0(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 1
      < F 1:1(0) win 512
      < P 1:11(10) win 512
      state SYN-RECEIVED
      counter drop_no_ack 2`,
  },
  {
    name: "data with the SYN-ACK is left to be sent again",
    script: `
      connect
      > S 0:0(0)
      +0.01 < S. 0:5(5) ack 1 win 65535 <mss 1460,wscale 7>
      > . 1:1(0) ack 1
      state ESTABLISHED
      read 0`,
  },
  {
    name: "FIN with the SYN-ACK does not close what is not yet open",
    script: `
      connect
      > S 0:0(0)
      +0.01 < FS. 0:0(0) ack 1 win 65535 <mss 1460,wscale 7>
      > . 1:1(0) ack 1
      state ESTABLISHED`,
  },
  {
    name: "neither ACK nor data nor FIN alone answers a SYN",
    script: `
      connect
      > S 0:0(0)
      < P. 1:11(10) ack 1 win 512
      < F 1:1(0) win 512
      state SYN-SENT`,
  },
  {
    name: "the SYN-ACK again is challenged: our acknowledgement was lost",
    script: `
      connect
      > S 0:0(0)
      +0.01 < S. 0:0(0) ack 1 win 65535 <mss 1460,wscale 7>
      > . 1:1(0) ack 1
      +1 < S. 0:0(0) ack 1 win 65535 <mss 1460,wscale 7>
      > . 1:1(0) ack 1
      state ESTABLISHED`,
  },
  {
    name: "an old duplicate FIN closes nothing",
    script: `${OPEN}
      < P. 1:101(100) ack 1 win 512
      > . 1:1(0) ack 101
      < F. 50:50(0) ack 1 win 512
      > . 1:1(0) ack 101
      state ESTABLISHED
      read 100`,
  },
  {
    name: "a FIN far beyond the window closes nothing",
    script: `${OPEN}
      < F. 5000000:5000000(0) ack 1 win 512
      > . 1:1(0) ack 1
      state ESTABLISHED`,
  },
  {
    name: "a FIN without ACK closes nothing",
    script: `${OPEN}
      < F 1:1(0) win 512
      state ESTABLISHED
      counter drop_no_ack 1`,
  },
]);

export const openingBoth = group("opening from both sides (RFC 9293 figure 8)", [
  {
    name: "data follows at once in both directions",
    script: `
      connect
      > S 0:0(0)
      +0.01 < S 0:0(0) win 65535 <mss 1460,wscale 7>
      > S. 0:0(0) ack 1
      +0.01 < S. 0:0(0) ack 1 win 65535 <mss 1460,wscale 7>
      > . 1:1(0) ack 1
      < P. 1:11(10) ack 1 win 512
      > . 1:1(0) ack 11
      read 10
      write 20
      > P. 1:21(20) ack 11
      +0.01 < . 11:11(0) ack 21 win 512`,
  },
  {
    name: "the peer's SYN-ACK is lost: its acknowledgement does as well",
    script: `
      connect
      > S 0:0(0)
      +0.01 < S 0:0(0) win 65535 <mss 1460,wscale 7>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 512
      state ESTABLISHED`,
  },
  {
    name: "RST ends it",
    script: `
      connect
      > S 0:0(0)
      +0.01 < S 0:0(0) win 65535 <mss 1460,wscale 7>
      > S. 0:0(0) ack 1
      +0.01 < R 1:1(0)
      closed reset
      state NONE`,
  },
  {
    name: "our SYN-ACK is lost and goes again",
    script: `
      connect
      > S 0:0(0)
      +0.01 < S 0:0(0) win 65535 <mss 1460,wscale 7>
      > S. 0:0(0) ack 1
      +1 > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 512
      state ESTABLISHED`,
  },
]);

export const resetAnywhere = group("RST, FIN and data in every closing state", [
  {
    name: "RST in FIN-WAIT-1",
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      < R 1:1(0)
      closed reset
      state NONE`,
  },
  {
    name: "RST in CLOSE-WAIT",
    script: `${CLOSED_BY_PEER}
      < R 2:2(0)
      closed reset
      state NONE`,
  },
  {
    name: "RST in CLOSING",
    script: `${CLOSING}
      < R 2:2(0)
      state NONE`,
  },
  {
    name: "RST in LAST-ACK",
    script: `${LAST_ACK}
      < R 2:2(0)
      state NONE`,
  },
  {
    name: "RST elsewhere in the window is challenged in CLOSE-WAIT, CLOSING and LAST-ACK, too",
    script: `${LAST_ACK}
      < R 900:900(0)
      > . 2:2(0) ack 2
      state LAST-ACK`,
  },
  {
    name: "FIN again in CLOSE-WAIT is acknowledged again",
    script: `${CLOSED_BY_PEER}
      < F. 1:1(0) ack 1 win 512
      > . 1:1(0) ack 2
      state CLOSE-WAIT`,
  },
  {
    name: "FIN again in LAST-ACK is acknowledged again",
    script: `${LAST_ACK}
      < F. 1:1(0) ack 1 win 512
      > . 2:2(0) ack 2
      state LAST-ACK`,
  },
  {
    name: "data behind the peer's own FIN is not delivered",
    script: `${CLOSED_BY_PEER}
      < P. 2:12(10) ack 1 win 512
      > . 1:1(0) ack 2
      read 0
      state CLOSE-WAIT`,
  },
  {
    name: "old data again in TIME-WAIT is acknowledged again",
    script: `${OPEN}
      < P. 1:11(10) ack 1 win 512
      > . 1:1(0) ack 11
      close
      > F. 1:1(0) ack 11
      +0.01 < F. 11:11(0) ack 2 win 512
      > . 2:2(0) ack 12
      < P. 1:11(10) ack 1 win 512
      > . 2:2(0) ack 12
      state TIME-WAIT`,
  },
  {
    name: "abort in FIN-WAIT-2 resets",
    script: `${HALF_CLOSED}
      abort
      > R. 2:2(0) ack 1
      state NONE`,
  },
  {
    name: "abort in CLOSE-WAIT resets",
    script: `${CLOSED_BY_PEER}
      abort
      > R. 1:1(0) ack 2
      state NONE`,
  },
  {
    name: "abort in LAST-ACK resets, as nobody would repeat the FIN",
    script: `${LAST_ACK}
      abort
      > R. 2:2(0) ack 2
      state NONE`,
  },
  {
    name: "FIN-WAIT-2 takes data, and FIN out of order only when the gap is filled",
    script: `${HALF_CLOSED}
      < FP. 101:201(100) ack 2 win 512
      > . 2:2(0) ack 1
      state FIN-WAIT-2
      < P. 1:101(100) ack 2 win 512
      > . 2:2(0) ack 202
      state TIME-WAIT
      read 200
      eof`,
  },
]);

export const windows = group("windows (RFC 9293 section 3.8.6, RFC 6429)", [
  {
    name: "the SYN-ACK's window is not scaled",
    script: `
      connect
      > S 0:0(0)
      +0.01 < S. 0:0(0) ack 1 win 2000 <mss 1000,wscale 7>
      > . 1:1(0) ack 1
      write 5000
      > . 1:1001(1000)
      > . 1001:2001(1000)
      +0.01 < . 1:1(0) ack 2001 win 100
      > . 2001:3001(1000)
      > . 3001:4001(1000)
      > P. 4001:5001(1000)`,
  },
  {
    name: "a window that opened is used at once, without a probe",
    script: `
      < S 0:0(0) win 4000 <mss 1000>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 4000
      write 6000
      > . 1:1001(1000)
      > . 1001:2001(1000)
      > . 2001:3001(1000)
      > . 3001:4001(1000)
      +0.01 < . 1:1(0) ack 4001 win 0
      +0.1 < . 1:1(0) ack 4001 win 4000
      > . 4001:5001(1000)
      > P. 5001:6001(1000)
      counter window_probes 0`,
  },
  {
    name: "a shut window is probed after the time-out",
    script: `
      < S 0:0(0) win 4000 <mss 1000>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 4000
      write 6000
      > . 1:1001(1000)
      > . 1001:2001(1000)
      > . 2001:3001(1000)
      > . 3001:4001(1000)
      +0.01 < . 1:1(0) ack 4001 win 0
      +0.21 > . 4001:4002(1)
      counter window_probes 1
      abort
      > R. 4002:4002(0)`,
  },
  {
    name: "a connection at a shut window can be given up (RFC 6429)",
    script: `
      < S 0:0(0) win 4000 <mss 1000>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 4000
      write 6000
      > . 1:1001(1000)
      > . 1001:2001(1000)
      > . 2001:3001(1000)
      > . 3001:4001(1000)
      +0.01 < . 1:1(0) ack 4001 win 0
      abort
      > R. 4001:4001(0)
      state NONE`,
  },
  {
    name: "FIN needs no window when nothing waits before it",
    script: `
      < S 0:0(0) win 4000 <mss 1000>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 0
      close
      > F. 1:1(0) ack 1
      +0.01 < . 1:1(0) ack 2 win 0
      state FIN-WAIT-2`,
  },
  {
    name: "an acknowledgement of everything with a smaller window does not shut it for what fits",
    script: `${OPEN}
      write 1000
      > P. 1:1001(1000)
      +0.01 < . 1:1(0) ack 1001 win 8
      write 1000
      > P. 1001:2001(1000)`,
  },
]);

export const urgent = group("urgent data is data (RFC 6093)", [
  {
    name: "it is delivered in its place",
    script: `${OPEN}
      < PU. 1:11(10) ack 1 win 512 urg 5
      > . 1:1(0) ack 11
      read 10`,
  },
  {
    name: "the pointer may stand beyond what has come",
    script: `${OPEN}
      < PU. 1:11(10) ack 1 win 512 urg 1000
      > . 1:1(0) ack 11
      read 10
      < P. 11:1501(1490) ack 1 win 512
      > . 1:1(0) ack 1501
      read 1490`,
  },
  {
    name: "a pointer of 0, or one without the flag, means nothing",
    script: `${OPEN}
      < PU. 1:11(10) ack 1 win 512
      > . 1:1(0) ack 11
      < P. 11:21(10) ack 1 win 512 urg 3
      > . 1:1(0) ack 21
      read 20`,
  },
  {
    name: "an empty segment with the flag is an acknowledgement like any",
    script: `${OPEN}
      write 10
      > P. 1:11(10)
      +0.01 < U. 1:1(0) ack 11 win 512 urg 1
      +1 counter retransmitted 0`,
  },
]);

export const timers = group("the retransmission timer (RFC 6298 section 5)", [
  {
    name: "starts anew when something is acknowledged (5.3)",
    script: `${OPEN}
      write 100
      > P. 1:101(100)
      +0.07 write 100
      > P. 101:201(100)
      +0.08 < . 1:1(0) ack 101 win 512
      +0.15 state ESTABLISHED
      < . 1:1(0) ack 201 win 512
      +1 counter retransmitted 0`,
  },
  {
    name: "stops when all is acknowledged (5.2)",
    script: `${OPEN}
      write 100
      > P. 1:101(100)
      +0.01 < . 1:1(0) ack 101 win 512
      +5 counter retransmitted 0`,
  },
]);

export const reply = group("answers to probes of a living connection (RFC 9293 section 3.8.4)", [
  {
    name: "a keep-alive probe, empty or of one old byte, is answered",
    script: `${OPEN}
      < P. 1:11(10) ack 1 win 512
      > . 1:1(0) ack 11
      +1 < . 10:10(0) ack 1 win 512
      > . 1:1(0) ack 11
      +1 < . 10:11(1) ack 1 win 512
      > . 1:1(0) ack 11
      read 10`,
  },
  {
    name: "ours go out after the idle time, and reset in the end",
    config: { keepAliveIdle: 2_000, keepAliveInterval: 1_000, keepAliveProbes: 2 },
    script: `${OPEN}
      +2 > . 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 512
      +2 > . 0:0(0) ack 1
      +1 > . 0:0(0) ack 1
      +1 > R. 1:1(0) ack 1
      closed timeout
      state NONE`,
  },
]);
