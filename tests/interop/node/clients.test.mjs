// Client libraries of the Node world against crossfade: ws, and undici, whose WebSocket and EventSource follow the browsers' standard.
// CROSSFADE_BINARY names the binary.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import http2 from 'node:http2';
import { after, before, test } from 'node:test';
import { once } from 'node:events';
import { EventSource, WebSocket } from 'undici';
import { WebSocket as Ws } from 'ws';
import { World, messages, until } from './world.mjs';

const options = { timeout: 20_000 };
let world;
before(async () => { world = await World.start(); });
after(async () => { await world?.stop(); });

for (const [name, open] of Object.entries({ ws: (url) => new Ws(url), undici: (url) => new WebSocket(url) })) {
  test(`${name} reads an event stream`, options, async () => {
    const socket = open(`ws://${world.address}/events?by=${name}&cf_wrap=1`);
    const incoming = messages(socket);
    await until(() => world.isRead(`/events?by=${name}`));
    for (const n of [1, 2, 3]) world.say('tick', { n });
    for (const n of [1, 2, 3]) {
      const { e, d } = JSON.parse((await incoming.next()).value.data);
      assert.deepEqual([e, d], ['tick', { n }]);
    }
    assert.equal(socket.protocol, '');
    assert.equal(socket.extensions, '', 'ws offers permessage-deflate, and nothing answers it');
    socket.close(1000);
    assert.equal((await incoming.next()).value.code, 1000);
  });

  test(`${name}'s own WebSocket passes through untouched`, options, async () => {
    const socket = open(`ws://${world.address}/native`);
    socket.binaryType = 'arraybuffer';
    const incoming = messages(socket);
    await once(world.native, 'connection');
    // 1 MiB: above the limit for sockets that crossfade itself terminates.
    const sent = randomBytes(1 << 20);
    await until(() => socket.readyState === 1);
    socket.send(sent);
    assert.ok(Buffer.from((await incoming.next()).value.data).equals(sent));
    if (name === 'ws') assert.match(socket.extensions, /permessage-deflate/, 'negotiated with the backend itself');
    socket.close(4321, 'bye');
    assert.equal((await incoming.next()).value.code, 4321);
  });
}

test('one connection follows a list and changes it', options, async () => {
  const socket = new WebSocket(`ws://${world.address}/_crossfade/ws`, ['crossfade.v1.json']);
  const incoming = messages(socket);
  const frame = async (...types) => {
    for (;;) {
      const frame = JSON.parse((await incoming.next()).value.data);
      if (types.includes(frame.t)) return frame;
      assert.equal(frame.t, 'state');
    }
  };
  assert.equal((await frame('welcome')).v, 1);
  assert.equal(socket.protocol, 'crossfade.v1.json');
  socket.send(JSON.stringify({ t: 'sub', id: 1, path: '/items' }));
  const { ch } = await frame('ok');
  assert.deepEqual((await frame('snap')).d, [{ id: 1, title: 'first' }]);

  socket.send(JSON.stringify({ t: 'req', id: 2, method: 'POST', path: '/items', d: { title: 'second' } }));
  // The answer and the change that it causes may come in either order.
  const both = [await frame('res', 'ev'), await frame('res', 'ev')].sort((a, b) => a.t.localeCompare(b.t));
  assert.deepEqual([both[0].ch, both[0].e, both[0].d], [ch, 'created', { id: 2, title: 'second' }]);
  assert.deepEqual([both[1].id, both[1].status, both[1].d.id], [2, 201, 2]);
  socket.close();
});

test('an EventSource passes through, at once and with its position', options, async () => {
  const source = new EventSource(`http://${world.address}/events?by=EventSource`);
  const incoming = messages(source, 'tick');
  // Open before there is any event: the head does not wait for a body.
  await once(source, 'open');
  await until(() => world.isRead('/events?by=EventSource'));
  world.say('tick', { n: 'through' });
  const event = (await incoming.next()).value;
  assert.deepEqual(JSON.parse(event.data), { n: 'through' });
  assert.match(event.lastEventId, /^[0-9]+$/);
  source.close();
});

test('fetch and http2 read an answer that is out before their body is', options, async () => {
  const body = Buffer.alloc(5 << 20);
  const answer = await fetch(`http://${world.address}/_crossfade/none`, { method: 'POST', body });
  assert.deepEqual([answer.status, (await answer.json()).status], [404, 404]);

  const client = http2.connect(`http://${world.address}`);
  const stream = client.request({ ':method': 'POST', ':path': '/_crossfade/none' });
  stream.end(body);
  const [head] = await once(stream, 'response');
  assert.equal(head[':status'], 404);
  let text = '';
  for await (const piece of stream) text += piece;
  assert.equal(JSON.parse(text).status, 404);
  // What is left of the body need not leave: the test is over, and the sidecar soon too.
  client.destroy();
  await once(client, 'close');
});
