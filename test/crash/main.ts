/**
 * Kills an agent at random moments of QoS 1 and 2 traffic, 200 times, and looks whether all promises were kept:
 *
 *   npm run crash                  200 rounds
 *   npm run crash -- 20 1234       so many, with the moments of this seed
 */
import { random } from "../unit/fabric/sim.js";
import { crashRounds } from "./rounds.js";

const [rounds = 200, seed = Date.now() % 2 ** 31] = process.argv.slice(2).map(Number);
console.log(`${rounds} rounds, seed ${seed}`);
const { early, acknowledged, received, faults } = await crashRounds(rounds, random(seed));
for (const fault of faults.slice(0, 20)) console.log(`  ${fault}`);
console.log(
  `${rounds + early} kills (${early} at the start), ${acknowledged} messages acknowledged, ${received} received, ${faults.length} faults`,
);
process.exitCode = faults.length === 0 ? 0 : 1;
