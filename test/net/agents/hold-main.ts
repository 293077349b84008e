/** A client that holds a connection until it is killed: hold-main.js HOST PORT. Prints a line when connected. */
import { connect } from "node:net";

const [host, port] = process.argv.slice(2);
const socket = connect({ host: host!, port: Number(port) }, () => {
  socket.write("hold\n");
  console.log("connected");
});
