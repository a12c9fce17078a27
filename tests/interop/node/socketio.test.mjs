// socket.io-client, unchanged, against crossfade before a backend that knows event streams and requests only.
// CROSSFADE_BINARY names the binary.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import * as newest from 'socket.io-client';
import * as oldest from 'socket.io-client-4.0';
import { World, until } from './world.mjs';

const options = { timeout: 20_000 };
const SECRET = 'a secret that is longer than thirty-two bytes';
const WAYS = { websocket: ['websocket'], polling: ['polling'], upgrade: ['polling', 'websocket'] };

let world;
before(async () => { world = await World.start(); });
after(async () => { await world?.stop(); });

const open = (io, namespace, more = {}) => io(`http://${world.address}${namespace}`, { forceNew: true, reconnection: false, ...more });
const ask = (socket, ...event) => new Promise((resolve) => socket.emit(...event, resolve));
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function token(claims) {
  const signed = `${part({ alg: 'HS256' })}.${part({ exp: Date.now() / 1000 + 3600, ...claims })}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

for (const [version, { io }] of Object.entries({ newest, '4.0': oldest })) {
  for (const [way, transports] of Object.entries(WAYS)) {
    test(`${version} over ${way} joins, leaves and calls`, options, async () => {
      const socket = open(io, '', { transports });
      const seen = [];
      socket.onAny((...event) => seen.push(event));
      await once(socket, 'connected');
      assert.deepEqual(seen, [['connected', { status: 'ok' }]]);
      assert.deepEqual(await ask(socket, 'join', { name: 'feed' }), { status: 200 });
      world.say('tick', { way });
      await until(() => seen.length === 2);
      assert.deepEqual(seen[1], ['tick', { way }]);
      assert.deepEqual(await ask(socket, 'leave', { name: 'feed' }), { status: 200 });
      world.say('tick', 'unseen');
      const added = await ask(socket, 'add', { title: way });
      assert.equal(added.status, 201);
      assert.equal(added.body.title, way);
      assert.equal((await ask(socket, 'join', {})).error.code, 'bad_frame');
      assert.equal((await ask(socket, 'nothing')).error.code, 'not_found');
      const refused = once(socket, 'join_error');
      socket.emit('join', {});
      assert.deepEqual([(await refused)[0].status, (await refused)[0].event], [400, 'join']);
      assert.equal(seen.length, 3);
      socket.disconnect();
    });

    test(`${version} over ${way} has many namespaces on one connection`, options, async () => {
      const root = open(io, '', { transports });
      await once(root, 'connected');
      const unknown = root.io.socket('/unknown');
      assert.equal((await once(unknown, 'connect_error'))[0].message, 'Invalid namespace');
      const stream = root.io.socket('/stream/feed');
      const ticks = [];
      stream.on('tick', (data) => ticks.push(data));
      await once(stream, 'connect');
      while (ticks.length === 0) {
        world.say('tick', { way });
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.deepEqual(ticks[0], { way });
      assert.ok(root.connected);
      root.disconnect();
      stream.disconnect();
    });

    test(`${version} over ${way} is let into a namespace by its token`, options, async () => {
      const refusal = async (auth) => {
        const socket = open(io, '/admin', { transports, auth });
        const [error] = await once(socket, 'connect_error');
        socket.disconnect();
        return error.data;
      };
      assert.deepEqual(await refusal({}), { code: 'unauthorized', status: 401, close: 4001 });
      assert.deepEqual(await refusal({ token: token({ sub: 'bob', roles: ['user'] }) }), { code: 'forbidden', status: 403, close: 4003 });
      const expired = token({ sub: 'alice', roles: ['admin'], exp: 1 });
      assert.deepEqual(await refusal({ token: expired }), { code: 'token_expired', status: 401, close: 4401 });
      const alice = open(io, '/admin', { transports, auth: { token: token({ sub: 'alice', roles: ['admin'] }) } });
      await once(alice, 'connect');
      alice.disconnect();
    });
  }

  test(`${version} misses nothing while it goes from polling to WebSocket`, options, async () => {
    const seen = [];
    const COUNT = 2_000;
    const socket = open(io, '');
    socket.on('count', (n) => seen.push(n));
    await once(socket, 'connect');
    await ask(socket, 'join', { name: 'feed' });
    const counted = (async () => {
      for (let n = 1; n <= COUNT; n++) {
        world.say('count', n);
        if (n % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    await counted;
    await until(() => seen.length >= COUNT);
    assert.equal(socket.io.engine.transport.name, 'websocket');
    assert.deepEqual(seen, Array.from({ length: COUNT }, (_, index) => index + 1));
    socket.disconnect();
  });
}

test('a page of another origin gets nothing from a poll', options, async () => {
  const url = `http://${world.address}/socket.io/?EIO=4&transport=polling`;
  const foreign = await fetch(url, { headers: { origin: 'https://evil.example' } });
  assert.equal(foreign.status, 403);
});

test('a kill sends a client from WebSocket to polling, where it stays', options, async () => {
  const socket = newest.io(`http://${world.address}/rolled`, { forceNew: true, reconnectionDelay: 50 });
  await once(socket, 'connect');
  await until(() => socket.io.engine.transport.name === 'websocket');
  const drained = once(socket, 'crossfade:drain');
  const again = once(socket.io, 'reconnect');
  await world.order('/v1/rollouts/web/kill');
  const [drain] = await drained;
  assert.deepEqual([drain.next, drain.why, drain.at[0].path], ['polling', 'kill', '/feed']);
  await again;
  await until(() => socket.connected);
  const late = newest.io(`http://${world.address}/rolled`, { forceNew: true });
  await once(late, 'connect');
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual([socket, late].map((one) => one.io.engine.transport.name), ['polling', 'polling']);
  await world.order('/v1/rollouts/web/resume');
  socket.disconnect();
  late.disconnect();
});
