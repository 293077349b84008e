export * from "./mqtt/index.js";
export type { ByteStream, Transport } from "./transport/transport.js";
