// A legacy backend with an event stream, a polled list and a WebSocket of its own, and crossfade before it.

import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { WebSocketServer } from 'ws';

const CONFIG = (backend) => `
[server]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[log]
level = "warn"
[upstream.app]
servers = ["${backend}"]
[[route]]
path = "/events"
upstream = "app"
source = "sse"
[[route]]
path = "/feed"
upstream = "app"
source = {kind = "sse", join = "live"}
[rollout.web]
percent = 100
kill_drain = "1s"
[[route]]
path = "/rolled"
upstream = "app"
source = "sse"
rollout = "web"
[[route]]
path = "/items"
upstream = "app"
source = {kind = "poll", every = "10s", emit = "changes"}
refresh_on = ["POST /items"]
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
recovery = false
[[socketio.namespace]]
name = "/"
greet = {event = "connected", body = {status = "ok"}}
[[socketio.namespace.on]]
event = "join"
subscribe = "/{name}"
error = "join_error"
[[socketio.namespace.on]]
event = "leave"
unsubscribe = "/{name}"
[[socketio.namespace.on]]
event = "add"
call = "POST /items"
body = {title = "{title}"}
[[socketio.namespace]]
name = "/stream/{name}"
subscribe = ["/{name}"]
[[socketio.namespace]]
name = "/admin"
auth = "people"
require = {roles = ["admin"]}
[[socketio.namespace]]
name = "/rolled"
rollout = "web"
subscribe = ["/feed"]
[[socketio.namespace]]
name = "/kept"
recovery = true
subscribe = ["/feed?of=1", "/feed?of=2"]
`;

export class World {
  // The backend's state, which a story may look at and change.
  items = [{ id: 1, title: 'first' }];
  #streams = new Map();
  #sent = [];

  static async start() {
    const world = new World();
    world.server = createServer((request, response) => world.#answer(request, response));
    world.native = new WebSocketServer({ server: world.server, path: '/native', perMessageDeflate: true });
    world.native.on('connection', (socket) => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })));
    world.server.listen(0, '127.0.0.1');
    await once(world.server, 'listening');

    world.folder = await mkdtemp(join(tmpdir(), 'crossfade-'));
    world.file = join(world.folder, 'proxy.toml');
    world.config = CONFIG(`http://127.0.0.1:${world.server.address().port}`);
    await world.#run();
    return world;
  }

  // Without a word to anyone, and again on the same address.
  async restart() {
    this.sidecar.kill('SIGKILL');
    await once(this.sidecar, 'exit');
    this.config = this.config.replace('[server]\nlisten = "127.0.0.1:0"', `[server]\nlisten = "${this.address}"`);
    await this.#run();
  }

  async #run() {
    await writeFile(this.file, this.config);
    this.sidecar = spawn(process.env.CROSSFADE_BINARY, ['run', '--config', this.file], { stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of createInterface({ input: this.sidecar.stdout })) {
      const ready = /^ready public=http:\/\/(\S+) admin=(\S+)/.exec(line);
      if (!ready) continue;
      [, this.address, this.admin] = ready;
      return;
    }
    await this.stop();
    throw new Error('crossfade ended before it was ready');
  }

  async stop() {
    this.sidecar.kill('SIGKILL');
    this.server.closeAllConnections();
    this.server.close();
    await rm(this.folder, { recursive: true });
  }

  // Whether somebody reads this event stream at the backend.
  isRead(url) {
    return [...this.#streams.values()].includes(url);
  }

  // One line of the admin API; the answer's JSON.
  async order(path, method = 'POST', body = {}) {
    const answer = await fetch(this.admin + path, { method, body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  // To all streams of this URL, or to all.
  say(event, data, url) {
    const text = `id: ${this.#sent.length + 1}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
    this.#sent.push(text);
    for (const [stream, of] of this.#streams) if (!url || of === url) stream.write(text);
  }

  async #answer(request, response) {
    if (/^\/(events|feed|rolled)\b/.test(request.url)) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(': welcome\n\n');
      for (const text of this.#sent.slice(Number(request.headers['last-event-id'] ?? this.#sent.length))) response.write(text);
      this.#streams.set(response, request.url);
      response.on('close', () => this.#streams.delete(response));
    } else if (request.url === '/items' && request.method === 'POST') {
      let text = '';
      for await (const part of request) text += part;
      this.items.push({ id: this.items.length + 1, ...JSON.parse(text) });
      response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(this.items.at(-1)));
    } else if (request.url === '/items') {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(this.items));
    } else {
      response.writeHead(404).end();
    }
  }
}

// The messages of a WebSocket or EventSource, one after another.
export async function* messages(target, ...names) {
  const waiting = [];
  let wake = () => {};
  for (const name of names.length ? names : ['message', 'close']) {
    target.addEventListener(name, (event) => {
      waiting.push(event);
      wake();
    });
  }
  for (;;) {
    while (waiting.length) yield waiting.shift();
    await new Promise((resolve) => (wake = resolve));
  }
}

// Waits for a fact about the backend.
export async function until(fact) {
  while (!fact()) await new Promise((resolve) => setTimeout(resolve, 5));
}
