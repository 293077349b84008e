export { type Inspection, type InspectOptions, inspectFiles } from "./inspect.js";
export { Inspector, type InspectorOptions } from "./inspector.js";
export type { CapturedFrame } from "./read/record.js";
export { type Answer, Database } from "./tables/database.js";
export { type Row, type RowSink, schema, type TableName, tableNames } from "./tables/schema.js";
