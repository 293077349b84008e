import { group, OPEN } from "./cases.js";

/** As OPEN, with SACK and timestamps: segments carry 1448 bytes. */
const WHOLE = `
  < S 0:0(0) win 65535 <mss 1460,sackOK,TS val 1 ecr 0,wscale 7>
  > S. 0:0(0) ack 1 <mss 1460,wscale 3,sackOK,TS val 0 ecr 1>
  +0.01 < . 1:1(0) ack 1 win 512 <TS val 2 ecr 0>
`;

export const pathMtu = group("path MTU (RFC 1191, RFC 8201, RFC 5927)", [
  {
    name: "what was too big goes again at once in smaller pieces, and nothing slows down",
    script: `${OPEN}
      write 3500
      > . 1:1461(1460)
      > . 1461:2921(1460)
      > P. 2921:3501(580)
      +0.005 mtu 1000 1
      > P. 1:1001(1000)
      > P. 1001:1461(460)
      > P. 1461:2461(1000)
      > P. 2461:2921(460)
      counter path_mtu_lowered 1
      +0.01 < . 1:1(0) ack 3501 win 512
      write 10000
      > . 3501:4501(1000)
      > . 4501:5501(1000)
      > . 5501:6501(1000)
      > . 6501:7501(1000)
      > . 7501:8501(1000)
      > . 8501:9501(1000)
      > . 9501:10501(1000)
      > . 10501:11501(1000)
      > . 11501:12501(1000)
      > P. 12501:13501(1000)
      counter fast_recoveries 0
      counter timeouts 0`,
  },
  {
    name: "one report for each segment that was out changes nothing more",
    script: `${OPEN}
      write 2920
      > . 1:1461(1460)
      > P. 1461:2921(1460)
      mtu 1400 1
      > P. 1:1401(1400)
      > P. 1401:1461(60)
      > P. 1461:2861(1400)
      > P. 2861:2921(60)
      mtu 1400 1461
      counter path_mtu_lowered 1`,
  },
  {
    name: "duplicates from what did get through begin no recovery",
    script: `${OPEN}
      write 1470
      > . 1:1461(1460)
      > P. 1461:1471(10)
      write 10
      > P. 1471:1481(10)
      write 10
      > P. 1481:1491(10)
      +0.005 mtu 1000 1
      > P. 1:1001(1000)
      > P. 1001:1461(460)
      < . 1:1(0) ack 1 win 512; < . 1:1(0) ack 1 win 512; < . 1:1(0) ack 1 win 512
      +0.01 < . 1:1(0) ack 1491 win 512
      counter fast_recoveries 0
      counter retransmitted 2`,
  },
  {
    name: "makes room for timestamps, and spares what the peer holds",
    script: `${WHOLE}
      write 4344
      > . 1:1449(1448)
      > . 1449:2897(1448)
      > P. 2897:4345(1448)
      +0.005 < . 1:1(0) ack 1 win 512 <TS val 7 ecr 10,sack 1449:2897>
      mtu 1000 1
      > P. 1:989(988)
      > P. 989:1449(460)
      > P. 2897:3885(988)
      > P. 3885:4345(460)`,
  },
  {
    name: "a FIN stays behind the last piece",
    script: `${OPEN}
      write 1400; close
      > FP. 1:1401(1400)
      mtu 1000 1
      > P. 1:1001(1000)
      > FP. 1001:1401(400)
      +0.01 < . 1:1(0) ack 1402 win 512
      state FIN-WAIT-2`,
  },
  {
    name: "never rises",
    script: `${OPEN}
      write 1000
      > P. 1:1001(1000)
      mtu 600 1
      > P. 1:601(600)
      > P. 601:1001(400)
      mtu 1400 1
      write 1000
      > . 1001:1601(600)
      > P. 1601:2001(400)`,
  },
  {
    name: "never falls below 48 bytes",
    script: `${OPEN}
      write 90
      > P. 1:91(90)
      mtu 1 1
      > P. 1:49(48)
      > P. 49:91(42)`,
  },
  {
    name: "is not believed of what is not in flight",
    script: `${OPEN}
      stray-mtu 1000 1
      write 1400
      > P. 1:1401(1400)
      stray-mtu 1000 0
      stray-mtu 1000 1401
      stray-mtu 1000 90000
      +0.01 < . 1:1(0) ack 1401 win 512
      stray-mtu 1000 1
      counter path_mtu_lowered 0`,
  },
]);
