// Clients that may break the protocol: HTTP by node:http, one connection for each request, and bare WebSockets.

import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';

const SEEN = ['content-type', 'cache-control', 'access-control-allow-origin'];

// One request; what its answer shows to a client.
export function ask(address, query, { method = 'GET', body, headers = {}, path = '/socket.io/', whole = true } = {}) {
  return new Promise((resolve) => {
    const asked = request(`http://${address}${path}?${query}`, { method, headers, agent: false }, async (response) => {
      let text = '';
      try {
        for await (const part of response) text += part;
      } catch {
        text = 'cut';
      }
      const shown = Object.fromEntries(SEEN.filter((name) => response.headers[name]).map((name) => [name, response.headers[name]]));
      resolve({ status: response.statusCode, body: text, ...shown });
    });
    asked.on('error', (error) => resolve({ error: error.code }));
    if (whole) asked.end(body);
    else asked.write(body);
  });
}

// What a poll or a POST comes to, in short.
export const brief = ({ status, body, error }) => error ?? `${status} ${body}`;

// A session over polling.
export class Polling {
  static async open(address, { joined = true } = {}) {
    const session = new Polling();
    session.address = address;
    const { body } = await ask(address, 'EIO=4&transport=polling');
    session.sid = JSON.parse(body.slice(1)).sid;
    if (joined) {
      await session.post('40');
      await session.until('42');
    }
    return session;
  }

  query(transport = 'polling') {
    return `EIO=4&transport=${transport}&sid=${this.sid}`;
  }

  poll = () => ask(this.address, this.query()).then(brief);
  post = (body, more = {}) => ask(this.address, this.query(), { method: 'POST', body, ...more }).then(brief);

  // Polls until a packet begins like this.
  async until(start) {
    for (;;) {
      const answer = await this.poll();
      if (answer.slice(4).split('\x1e').some((packet) => packet.startsWith(start))) return;
    }
  }
}

// A WebSocket that keeps what it sees: packets, and at last how it ended.
export class Raw {
  seen = [];

  constructor(address, query = 'EIO=4&transport=websocket') {
    this.socket = new WebSocket(`ws://${address}/socket.io/?${query}`);
    this.socket.on('message', (data, isBinary) => this.seen.push(isBinary ? [...data] : data.toString()));
    this.socket.on('unexpected-response', (_, response) => {
      this.seen.push(`answered ${response.statusCode}`);
      this.socket.terminate();
    });
    this.socket.on('error', () => {});
    this.ended = new Promise((resolve) => this.socket.on('close', resolve)).then((code) => {
      // A handshake that was refused has no end of its own.
      if (!String(this.seen.at(-1)).startsWith('answered')) this.seen.push(`closed ${code}`);
    });
  }

  static async join(address) {
    const raw = new Raw(address);
    await raw.count(1);
    raw.socket.send('40');
    await raw.count(3);
    raw.seen = [];
    return raw;
  }

  async count(number) {
    while (this.seen.length < number) await sleep(5);
  }

  // What comes within a moment; long enough for an end that is due at once.
  async rest() {
    await Promise.race([this.ended, sleep(400)]);
    const seen = [...this.seen];
    this.socket.terminate();
    return seen;
  }
}
