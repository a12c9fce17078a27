// socket.io-client, unchanged: its connections are cut again and again, and it misses nothing.
// CROSSFADE_BINARY names the binary.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { World, until } from './world.mjs';

const CUTS = 50;
const WAYS = [['websocket'], ['polling'], ['polling', 'websocket']];

let world;
before(async () => { world = await World.start(); });
after(async () => { await world?.stop(); });

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A way to crossfade that can be cut.
class Wire {
  #pairs = new Set();

  async start(address) {
    const [host, port] = address.split(':');
    this.server = createServer((client) => {
      const upstream = connect(Number(port), host);
      const pair = [client, upstream];
      this.#pairs.add(pair);
      for (const [one, other] of [pair, [upstream, client]]) {
        one.pipe(other);
        one.on('error', () => {});
        one.on('close', () => { other.destroy(); this.#pairs.delete(pair); });
      }
    });
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return this.server.address().port;
  }

  cut() {
    for (const pair of this.#pairs) pair.forEach((socket) => socket.resetAndDestroy());
  }

  stop() {
    this.server.close();
    this.cut();
  }
}

async function reader(port, transports) {
  const socket = io(`http://127.0.0.1:${port}/kept`, { forceNew: true, transports, reconnectionDelay: 10, reconnectionDelayMax: 50 });
  const reader = { socket, seen: { 1: [], 2: [] }, connects: 0, recovered: 0, gaps: [] };
  socket.on('tick', ({ of, n }) => reader.seen[of].push(n));
  socket.on('crossfade:gap', (gap) => reader.gaps.push(gap));
  socket.on('connect', () => { reader.connects += 1; reader.recovered += socket.recovered ? 1 : 0; });
  await once(socket, 'connect');
  return reader;
}

test(`${CUTS} cuts of six clients on three transports lose, double and reorder nothing`, { timeout: 120_000 }, async () => {
  const wires = [];
  const readers = [];
  for (const transports of [...WAYS, ...WAYS]) {
    const wire = new Wire();
    const port = await wire.start(world.address);
    wires.push(wire);
    readers.push(await reader(port, transports));
  }
  await until(() => ['/feed?of=1', '/feed?of=2'].every((url) => world.isRead(url)));
  let n = 0;
  const speaker = setInterval(() => {
    n += 1;
    for (const of of [1, 2]) world.say('tick', { of, n }, `/feed?of=${of}`);
  }, 4);
  for (let cut = 0; cut < CUTS; cut += 1) {
    await sleep(20 + Math.random() * 200);
    wires[cut % wires.length].cut();
    if (cut % 5 === 0) wires.forEach((wire) => wire.cut());
  }
  clearInterval(speaker);
  const whole = Array.from({ length: n }, (_, index) => index + 1);
  await until(() => readers.every(({ seen }) => seen[1].at(-1) === n && seen[2].at(-1) === n));
  for (const [index, { seen, connects, recovered, gaps }] of readers.entries()) {
    assert.deepEqual(gaps, [], `client ${index}`);
    assert.deepEqual(seen, { 1: whole, 2: whole }, `client ${index}`);
    assert.ok(connects > 3, `client ${index}: ${connects}`);
    // The first connect has nothing to come back to.
    assert.equal(recovered, connects - 1, `client ${index}`);
  }
  readers.forEach(({ socket }) => socket.disconnect());
  wires.forEach((wire) => wire.stop());
});
