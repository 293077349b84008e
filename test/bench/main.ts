/**
 * Runs the benches in this folder, the modules that export `{ name, run }`:
 *
 *   node test/dist/bench/main.js             all of them
 *   node test/dist/bench/main.js mqtt tcp    those whose name contains one of these
 */
import { readdirSync } from "node:fs";

export interface Bench {
  readonly name: string;
  run(): Promise<void> | void;
}

const here = import.meta.dirname;
const wanted = process.argv.slice(2);
for (const file of readdirSync(here).sort()) {
  if (!file.endsWith(".js") || file === "main.js") continue;
  const { name, run } = (await import(`${here}/${file}`)) as Partial<Bench>;
  if (name === undefined || run === undefined) continue;
  if (wanted.length > 0 && !wanted.some((part) => name.includes(part))) continue;
  console.log(`\n${name}`);
  await run();
}
