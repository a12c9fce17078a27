// What a policy of origins is worth in a real browser: Chromium, without a window. CROSSFADE_BINARY names the binary, CHROMIUM the browser.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Chromium } from './chromium.mjs';
import { World } from './world.mjs';

const options = { timeout: 30_000 };
let world, browser, app, neighbour, stranger;
before(async () => {
  world = await World.start();
  browser = await Chromium.start();
  [app, neighbour, stranger] = await Promise.all([world.app, world.neighbour, world.stranger].map((origin) => browser.page(origin)));
  // Whoever is at 127.0.0.1, on whatever port, sends this cookie from now on.
  assert.equal((await app.run(read, world.url('/api/login'), { method: 'POST', credentials: 'include' })).status, 200);
}, { timeout: 60_000 });
after(async () => {
  await browser?.stop();
  await world?.stop();
});

// Inside a page: what it can read of an answer, or that the browser gives it nothing.
async function read(url, init) {
  try {
    const response = await fetch(url, init);
    return { status: response.status, text: await response.text(), headers: Object.fromEntries(response.headers) };
  } catch (error) {
    return { error: error.name };
  }
}
const nothing = { error: 'TypeError' };

// Inside a page: what becomes of a WebSocket, to its first message or its end.
function open(url, protocols) {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, protocols);
    socket.onmessage = ({ data }) => resolve({ data });
    socket.onclose = ({ code }) => resolve({ code });
  });
}

// Inside a page: the same from within a sandboxed frame, whose origin is `null`.
function fromSandbox(work, ...args) {
  return new Promise((resolve) => {
    const frame = document.createElement('iframe');
    frame.sandbox = 'allow-scripts';
    frame.srcdoc = `<script>(${work})(...${JSON.stringify(args)}).then((result) => parent.postMessage(result, '*'))</script>`;
    addEventListener('message', ({ data }) => resolve(data), { once: true });
    document.body.append(frame);
  });
}

test('an allowed page reads with its cookies, and the headers that are exposed', options, async () => {
  const answer = await app.run(read, world.url('/api/me'), { credentials: 'include' });
  assert.equal(answer.text, 'session=alice');
  assert.equal(answer.headers.etag, '"1"');
  assert.ok(answer.headers['x-request-id']);
  assert.equal(answer.headers['x-internal'], undefined, "the backend's own list is not in force");
  const bare = await app.run(read, world.url('/api/me'), { credentials: 'omit' });
  assert.equal(bare.text, 'nobody');
});

test('other pages read nothing, though the backend itself would let them', options, async () => {
  for (const page of [neighbour, stranger]) {
    for (const credentials of ['include', 'omit']) {
      assert.deepEqual(await page.run(read, world.url('/api/secret'), { credentials }), nothing);
    }
  }
});

test('what other pages send with an effect does not reach the backend', options, async () => {
  for (const page of [neighbour, stranger]) {
    for (const mode of ['cors', 'no-cors']) {
      const init = { method: 'POST', body: 'x', credentials: 'include', mode };
      const answer = await page.run(read, world.url('/api/transfer'), init);
      if (mode === 'cors') assert.deepEqual(answer, nothing);
    }
    assert.deepEqual(await page.run(read, world.url('/api/transfer'), { method: 'PUT', body: 'x' }), nothing);
  }
  // Nor does a form, which no browser asks about.
  await neighbour.run((url) => new Promise((resolve) => {
    const frame = document.createElement('iframe');
    frame.name = 'sent';
    document.body.append(frame);
    const form = Object.assign(document.createElement('form'), { method: 'POST', action: url, target: 'sent' });
    document.body.append(form);
    frame.onload = resolve;
    form.submit();
  }), world.url('/api/transfer'));
  assert.deepEqual(world.asked('/api/transfer'), []);
  assert.equal((await app.run(read, world.url('/api/transfer'), { method: 'POST', credentials: 'include' })).text, 'session=alice');
});

test('a preflight lets through what is listed, and the backend does not see it', options, async () => {
  const headers = { Authorization: 'Bearer x', 'Content-Type': 'application/json', 'X-CSRFToken': 'y' };
  const init = { method: 'PUT', body: '{}', credentials: 'include', headers };
  assert.equal((await app.run(read, world.url('/api/item'), init)).text, 'session=alice');
  assert.deepEqual(world.asked('/api/item'), ['PUT']);
  const put = world.seen.find(({ url }) => url === '/api/item');
  assert.deepEqual([put.headers.authorization, put.headers['x-csrftoken']], ['Bearer x', 'y']);
});

test('a preflight stops a header, and a method, that are not listed', options, async () => {
  for (const init of [
    { method: 'PUT', headers: { 'X-Evil': '1' } },
    { method: 'GET', headers: { 'X-Evil': '1' } },
    { method: 'PATCH' },
    { method: 'DELETE' },
  ]) {
    assert.deepEqual(await app.run(read, world.url('/api/unlisted'), init), nothing, JSON.stringify(init));
  }
  assert.deepEqual(world.asked('/api/unlisted'), []);
});

test('a sandboxed frame is nobody: it reads nothing and causes nothing', options, async () => {
  const url = world.url('/api/sandboxed');
  for (const init of [{}, { method: 'POST', body: 'x' }, { method: 'PUT' }]) {
    assert.deepEqual(await app.run(fromSandbox, read.toString(), url, init), nothing, JSON.stringify(init));
  }
  assert.deepEqual(world.asked('/api/sandboxed'), ['GET']);
  const socket = await app.run(fromSandbox, open.toString(), `ws://${world.address}/events`);
  assert.deepEqual(socket, { code: 1006 });
});

test('an allowed page reads errors too: of the backend, and of crossfade itself', options, async () => {
  for (const [path, status, code] of [
    ['/api/broken', 500],
    ['/api/missing', 404],
    ['/dead', 502, 'upstream_down'],
    ['/private', 401, 'unauthorized'],
    ['/nowhere', 404, 'no_route'],
  ]) {
    const answer = await app.run(read, world.url(path), { credentials: 'include' });
    assert.equal(answer.status, status, `${path}: ${JSON.stringify(answer)}`);
    if (code) assert.equal(JSON.parse(answer.text).code, code);
    assert.deepEqual(await neighbour.run(read, world.url(path), { credentials: 'include' }), nothing, path);
  }
  assert.deepEqual(world.asked('/private'), []);
});

test('a preflight needs no credentials where the request itself does', options, async () => {
  const headers = { Authorization: 'Bearer none' };
  const answer = await app.run(read, world.url('/private'), { method: 'PUT', headers });
  assert.equal(answer.status, 401, JSON.stringify(answer));
});

test('what was loaded without CORS does not spoil the cache for a page that asks', options, async () => {
  const url = world.url('/api/cached');
  await app.run((url) => new Promise((resolve) => {
    document.body.append(Object.assign(new Image(), { src: url, onerror: resolve, onload: resolve }));
  }), url);
  const answer = await app.run(read, url, { credentials: 'include' });
  assert.equal(answer.text, 'session=alice', JSON.stringify(answer));
});

test('an EventSource and a WebSocket of an allowed page get the stream', options, async () => {
  const data = await app.run((url) => new Promise((resolve) => {
    const source = new EventSource(url, { withCredentials: true });
    source.onmessage = ({ data }) => { source.close(); resolve(data); };
    source.onerror = () => { source.close(); resolve('error'); };
  }), world.url('/events'));
  assert.equal(data, 'hello');
  assert.deepEqual(await app.run(open, `ws://${world.address}/events`), { data: 'hello' });
  const welcome = await app.run(open, `ws://${world.address}/_crossfade/ws`, ['crossfade.v1.json']);
  assert.equal(JSON.parse(welcome.data).t, 'welcome');
});

test('a WebSocket of another page does not open', options, async () => {
  for (const page of [neighbour, stranger]) {
    assert.deepEqual(await page.run(open, `ws://${world.address}/events`), { code: 1006 });
    assert.deepEqual(await page.run(open, `ws://${world.address}/_crossfade/ws`, ['crossfade.v1.json']), { code: 1006 });
  }
});
