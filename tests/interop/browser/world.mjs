// Pages of several origins, a backend that allows everybody everything, and crossfade before it with a policy.
// Ports make no other site: a neighbour's page sends the same cookies, so only the policy stands between it and the backend.

import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const CONFIG = (backend, app) => `
[server]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[log]
level = "warn"
[cors.default]
origins = ["${app}"]
credentials = true
methods = ["GET", "POST", "PUT"]
headers = ["authorization", "content-type", "x-csrftoken"]
expose = ["etag", "x-request-id"]
max_age = "10m"
[auth.token]
kind = "jwt"
issuer = false
audience = false
secret = "a secret of these tests, long enough"
[upstream.app]
servers = ["${backend}"]
[upstream.dead]
servers = ["http://127.0.0.1:1"]
[[route]]
path = "/events"
upstream = "app"
source = "sse"
[[route]]
path = "/private"
upstream = "app"
auth = "token"
[[route]]
path = "/dead"
upstream = "dead"
[[route]]
path = "/api/{*rest}"
upstream = "app"
`;

export class World {
  // What reached the backend.
  seen = [];
  servers = [];

  static async start() {
    const world = new World();
    world.app = await world.#listen(page);
    world.neighbour = await world.#listen(page);
    world.stranger = world.app.replace('127.0.0.1', 'localhost');
    const backend = await world.#listen((request, response) => world.#answer(request, response));

    world.folder = await mkdtemp(join(tmpdir(), 'crossfade-'));
    const file = join(world.folder, 'proxy.toml');
    await writeFile(file, CONFIG(backend, world.app));
    world.sidecar = spawn(process.env.CROSSFADE_BINARY, ['run', '--config', file], { stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of createInterface({ input: world.sidecar.stdout })) {
      world.address = /^ready public=http:\/\/(\S+)/.exec(line)?.[1];
      if (world.address) break;
    }
    if (!world.address) {
      await world.stop();
      throw new Error('crossfade ended before it was ready');
    }
    return world;
  }

  async stop() {
    this.sidecar.kill('SIGKILL');
    for (const server of this.servers) {
      server.closeAllConnections();
      server.close();
    }
    await rm(this.folder, { recursive: true });
  }

  url(path) {
    return `http://${this.address}${path}`;
  }

  // The methods by which this path was asked for at the backend.
  asked(path) {
    return this.seen.filter((request) => request.url === path).map((request) => request.method);
  }

  async #listen(answer) {
    const server = createServer(answer).listen(0, '127.0.0.1');
    this.servers.push(server);
    await once(server, 'listening');
    return `http://127.0.0.1:${server.address().port}`;
  }

  async #answer(request, response) {
    const { method, url, headers } = request;
    this.seen.push({ method, url, headers });
    request.resume();
    // The wildest that a backend's own CORS can be. Nothing of it may reach a browser.
    response.setHeader('access-control-allow-origin', headers.origin ?? '*');
    response.setHeader('access-control-allow-credentials', 'true');
    response.setHeader('access-control-allow-methods', '*');
    response.setHeader('access-control-allow-headers', '*');
    response.setHeader('access-control-expose-headers', 'x-internal');
    response.setHeader('x-internal', 'not for pages');
    response.setHeader('etag', '"1"');
    if (url === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: hello\n\n');
      return;
    }
    if (url === '/api/login') response.setHeader('set-cookie', 'session=alice; Path=/; HttpOnly');
    if (url === '/api/cached') response.setHeader('cache-control', 'max-age=600');
    const status = { '/api/broken': 500, '/api/missing': 404 }[url] ?? 200;
    response.writeHead(status, { 'content-type': 'text/plain' }).end(headers.cookie ?? 'nobody');
  }
}

function page(request, response) {
  response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>a page</title>');
}
