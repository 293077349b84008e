export { type ControllerConfig, controllerSettings, loadControllerConfig } from "./config.js";
export { type RunningController, startController } from "./controller.js";
export * from "./dataplane/dataplane.js";
export * from "./forwarder/forwarder.js";
export * from "./forwarder/options.js";
