/**
 * Frames that Linux 6 made, captured on a veth with checksum offload off: a station 10.78.0.1, fd78::1 on one link, a
 * client 10.79.0.2, fd79::2 on another, and a router between them whose links have other MTUs.
 */
import { Frame } from "@topicast/agent/tcp/wire/frame.js";

/** What the programs sent fills the frames from where the hexadecimal ends. */
function frame(hex: string, filled: number): Buffer {
  return Buffer.concat([Buffer.from(hex, "hex"), Buffer.alloc(filled, "x")]);
}

export const STATION_MAC = "1e:6b:7e:c6:e4:63";

/** The station's SYN to [fd79::2]:1885. */
export const SYN6 = frame(
  "2a5edab527b81e6b7ec6e46386dd6009e75400280640fd780000000000000000000000000001fd790000000000000000000000000002" +
    "dc0e075d9085d01500000000a002a8c0f7ac0000020405a00402080a9255d6520000000001030309",
  0,
);

/** 1,400 bytes from 10.79.0.2:43092 to 10.78.0.1:1884 on a link of 600. */
export const FRAGMENTS4 = [
  frame(
    "1e6b7ec6e4632a5edab527b8080045000254a0cb20003f06a4390a4f00020a4e0001" +
      "a854075c348bb50b8d2abc5d801800530d2b00000101080aa7085982e99018cb",
    544,
  ),
  frame("1e6b7ec6e4632a5edab527b8080045000254a0cb20483f06a3f10a4f00020a4e0001", 576),
  frame("1e6b7ec6e4632a5edab527b808004500012ca0cb00903f06c4d10a4f00020a4e0001", 280),
];

/** The segment 0x9085d016 from [fd78::1]:56334 to [fd79::2]:1885 was larger than 1,400. */
export const TOO_BIG6 = frame(
  "1e6b7ec6e4632a5edab527b886dd60025c1304d83a40fd7800000000000000000000000000fffd780000000000000000000000000001" +
    "0200b8fa000005786009e75405b40640fd780000000000000000000000000001fd790000000000000000000000000002" +
    "dc0e075d9085d01623df469f8010005587ba00000101080a9255d653643c72b8",
  1_160,
);

/** The segment 0xdeec7a12 of 10.78.0.1:60708 to 10.79.0.2:1886 was larger than 1,400. */
export const FRAGMENTATION_NEEDED4 = frame(
  "1e6b7ec6e4632a5edab527b8080045c00240fcc300004001659f0a4e00fe0a4e0001" +
    "030411f200000578450005dcacb44000400673c80a4e00010a4f0002" +
    "ed24075edeec7a12e18d67e080100053cf3500000101080a92ebd986a5902f45",
  496,
);

/** A frame that must be sound TCP. */
export function parsed(bytes: Buffer): Frame {
  const frame = new Frame();
  const fault = frame.parse(bytes, bytes.length);
  if (fault !== undefined) throw new Error(`the frame is ${fault}: ${bytes.toString("hex")}`);
  return frame;
}
