/**
 * How flows, groups and control messages grow with topics and edges, without limits and with those of common hardware: tables,
 * and with a file name a picture (SVG).
 */
import { writeFileSync } from "node:fs";
import { type Growth, grow, INTERESTS, type Question } from "./growth.js";
import { growLimited, type Limited } from "./limited.js";
import { TOPOLOGIES } from "./networks.js";
import { HARDWARE_GROUPS, picture } from "./picture.js";

const TOPICS = [10, 100, 1_000, 10_000, 100_000];
const EDGES = [4, 32, 250, 1_000];
/** Copies that a flow of the hardware may make without a group; other than none is told of the tree only. */
const OUTPUTS = [0, 1, 2];
/** Percent that --merge-waste may be. */
const WASTES = [0, 5, 10, 25, 50];
/** On a ring a plan passes hundreds of switches for each publisher: edges times topics up to here. */
const RING_MAX = 2_500_000;

type Columns<T> = readonly (readonly [title: string, width: number, value: (row: T) => string | number])[];

const unlimited: Columns<Growth> = [
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

const percent = (value: number) => `${(100 * value).toFixed(1)} %`;

const limited: Columns<Limited> = [
  ["topology", 9, (r) => r.topology],
  ["interest", 9, (r) => r.interest],
  ["edges", 6, (r) => r.edges],
  ["topics", 8, (r) => r.topics],
  ["outputs", 8, (r) => r.limits.outputs ?? 0],
  ["bound", 6, (r) => `${r.waste} %`],
  ["sets", 7, (r) => r.sets],
  ["groups", 7, (r) => r.groups],
  ["shared", 7, (r) => r.shared],
  ["unicast", 8, (r) => r.waiting],
  ["most", 6, (r) => r.most],
  ["carried", 9, (r) => percent(r.carried)],
  ["wasted", 8, (r) => percent(r.wasted)],
  ["moves", 7, (r) => r.moves],
  ["us/topic", 9, (r) => r.us.toFixed(0)],
];

function head<T>(columns: Columns<T>): void {
  console.log(columns.map(([title, width]) => title.padStart(width)).join(" "));
}

function print<T>(columns: Columns<T>, row: T): T {
  console.log(columns.map(([, width, value]) => String(value(row)).padStart(width)).join(" "));
  return row;
}

function* questions(): Generator<Question> {
  for (const topology of TOPOLOGIES)
    for (const interest of INTERESTS)
      for (const edges of EDGES) for (const topics of TOPICS) yield { topology, interest, edges, topics };
}

console.log("Without limits. most, mean: rules of groups on the fullest and on the average switch");
head(unlimited);
const rows = [...questions()].map((question) => print(unlimited, grow(question)));

console.log(
  `\nWith ${HARDWARE_GROUPS} groups on each switch, where more would be needed. outputs: copies that a flow makes without a ` +
    "group; bound: of wasted copies; unicast: sets without a group; carried: copies that switches make; moves: routes told anew",
);
head(limited);
const limits = (outputs: number) => ({ groups: HARDWARE_GROUPS, outputs });
const tight = rows.filter((r) => r.rulesMost > HARDWARE_GROUPS);
const full: Limited[] = [];
for (const outputs of OUTPUTS) {
  for (const { topology, interest, edges, topics } of tight) {
    if (topology === "ring" && edges * topics > RING_MAX) continue;
    if (outputs > 0 && topology !== "tree") continue;
    const question = { topology, interest, edges, topics };
    full.push(print(limited, growLimited({ ...question, limits: limits(outputs), waste: 10 })));
  }
}

console.log("\nWhat a bound of waste gains");
head(limited);
for (const interest of INTERESTS) {
  for (const waste of WASTES) {
    const question = { topology: "tree", interest, edges: 32, topics: 10_000 } as const;
    print(limited, growLimited({ ...question, limits: limits(0), waste }));
  }
}

const [file] = process.argv.slice(2);
const isTree = ({ topology }: Question) => topology === "tree";
// Where a flow makes two copies nearly all are carried: no lines worth drawing.
const drawn = full.filter((r) => isTree(r) && (r.limits.outputs ?? 0) < 2);
if (file !== undefined) writeFileSync(file, picture(rows.filter(isTree), drawn));
