/** How flows, groups and control messages grow with topics and edges: a table, and with a file name a picture (SVG). */
import { writeFileSync } from "node:fs";
import { type Growth, grow, INTERESTS } from "./growth.js";
import { TOPOLOGIES } from "./networks.js";
import { picture } from "./picture.js";

const TOPICS = [10, 100, 1_000, 10_000, 100_000];
const EDGES = [4, 32, 250, 1_000];

const columns: readonly [title: string, width: number, value: (row: Growth) => string | number][] = [
  ["topology", 9, (r) => r.topology],
  ["interest", 9, (r) => r.interest],
  ["edges", 6, (r) => r.edges],
  ["topics", 8, (r) => r.topics],
  ["switches", 9, (r) => r.switches],
  ["idle", 7, (r) => r.idle],
  ["direct", 7, (r) => r.direct],
  ["groups", 7, (r) => r.groups],
  ["most", 7, (r) => r.rulesMost],
  ["mean", 8, (r) => r.rulesMean.toFixed(1)],
  ["buckets", 8, (r) => r.bucketsMost],
  ["filters", 8, (r) => r.filters],
  ["told", 8, (r) => r.told],
  ["routes", 8, (r) => r.routes],
  ["commands", 10, (r) => r.commands],
];

console.log("most, mean: groups, and as many flows, on the fullest and on the average switch");
console.log(columns.map(([title, width]) => title.padStart(width)).join(" "));
const rows: Growth[] = [];
for (const topology of TOPOLOGIES) {
  for (const interest of INTERESTS) {
    for (const edges of EDGES) {
      for (const topics of TOPICS) {
        const row = grow({ topology, interest, edges, topics });
        rows.push(row);
        console.log(columns.map(([, width, value]) => String(value(row)).padStart(width)).join(" "));
      }
    }
  }
}
const [file] = process.argv.slice(2);
if (file !== undefined) writeFileSync(file, picture(rows.filter((r) => r.topology === "tree")));
