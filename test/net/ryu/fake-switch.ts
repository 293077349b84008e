import { once } from "node:events";
import { connect, type Socket } from "node:net";

const VERSION_1_3 = 4;
const Type = {
  HELLO: 0,
  ERROR: 1,
  ECHO_REQUEST: 2,
  ECHO_REPLY: 3,
  FEATURES_REQUEST: 5,
  FEATURES_REPLY: 6,
  PACKET_IN: 10,
  PACKET_OUT: 13,
  FLOW_MOD: 14,
  MULTIPART_REQUEST: 18,
  MULTIPART_REPLY: 19,
} as const;
const PORT_DESC = 13;
const NO_BUFFER = 0xffffffff;

export interface FakePort {
  readonly no: number;
  readonly name: string;
}

/** What a fake switch does with a multipart request other than the first for its ports: say nothing, or refuse. */
export type Manners = "silent" | "refusing";

/**
 * The OpenFlow 1.3 side of a switch that does what a real one cannot be made to do: keep silent, connect twice, hand
 * over chosen frames in a chosen order.
 */
export class FakeSwitch {
  /** Frames that Ryu told the switch to send, by port. */
  readonly sent: { readonly port: number; readonly frame: Buffer }[] = [];
  flowMods = 0;
  deletions = 0;
  answersEchoes = true;
  /** The connection is closed, by whichever end. */
  closed = false;
  private buffer = Buffer.alloc(0);

  private constructor(
    private readonly socket: Socket,
    readonly dpid: bigint,
    private readonly ports: readonly FakePort[],
    private readonly manners: Manners,
  ) {
    socket.on("data", (data) => this.receive(data));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
    });
  }

  static async connect(
    openflowPort: number,
    dpid: bigint,
    ports: readonly FakePort[],
    manners: Manners = "silent",
  ): Promise<FakeSwitch> {
    const socket = connect(openflowPort, "127.0.0.1");
    await once(socket, "connect");
    const fake = new FakeSwitch(socket, dpid, ports, manners);
    fake.write(Type.HELLO, 0, Buffer.alloc(0));
    return fake;
  }

  /** Hands a frame that came in by a port to Ryu. */
  packetIn(port: number, frame: Uint8Array): void {
    const head = Buffer.alloc(34);
    head.writeUInt32BE(NO_BUFFER, 0);
    head.writeUInt16BE(frame.length, 4);
    // Reason and table 0, cookie 0; then the match: OXM type, 12 bytes, in_port, padded to 16.
    head.writeUInt16BE(1, 16);
    head.writeUInt16BE(12, 18);
    head.writeUInt32BE(0x80000004, 20);
    head.writeUInt32BE(port, 24);
    this.write(Type.PACKET_IN, 0, Buffer.concat([head, frame]));
  }

  close(): void {
    this.socket.destroy();
  }

  private write(type: number, xid: number, body: Uint8Array): void {
    const header = Buffer.alloc(8);
    header.writeUInt8(VERSION_1_3, 0);
    header.writeUInt8(type, 1);
    header.writeUInt16BE(8 + body.length, 2);
    header.writeUInt32BE(xid, 4);
    this.socket.write(Buffer.concat([header, body]));
  }

  private receive(data: Buffer): void {
    this.buffer = Buffer.concat([this.buffer, data]);
    while (this.buffer.length >= 8 && this.buffer.length >= this.buffer.readUInt16BE(2)) {
      const message = this.buffer.subarray(0, this.buffer.readUInt16BE(2));
      this.buffer = this.buffer.subarray(message.length);
      this.handle(message.readUInt8(1), message.readUInt32BE(4), message.subarray(8), message);
    }
  }

  private handle(type: number, xid: number, body: Buffer, message: Buffer): void {
    switch (type) {
      case Type.ECHO_REQUEST:
        if (this.answersEchoes) this.write(Type.ECHO_REPLY, xid, body);
        break;
      case Type.FEATURES_REQUEST: {
        const features = Buffer.alloc(24);
        features.writeBigUInt64BE(this.dpid, 0);
        features.writeUInt8(254, 12);
        this.write(Type.FEATURES_REPLY, xid, features);
        break;
      }
      case Type.FLOW_MOD:
        this.flowMods += 1;
        // OFPFC_DELETE
        if (body.readUInt8(17) === 3) this.deletions += 1;
        break;
      case Type.PACKET_OUT: {
        const actions = body.subarray(16, 16 + body.readUInt16BE(8));
        const frame = Buffer.from(body.subarray(16 + actions.length));
        // Each an ofp_action_output of 16 bytes (OpenFlow 1.3.5, 7.2.5).
        for (let at = 4; at + 4 <= actions.length; at += 16)
          this.sent.push({ port: actions.readUInt32BE(at), frame });
        break;
      }
      case Type.MULTIPART_REQUEST:
        if (body.readUInt16BE(0) === PORT_DESC) this.write(Type.MULTIPART_REPLY, xid, this.portDesc());
        else if (this.manners === "refusing") {
          // OFPET_BAD_REQUEST, OFPBRC_BAD_MULTIPART
          this.write(Type.ERROR, xid, Buffer.concat([Buffer.from([0, 1, 0, 2]), message.subarray(0, 64)]));
        }
        break;
      default:
        break;
    }
  }

  private portDesc(): Buffer {
    const parts = this.ports.map(({ no, name }) => {
      const port = Buffer.alloc(64);
      port.writeUInt32BE(no, 0);
      port.writeUInt16BE(0x0200, 8);
      port.writeUInt32BE(no, 10);
      port.write(name, 16, "latin1");
      return port;
    });
    const head = Buffer.alloc(8);
    head.writeUInt16BE(PORT_DESC, 0);
    return Buffer.concat([head, ...parts]);
  }
}
