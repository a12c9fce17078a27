// What a team writes with `ws`: the backend's stream to every WebSocket.
import http from "node:http";
import { WebSocketServer } from "ws";
import { LISTEN, readEvents } from "./events.js";

const server = http.createServer();
const sockets = new WebSocketServer({ server });
sockets.on("connection", (socket) => socket.on("error", () => {}));
readEvents((data) => {
  for (const socket of sockets.clients) socket.send(data);
});
server.listen(LISTEN, () => console.log(`ready 127.0.0.1:${server.address().port}`));
