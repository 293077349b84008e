import { type Growth, INTERESTS, type Interest, type Question } from "./growth.js";
import type { Limited } from "./limited.js";

const WIDTH = 420;
const HEIGHT = 260;
const LEFT = 64;
const TOP = 44;
const GAP = 80;
const LINE_HEIGHT = 14;
const ROW = HEIGHT + 90;
const COLOURS = ["#1b6ca8", "#2a9d5c", "#c77d0a", "#b3263e"];
/** Groups of many hardware switches. */
export const HARDWARE_GROUPS = 1_024;
const [DECADES_X, DECADES_Y] = [4, 5];

/** A line through values of y (0 to 1 of the panel's height), from left to right. */
interface Line {
  readonly name: string;
  readonly colour: string;
  readonly dashed?: boolean;
  readonly points: readonly (readonly [topics: number, y: number])[];
}

/**
 * Over topics, one panel for each interest, one line for each number of edges: above groups on the fullest switch, both
 * logarithmic; below the share of copies that switches with 1,024 groups make.
 */
export function picture(rows: readonly Growth[], limited: readonly Limited[]): string {
  const edges = [...new Set(rows.map((r) => r.edges))];
  const colour = (n: number) => COLOURS[n % COLOURS.length]!;
  const of = <T extends Question>(list: readonly T[], interest: Interest, count: number) =>
    list.filter((r) => r.interest === interest && r.edges === count);
  const panels = INTERESTS.flatMap((interest, i) => {
    const groups = edges.map((count, n): Line => {
      const points = of(rows, interest, count).map((r) => [r.topics, logarithm(r.rulesMost)] as const);
      return { name: `${count} edges`, colour: colour(n), points };
    });
    const carried = edges.flatMap((count, n) =>
      [...new Set(limited.map((r) => r.limits.outputs ?? 0))].map((outputs): Line => {
        const tight = of(limited, interest, count).filter((r) => r.limits.outputs === outputs);
        const points = of(rows, interest, count).map(({ topics }) => {
          return [topics, tight.find((r) => r.topics === topics)?.carried ?? 1] as const;
        });
        return { name: outputs > 0 ? "" : `${count} edges`, colour: colour(n), dashed: outputs > 0, points };
      }),
    );
    const x = LEFT + i * (WIDTH + GAP);
    return [
      panel(x, TOP, `${interest} interest: groups on the fullest switch`, decades(), groups),
      panel(x, TOP + ROW, "with 1,024 groups: copies that switches make", shares(), carried),
    ];
  });
  const width = LEFT + INTERESTS.length * (WIDTH + GAP);
  const legend = `<text x="${LEFT}" y="${TOP + 2 * ROW - 30}">dashed: where a flow makes one copy without a group</text>`;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${TOP + 2 * ROW - 20}" font-family="sans-serif" font-size="12">`,
    "<title>Groups in switches as topics grow</title>",
    `<rect width="100%" height="100%" fill="white"/>`,
    ...panels,
    legend,
    "</svg>",
  ].join("\n")}\n`;
}

function logarithm(groups: number): number {
  return Math.log10(Math.max(groups, 1)) / DECADES_Y;
}

function* decades(): Generator<[y: number, text: string]> {
  for (let d = 0; d <= DECADES_Y; d++) yield [d / DECADES_Y, (10 ** d).toLocaleString("en")];
  yield [logarithm(HARDWARE_GROUPS), ""];
}

function* shares(): Generator<[y: number, text: string]> {
  for (let tenth = 0; tenth <= 10; tenth += 2) yield [tenth / 10, `${tenth * 10} %`];
}

function xOf(topics: number): number {
  return ((Math.log10(topics) - 1) / DECADES_X) * WIDTH;
}

function yOf(y: number): number {
  return HEIGHT - y * HEIGHT;
}

function panel(
  x: number,
  y: number,
  title: string,
  /** Without text: what hardware often has. */
  ticks: Iterable<[y: number, text: string]>,
  lines: readonly Line[],
): string {
  const parts = [`<text x="0" y="-16" font-size="14">${title}</text>`];
  for (let d = 0; d <= DECADES_X; d++) {
    const at = xOf(10 ** (d + 1));
    parts.push(`<line x1="${at}" y1="0" x2="${at}" y2="${HEIGHT}" stroke="#ddd"/>`);
    const topics = (10 ** (d + 1)).toLocaleString("en");
    parts.push(`<text x="${at}" y="${HEIGHT + 18}" text-anchor="middle">${topics}</text>`);
  }
  for (const [value, text] of ticks) {
    const at = yOf(value).toFixed(1);
    const stroke = text === "" ? `stroke="#555" stroke-dasharray="5 4"` : `stroke="#ddd"`;
    parts.push(`<line x1="0" y1="${at}" x2="${WIDTH}" y2="${at}" ${stroke}/>`);
    if (text === "")
      parts.push(`<text x="4" y="${Number(at) - 4}" fill="#555">1,024: what hardware often has</text>`);
    else parts.push(`<text x="-6" y="${Number(at) + 4}" text-anchor="end">${text}</text>`);
  }
  parts.push(`<text x="${WIDTH / 2}" y="${HEIGHT + 36}" text-anchor="middle">topics</text>`);
  return `<g transform="translate(${x},${y})">${[...parts, ...lines.map(draw), ...labels(lines)].join("\n")}</g>`;
}

/** The lines' names at their ends, one below the other where these meet. */
function labels(lines: readonly Line[]): string[] {
  const ends = lines
    .filter(({ name }) => name !== "")
    .map((line) => ({ ...line, y: yOf(line.points.at(-1)![1]) }));
  let free = Number.NEGATIVE_INFINITY;
  return ends
    .sort((a, b) => a.y - b.y)
    .map(({ name, colour, y }) => {
      free = Math.max(y, free + LINE_HEIGHT);
      return `<text x="${WIDTH + 4}" y="${free.toFixed(1)}" fill="${colour}">${name}</text>`;
    });
}

function draw({ colour, dashed = false, points }: Line): string {
  const text = points.map(([topics, y]) => `${xOf(topics).toFixed(1)},${yOf(y).toFixed(1)}`).join(" ");
  const dash = dashed ? ` stroke-dasharray="6 4"` : "";
  return `<polyline points="${text}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`;
}
