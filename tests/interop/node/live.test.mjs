// The block of docs/clients.md that does over WebSocket what EventSource does by itself, as it stands on the page: against a
// running crossfade, and, for what a server does only in trouble, against a WebSocket that this file plays.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import vm from 'node:vm';
import { EventSource, WebSocket } from 'undici';
import { WebSocket as Ws } from 'ws';
import { World, until } from './world.mjs';

const page = readFileSync(new URL('../../../docs/clients.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/^```js\n([^]*?)^```$/gm)].map(([, text]) => text);
const [block, movingOver, fromNode] = ['// live(path, on)', 'live("/api/orders/stream"', 'import { WebSocket } from "ws"'].map((start) => blocks.find((text) => text.startsWith(start)));

// The page's script with what a browser would give it.
const load = (globals) => vm.runInNewContext(`${block}; live`, { clearTimeout, setTimeout, encodeURIComponent, JSON, Math, ...globals });

// A page that finds no server waits longer each time.
const options = { timeout: 60_000 };
let world, live;
before(async () => {
  world = await World.start();
  live = load({ WebSocket, location: { origin: `http://${world.address}` } });
});
after(async () => { await world?.stop(); });

// A page that keeps what it was told.
function listen(path, more = {}) {
  const seen = { events: [], calls: [] };
  const events = { tick: (data, id) => seen.events.push([data.n, id]) };
  const told = Object.fromEntries(['snap', 'gap', 'state', 'stop'].map((name) => [name, (value) => seen.calls.push([name, value])]));
  seen.closer = live(path, { events, ...told, ...more });
  return seen;
}
const numbers = (seen) => seen.events.map(([n]) => n);

test('live calls by event name, with data and id', options, async () => {
  const seen = listen('/events?by=names');
  await until(() => world.isRead('/events?by=names'));
  world.say('tock', { n: 0 });
  world.say('tick', { n: 1 });
  await until(() => seen.events.length === 1);
  assert.deepEqual(seen.events[0][0], 1);
  assert.match(seen.events[0][1], /^[0-9]+$/);
  seen.closer.close();
});

test('live whose connection is closed resumes without loss', options, async () => {
  const seen = listen('/events?by=resume');
  await until(() => world.isRead('/events?by=resume'));
  world.say('tick', { n: 1 });
  await until(() => seen.events.length === 1);
  for (const code of [4113, 4200]) {
    const before = seen.events.length;
    // 1001 is what a proxy that leaves sends; 4200 a deploy.
    await world.order('/v1/sessions/close', 'POST', { all: true, code });
    for (const n of [1, 2, 3]) world.say('tick', { n: before + n });
    await until(() => seen.events.length === before + 3);
  }
  assert.deepEqual(numbers(seen), [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(seen.calls.filter(([name]) => name !== 'state'), []);
  seen.closer.close();
});

test('live whose sidecar is killed resumes by id without loss', options, async () => {
  const seen = listen('/events?by=restart');
  await until(() => world.isRead('/events?by=restart'));
  world.say('tick', { n: 1 });
  await until(() => seen.events.length === 1);
  await world.restart();
  for (const n of [2, 3]) world.say('tick', { n });
  await until(() => seen.events.length === 3);
  assert.deepEqual(numbers(seen), [1, 2, 3]);
  assert.deepEqual(seen.calls.filter(([name]) => name === 'gap'), []);
  seen.closer.close();
});

test('live on a polled list begins with the list', options, async () => {
  const seen = listen('/items');
  await until(() => seen.calls.length > 0);
  assert.deepEqual(JSON.parse(JSON.stringify(seen.calls[0])), ['snap', [{ id: 1, title: 'first' }]]);
  seen.closer.close();
});

test('live returns to EventSource at a kill without loss', options, async () => {
  const paths = [];
  const seen = listen('/rolled', {
    legacy(path) {
      paths.push(path);
      const source = new EventSource(`http://${world.address}${path}`);
      source.addEventListener('tick', (event) => seen.events.push([JSON.parse(event.data).n, event.lastEventId]));
      return source;
    },
  });
  await until(() => world.isRead('/rolled'));
  world.say('tick', { n: 1 });
  await until(() => seen.events.length === 1);
  await world.order('/v1/rollouts/web/kill');
  // Some come before the page goes, some after.
  for (const n of [2, 3, 4]) world.say('tick', { n });
  await until(() => paths.length === 1);
  for (const n of [5, 6]) world.say('tick', { n });
  await until(() => seen.events.length === 6);
  assert.deepEqual(numbers(seen), [1, 2, 3, 4, 5, 6]);
  assert.match(paths.join(), /^\/rolled\?cf_last_event_id=[0-9]+$/);
  seen.closer.close();

  // A page that comes while it is killed is closed with 4302, and is not asked to come back.
  const late = [];
  live('/rolled', { legacy: (path) => late.push(path) });
  await until(() => late.length === 1);
  assert.deepEqual(late, ['/rolled']);
  await world.order('/v1/rollouts/web/resume');
});

// A WebSocket and a clock that this file plays: what `live` does with one close code.
function play(frames, ...closes) {
  const done = { urls: [], waits: [], stops: [], legacy: [] };
  let socket, wake;
  class Played {
    constructor(url) {
      done.urls.push(url);
      socket = this;
    }
    close() {}
  }
  const live = load({
    WebSocket: Played,
    location: { origin: 'https://app.example.com' },
    Math: { ...Object.fromEntries(['min', 'max'].map((name) => [name, Math[name]])), random: () => 0.999 },
    setTimeout: (work, wait) => { done.waits.push(Math.round(wait)); wake = work; },
    clearTimeout() {},
  });
  live('/s?x=1', { stop: (code) => done.stops.push(code), legacy: (path) => done.legacy.push(path) });
  for (const [code, reason = ''] of closes) {
    for (const frame of frames) socket.onmessage({ data: JSON.stringify(frame) });
    socket.onclose?.({ code, reason });
    wake?.();
  }
  return done;
}
const served = [{ t: 'welcome' }, { t: 'ok', id: 0, ch: 1, at: 'k3-4' }];

test('live waits as the close code says', options, () => {
  const waits = (...close) => play(served, close).waits;
  assert.deepEqual(waits(1006), [999]);
  assert.deepEqual(waits(4100, '{"retry_ms":7000}'), [7000], 'not before retry_ms');
  assert.deepEqual(waits(4100, 'upstream_closed'), [999], 'a word');
  assert.deepEqual(waits(4129, '{"retry_ms":0}'), [999], 'no time is known');
  assert.deepEqual(waits(4200, '{"retry_ms":4000}'), [3996], 'within retry_ms');
  const lost = Array(8).fill([1006]);
  assert.deepEqual(play([], ...lost.slice(0, 2)).waits, [999, 1998]);
  assert.deepEqual(play([], ...lost).legacy, ['/s?x=1'], 'nothing on the way passes WebSocket');
  const flaky = play(served, [1006], [1006]);
  assert.deepEqual(flaky.waits, [999, 999], 'a good subscription ends the back-off');
});

test('live stops or goes back where the close code says so', options, () => {
  for (const code of [1000, 1002, 1003, 1009, 4000, 4001, 4003, 4004, 4008, 4029, 4401, 4403]) {
    const { stops, waits, legacy } = play(served, [code]);
    assert.deepEqual([stops, waits, legacy], [[code], [], []], `${code}`);
  }
  for (const code of [4300, 4301, 4302]) {
    const { stops, waits, legacy } = play([...served, { t: 'ev', ch: 1, o: 'k3-5', id: 'a b' }], [code]);
    assert.deepEqual([stops, waits, legacy], [[], [], ['/s?x=1&cf_last_event_id=a%20b']], `${code}`);
  }
});

test('live resumes by position, or by id where the position is its own', options, () => {
  const resumed = (...frames) => play([...served, ...frames], [1006]).urls[1];
  const start = 'wss://app.example.com/s?x=1';
  assert.equal(resumed(), start);
  assert.equal(resumed({ t: 'ev', ch: 1, o: 'k3-5' }), `${start}&cf_after=k3-5`);
  assert.equal(resumed({ t: 'ev', ch: 1, o: 'k3-5', id: '7' }), `${start}&cf_last_event_id=7`);
  assert.equal(resumed(...['k3-5', 'k3-6'].map((o) => ({ t: 'ev', ch: 1, o, id: '7' }))), `${start}&cf_after=k3-6`, 'no id of its own');
  assert.equal(resumed({ t: 'ev', ch: 1, o: 'z9-1', id: '7' }), `${start}&cf_last_event_id=7`, 'a request of its own');
  assert.equal(resumed({ t: 'ev', ch: 1, o: 'z9-1' }), start);
  assert.equal(resumed({ t: 'gap', ch: 1, from: 'k3-4', to: 'm1-9' }), `${start}&cf_after=m1-9`);
});

test("the page's five lines keep the old transport", options, () => {
  const opened = [];
  const script = `${block}; let on; live = (_, given) => on = given; ${movingOver}; on`;
  class Source { constructor(path) { opened.push(path); } addEventListener(name, work) { opened.push(name); work({ data: '{"n":1}' }); } }
  const on = vm.runInNewContext(script, { EventSource: Source, show: (order) => opened.push(order.n), JSON });
  on.legacy('/api/orders/stream?cf_last_event_id=7');
  assert.deepEqual(opened, ['/api/orders/stream?cf_last_event_id=7', 'order', 1]);
});

test("the page's program for Node reads with a cookie", options, async () => {
  const program = fromNode.replaceAll('127.0.0.1:8080', world.address).replace('/api/orders/stream', '/events').replace('…', 's');
  const node = spawn(process.execPath, ['--input-type=module', '-e', program], { cwd: new URL('.', import.meta.url), stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  node.stdout.on('data', (text) => { printed += text; });
  await until(() => world.isRead('/events'));
  world.say('tick', { n: 'for Node' });
  await until(() => printed.includes('for Node'));
  assert.match(printed, /e: 'tick'/);
  node.kill();
});

test('a cookie without an Origin is refused with what is needed', options, async () => {
  const socket = new Ws(`ws://${world.address}/events`, { headers: { cookie: 'session=s' } });
  const [, answer] = await once(socket, 'unexpected-response');
  assert.equal(answer.statusCode, 403);
  const [problem] = await once(answer, 'data');
  assert.match(JSON.parse(problem).detail, /needs an Origin: .*scheme, host and port/);
});

test("the protocol's page names each member of the discovery document", options, async () => {
  const protocol = readFileSync(new URL('../../../docs/protocol.md', import.meta.url), 'utf8');
  const document = await (await fetch(`http://${world.address}/_crossfade/transport?path=/rolled`)).json();
  for (const member of Object.keys(document)) assert.ok(protocol.includes(`| \`${member}\` | `), member);
});
