export type { Admission, Authority, ClientIdentity, ConnectRequest } from "./authority.js";
export { allowAll } from "./authority.js";
export { Broker, type BrokerOptions, type ConnectedClient, type SessionStore } from "./broker.js";
export type { CloseReason } from "./codec/errors.js";
export { DEFAULT_LIMITS, type Limits } from "./limits.js";
export type { Log } from "./log.js";
export type { Guard, Holder, Refusal, Screen, Verdict } from "./screen.js";
export type { ClientWill, DeliverFromFabric, Downlink, Uplink } from "./uplink.js";
