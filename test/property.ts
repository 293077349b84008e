/**
 * fast-check with the same cases in every run: what fails has been changed, and fails again. PROPERTY_SEED=random, or a
 * number, tries others (`npm run test:properties`).
 */
import fc from "fast-check";

const SEED = 20_260_101;

const { PROPERTY_SEED: given } = process.env;
if (given !== "random") fc.configureGlobal({ seed: given === undefined ? SEED : Number(given) });

export default fc;
