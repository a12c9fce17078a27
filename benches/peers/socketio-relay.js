// What a team writes with Socket.IO: the backend's stream to every socket.
import http from "node:http";
import { Server } from "socket.io";
import { LISTEN, readEvents } from "./events.js";

const server = http.createServer();
const io = new Server(server, { serveClient: false });
readEvents((data) => io.emit("event", JSON.parse(data)));
server.listen(LISTEN, () => console.log(`ready 127.0.0.1:${server.address().port}`));
