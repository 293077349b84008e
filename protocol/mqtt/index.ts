export * from "./fields.js";
export * from "./lengths.js";
export * from "./properties.js";
export * from "./publish.js";
export * from "./reason-code.js";
