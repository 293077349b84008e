export * from "./clock.js";
export * from "./errors.js";
export * from "./message.js";
export * from "./topics/index.js";
