import { type Growth, INTERESTS } from "./growth.js";

const WIDTH = 420;
const HEIGHT = 300;
const LEFT = 64;
const TOP = 44;
const GAP = 70;
const COLOURS = ["#1b6ca8", "#2a9d5c", "#c77d0a", "#b3263e"];
/** Groups of many hardware switches. */
const HARDWARE_GROUPS = 1_024;
const [DECADES_X, DECADES_Y] = [4, 5];

/** Groups on the fullest switch over topics, both logarithmic: one panel for each interest, one line for each number of edges. */
export function picture(rows: readonly Growth[]): string {
  const width = LEFT + INTERESTS.length * (WIDTH + GAP);
  const edges = [...new Set(rows.map((r) => r.edges))];
  const parts = INTERESTS.map((interest, i) => {
    const of = (count: number) => rows.filter((r) => r.interest === interest && r.edges === count);
    const lines = edges.map((count, n) => line(of(count), COLOURS[n % COLOURS.length]!, `${count} edges`));
    return `<g transform="translate(${LEFT + i * (WIDTH + GAP)},${TOP})">${axes(`${interest} interest`)}${lines.join("")}</g>`;
  });
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${TOP + HEIGHT + 50}" font-family="sans-serif" font-size="12">`,
    "<title>Groups on the fullest switch as topics grow</title>",
    `<rect width="100%" height="100%" fill="white"/>`,
    ...parts,
    "</svg>",
  ].join("\n")}\n`;
}

function x(topics: number): number {
  return ((Math.log10(topics) - 1) / DECADES_X) * WIDTH;
}

function y(groups: number): number {
  return HEIGHT - (Math.log10(Math.max(groups, 1)) / DECADES_Y) * HEIGHT;
}

function line(rows: readonly Growth[], colour: string, name: string): string {
  const points = rows.map((r) => `${x(r.topics).toFixed(1)},${y(r.rulesMost).toFixed(1)}`).join(" ");
  const last = rows.at(-1)!;
  const label = `<text x="${(x(last.topics) + 4).toFixed(1)}" y="${y(last.rulesMost).toFixed(1)}" fill="${colour}">${name}</text>`;
  return `\n<polyline points="${points}" fill="none" stroke="${colour}" stroke-width="2"/>${label}`;
}

function axes(title: string): string {
  const parts = [`<text x="0" y="-16" font-size="14">${title}: groups on the fullest switch</text>`];
  for (let d = 0; d <= DECADES_X; d++) {
    const at = x(10 ** (d + 1));
    parts.push(`<line x1="${at}" y1="0" x2="${at}" y2="${HEIGHT}" stroke="#ddd"/>`);
    parts.push(
      `<text x="${at}" y="${HEIGHT + 18}" text-anchor="middle">${(10 ** (d + 1)).toLocaleString("en")}</text>`,
    );
  }
  for (let d = 0; d <= DECADES_Y; d++) {
    const at = y(10 ** d);
    parts.push(`<line x1="0" y1="${at}" x2="${WIDTH}" y2="${at}" stroke="#ddd"/>`);
    parts.push(`<text x="-6" y="${at + 4}" text-anchor="end">${(10 ** d).toLocaleString("en")}</text>`);
  }
  const limit = y(HARDWARE_GROUPS);
  parts.push(`<line x1="0" y1="${limit}" x2="${WIDTH}" y2="${limit}" stroke="#555" stroke-dasharray="5 4"/>`);
  parts.push(`<text x="4" y="${limit - 4}" fill="#555">1,024: what hardware often has</text>`);
  parts.push(`<text x="${WIDTH / 2}" y="${HEIGHT + 38}" text-anchor="middle">topics</text>`);
  return parts.join("\n");
}
