// The two servers, with the same namespaces and events.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Server } from 'socket.io';

const CONFIG = (backend) => `
server = {listen = "127.0.0.1:0"}
admin = {listen = "127.0.0.1:0"}
log = {level = "error"}
websocket = {hello_timeout = "2s"}
upstream.app.servers = ["${backend}"]
[[route]]
path = "/add"
upstream = "app"
calls = ["POST"]
[[route]]
path = "/{*path}"
upstream = "app"
[auth.people]
kind = "jwt"
issuer = false
audience = false
secret = "a secret that is longer than thirty-two bytes"
[socketio]
[[socketio.namespace]]
name = "/"
greet = {event = "connected", body = {status = "ok"}}
[[socketio.namespace.on]]
event = "add"
call = "POST /add"
[[socketio.namespace]]
name = "/other"
[[socketio.namespace]]
name = "/admin"
auth = "people"
`;

export async function startNode() {
  const http = createServer((request, response) => response.writeHead(404).end());
  const io = new Server(http, { connectTimeout: 2_000, connectionStateRecovery: {} });
  io.on('connection', (socket) => {
    socket.emit('connected', { status: 'ok' });
    socket.on('add', (data, ack) => ack?.({ status: 201, body: data }));
  });
  io.of('/other').on('connection', () => {});
  io.of('/admin').use((socket, next) => {
    const error = new Error('unauthorized');
    error.data = { code: 'unauthorized', status: 401, close: 4001 };
    next(error);
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  return { address: `127.0.0.1:${http.address().port}`, stop: () => io.close() };
}

export async function startCrossfade() {
  const backend = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    response.writeHead(201, { 'content-type': request.headers['content-type'] }).end(Buffer.concat(parts));
  });
  backend.listen(0, '127.0.0.1');
  await once(backend, 'listening');
  const folder = await mkdtemp(join(tmpdir(), 'crossfade-'));
  const file = join(folder, 'proxy.toml');
  await writeFile(file, CONFIG(`http://127.0.0.1:${backend.address().port}`));
  const sidecar = spawn(process.env.CROSSFADE_BINARY, ['run', '--config', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  let address;
  for await (const line of createInterface({ input: sidecar.stdout })) {
    address = /^ready public=http:\/\/(\S+)/.exec(line)?.[1];
    if (address) break;
  }
  const stop = async () => {
    sidecar.kill('SIGKILL');
    backend.closeAllConnections();
    backend.close();
    await rm(folder, { recursive: true });
  };
  return { address, stop };
}
