/** A kernel listener on all addresses: listen-main.js PORT. Prints a line when it listens. */
import { createServer } from "node:net";

createServer().listen(Number(process.argv[2]), () => console.log("listening"));
