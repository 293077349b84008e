import { group, OPEN } from "./cases.js";

export const closing = group("TCP closing", [
  {
    name: "the peer closes first: CLOSE-WAIT, LAST-ACK",
    script: `${OPEN}
      < FP. 1:6(5) ack 1 win 512
      > . 1:1(0) ack 7
      state CLOSE-WAIT
      read 5
      eof
      write 20; close
      > FP. 1:21(20) ack 7
      state LAST-ACK
      +0.01 < . 7:7(0) ack 22 win 512
      state NONE
      closed finished`,
  },
  {
    name: "we close first: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT for 2 MSL",
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      state FIN-WAIT-1
      +0.01 < . 1:1(0) ack 2 win 512
      state FIN-WAIT-2
      +1 < F. 1:1(0) ack 2 win 512
      > . 2:2(0) ack 2
      state TIME-WAIT
      closed finished
      +59.9 state TIME-WAIT
      +4.1 state NONE`,
  },
  {
    name: "half-close: after our FIN data still comes in",
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      +0.01 < . 1:1(0) ack 2 win 512
      < P. 1:1001(1000) ack 2 win 512
      > . 2:2(0) ack 1001
      read 1000
      < FP. 1001:1101(100) ack 2 win 512
      > . 2:2(0) ack 1102
      read 100
      eof
      state TIME-WAIT`,
  },
  {
    name: "half-close: after the peer's FIN data still goes out",
    script: `${OPEN}
      < F. 1:1(0) ack 1 win 512
      > . 1:1(0) ack 2
      eof
      write 3000
      > . 1:1461(1460) ack 2
      > . 1461:2921(1460) ack 2
      > P. 2921:3001(80) ack 2
      +0.01 < . 2:2(0) ack 3001 win 512
      close
      > F. 3001:3001(0) ack 2
      +0.01 < . 2:2(0) ack 3002 win 512
      state NONE`,
  },
  {
    name: "FIN and the acknowledgement of ours in one segment: straight to TIME-WAIT",
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      +0.01 < F. 1:1(0) ack 2 win 512
      > . 2:2(0) ack 2
      state TIME-WAIT`,
  },
  {
    name: "simultaneous close: CLOSING (RFC 9293 figure 13)",
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      < F. 1:1(0) ack 1 win 512
      > . 2:2(0) ack 2
      state CLOSING
      +0.01 < . 2:2(0) ack 2 win 512
      state TIME-WAIT
      closed finished`,
  },
  {
    name: "FIN behind a gap waits for the gap",
    script: `${OPEN}
      < F. 101:201(100) ack 1 win 512
      > . 1:1(0) ack 1
      state ESTABLISHED
      < . 1:101(100) ack 1 win 512
      > . 1:1(0) ack 202
      state CLOSE-WAIT
      read 200
      eof`,
  },
  {
    name: "unread data survives the peer's FIN",
    script: `${OPEN}
      hold
      < FP. 1:101(100) ack 1 win 512
      > . 1:1(0) ack 102
      close
      > F. 1:1(0) ack 102
      +0.01 < . 102:102(0) ack 2 win 512
      state NONE
      resume
      read 100
      eof`,
  },
  {
    name: "FIN waits for the window with the data before it",
    script: `
      < S 0:0(0) win 1000 <mss 1000>
      > S. 0:0(0) ack 1
      +0.01 < . 1:1(0) ack 1 win 1000
      write 1500; close
      > . 1:1001(1000)
      +0.01 < . 1:1(0) ack 1001 win 1000
      > FP. 1001:1501(500) ack 1`,
  },
  {
    name: "the peer's FIN again in TIME-WAIT is acknowledged again and starts the time anew",
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      +0.01 < F. 1:1(0) ack 2 win 512
      > . 2:2(0) ack 2
      +50 < F. 1:1(0) ack 2 win 512
      > . 2:2(0) ack 2
      +50 state TIME-WAIT
      +10.1 state NONE`,
  },
  {
    name: "a new SYN with a higher number reopens from TIME-WAIT, above the old numbers",
    script: `${OPEN}
      write 10; close
      > FP. 1:11(10) ack 1
      +0.01 < F. 1:1(0) ack 12 win 512
      > . 12:12(0) ack 2
      state TIME-WAIT
      +1 < S 1000:1000(0) win 65535 <mss 1460,wscale 7>
      > S. 65548:65548(0) ack 1001 <mss 1460,wscale 3>
      counter time_wait_recycled 1
      +0.01 < . 1001:1001(0) ack 65549 win 512
      state ESTABLISHED`,
  },
  {
    name: "an old SYN does not reopen from TIME-WAIT",
    script: `${OPEN}
      < P. 1:101(100) ack 1 win 512
      > . 1:1(0) ack 101
      close
      > F. 1:1(0) ack 101
      +0.01 < F. 101:101(0) ack 2 win 512
      > . 2:2(0) ack 102
      +1 < S 50:50(0) win 65535 <mss 1460>
      > . 2:2(0) ack 102
      state TIME-WAIT`,
  },
  {
    name: "a RST does not end TIME-WAIT (RFC 1337)",
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      +0.01 < F. 1:1(0) ack 2 win 512
      > . 2:2(0) ack 2
      < R 2:2(0)
      state TIME-WAIT
      counter reset_by_peer 0
      +60 state NONE`,
  },
  {
    name: "simultaneous close with data on its way in both directions loses nothing",
    script: `${OPEN}
      write 100; close
      > FP. 1:101(100) ack 1
      < FP. 1:201(200) ack 1 win 512
      > . 102:102(0) ack 202
      state CLOSING
      read 200
      eof
      +0.21 > FP. 1:101(100) ack 202
      +0.01 < . 202:202(0) ack 102 win 512
      state TIME-WAIT
      closed finished`,
  },
  {
    name: "the peer's FIN again in CLOSING is acknowledged again",
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      < F. 1:1(0) ack 1 win 512
      > . 2:2(0) ack 2
      < F. 1:1(0) ack 1 win 512
      > . 2:2(0) ack 2
      state CLOSING`,
  },
  {
    name: "a RST at the exact number ends LAST-ACK and FIN-WAIT-2, elsewhere it is challenged",
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      +0.01 < . 1:1(0) ack 2 win 512
      state FIN-WAIT-2
      < R 500:500(0)
      > . 2:2(0) ack 1
      state FIN-WAIT-2
      < R 1:1(0)
      closed reset
      state NONE`,
  },
  {
    name: "a SYN with the number expected next is challenged in every synchronized state, never taken for a new one",
    script: `${OPEN}
      < F. 1:1(0) ack 1 win 512
      > . 1:1(0) ack 2
      < S 2:2(0) win 65535 <mss 1460>
      > . 1:1(0) ack 2
      state CLOSE-WAIT
      +1 < S. 2:2(0) ack 1 win 65535 <mss 1460>
      > . 1:1(0) ack 2
      state CLOSE-WAIT
      counter challenge_acks 2`,
  },
  {
    name: "a blind acknowledgement beyond the window of what was sent is challenged while closing, too (RFC 5961 section 5)",
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      < . 1:1(0) ack 900 win 512
      > . 2:2(0) ack 1
      state FIN-WAIT-1
      +0.1 < . 1:1(0) ack 900 win 512
      state FIN-WAIT-1
      counter challenge_acks 1
      counter drop_bad_ack 2`,
  },
  {
    name: "TIME-WAIT is limited: the oldest goes",
    config: { maxTimeWait: 0 },
    script: `${OPEN}
      close
      > F. 1:1(0) ack 1
      +0.01 < F. 1:1(0) ack 2 win 512
      > . 2:2(0) ack 2
      state NONE
      counter time_wait_evicted 1
      closed finished`,
  },
  {
    name: "data for a connection that is gone gets RST",
    script: `${OPEN}
      < F. 1:1(0) ack 1 win 512
      > . 1:1(0) ack 2
      close
      > F. 1:1(0) ack 2
      < . 2:2(0) ack 2 win 512
      state NONE
      < P. 2:12(10) ack 2 win 512
      > R 2:2(0)`,
  },
]);

export const reset = group("TCP reset", [
  {
    name: "abort sends RST and forgets what was queued",
    script: `${OPEN}
      write 1000; abort
      > R. 1:1(0) ack 1
      state NONE
      counter resets_out 1`,
  },
  {
    name: "the peer's RST with the exact number ends the connection",
    script: `${OPEN}
      < R 1:1(0)
      closed reset
      state NONE
      counter reset_by_peer 1`,
  },
  {
    name: "a RST elsewhere in the window is challenged (RFC 5961 section 3)",
    script: `${OPEN}
      < R 1000:1000(0)
      > . 1:1(0) ack 1
      state ESTABLISHED
      counter challenge_acks 1`,
  },
  {
    name: "a RST outside the window is dropped without a word",
    script: `${OPEN}
      < R 5000000:5000000(0)
      < R 0:0(0)
      state ESTABLISHED
      counter drop_out_of_window 2`,
  },
  {
    name: "a SYN in the window is challenged (RFC 5961 section 4)",
    script: `${OPEN}
      < S 100:100(0) win 65535 <mss 1460>
      > . 1:1(0) ack 1
      state ESTABLISHED`,
  },
  {
    name: "a client that restarted with the same port: its SYN is challenged, its RST clears the way",
    script: `${OPEN}
      < S 100:100(0) win 65535 <mss 1460>
      > . 1:1(0) ack 1
      < R 1:1(0)
      state NONE
      +1 < S 100:100(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 101`,
  },
  {
    name: "challenges are limited to one per half second",
    script: `${OPEN}
      < R 1000:1000(0)
      > . 1:1(0) ack 1
      +0.1 < R 2000:2000(0)
      +0.1 < S 100:100(0) win 65535
      +0.4 < R 3000:3000(0)
      > . 1:1(0) ack 1
      counter challenge_acks 2`,
  },
  {
    name: "an acknowledgement of what was never sent is challenged and its data dropped (RFC 5961 section 5)",
    script: `${OPEN}
      < P. 1:11(10) ack 500 win 512
      > . 1:1(0) ack 1
      read 0
      counter drop_bad_ack 1`,
  },
  {
    name: "an acknowledgement from far before the window is challenged",
    script: `${OPEN}
      < P. 1:11(10) ack -70000 win 512
      > . 1:1(0) ack 1
      counter drop_bad_ack 1`,
  },
  {
    name: "an acknowledgement that is merely old still delivers its data",
    script: `${OPEN}
      write 100
      > P. 1:101(100)
      +0.01 < . 1:1(0) ack 101 win 512
      < P. 1:11(10) ack 51 win 512
      > . 101:101(0) ack 11
      read 10`,
  },
  {
    name: "segments without ACK are dropped",
    script: `${OPEN}
      < P 1:11(10) win 512
      read 0
      counter drop_no_ack 1`,
  },
  {
    name: "keep-alive probes are answered",
    script: `${OPEN}
      +60 < . 0:0(0) ack 1 win 512
      > . 1:1(0) ack 1
      +60 < . 0:1(1) ack 1 win 512
      > . 1:1(0) ack 1
      read 0`,
  },
  {
    name: "two ends that disagree do not acknowledge each other for ever",
    script: `${OPEN}
      < . -10:-10(0) ack 1 win 512
      > . 1:1(0) ack 1
      < . -10:-10(0) ack 1 win 512
      < . -10:-10(0) ack 1 win 512
      counter challenge_acks 1`,
  },
]);
