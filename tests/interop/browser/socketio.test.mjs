// The Flask example's page with socket.io-client in a real browser: Chromium, without a window. CROSSFADE_BINARY names the
// binary, CROSSFADE_FLASK_VENV the example's virtual environment, CHROMIUM the browser.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { FlaskWorld } from '../node/flask_world.mjs';
import { Chromium } from './chromium.mjs';

const options = { timeout: 30_000 };
const library = new URL('../node/node_modules/socket.io-client/dist/socket.io.min.js', import.meta.url);

let world, browser, page;
before(async () => {
  world = await FlaskWorld.start();
  browser = await Chromium.start();
  page = await browser.page(world.origin);
  const source = await readFile(library, 'utf8');
  await page.run((text) => { document.head.append(Object.assign(document.createElement('script'), { textContent: text })); }, source);
  assert.equal(await page.run(login, 'alice'), 200);
}, { timeout: 60_000 });
after(async () => {
  await browser?.stop();
  world?.stop();
});

// Inside the page.
async function login(name) {
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ username: name, password: `${name}-pass` });
  return (await fetch('/login', { method: 'POST', headers, body })).status;
}

// Inside the page: makes captions, follows them, asks for them and cancels them.
async function follow(transports) {
  const csrf = document.cookie.match(/csrftoken=([^;]*)/)[1];
  const headers = { 'content-type': 'application/json', 'x-csrftoken': csrf };
  const made = await fetch('/api/tasks', { method: 'POST', headers, body: JSON.stringify({ steps: 100, seconds: 20 }) });
  const { task_id } = await made.json();
  const socket = io({ transports, auth: { csrf }, forceNew: true });
  const next = (name) => new Promise((resolve) => socket.once(name, resolve));
  const ask = (...event) => new Promise((resolve) => socket.emit(...event, resolve));
  const greeting = await next('connected');
  const progress = next('progress_update');
  const joined = await ask('join_task', { task_id });
  const followed = (await progress).task_id === task_id;
  const status = await ask('get_task_status', { task_id });
  const cancelled = next('task_cancelled');
  const cancel = await ask('cancel_task', { task_id });
  const told = (await cancelled).task_id === task_id;
  const { engine } = socket.io;
  if (transports.length > 1 && engine.transport.name === 'polling') await new Promise((resolve) => engine.once('upgrade', resolve));
  const carrier = engine.transport.name;
  socket.disconnect();
  return { greeting, joined, followed, status: status.status, cancel: cancel.status, told, carrier };
}

// Inside the page: what becomes of a namespace.
function join(namespace) {
  const socket = io(namespace, { forceNew: true, reconnection: false });
  return new Promise((resolve) => {
    socket.on('connect', () => resolve('connected'));
    socket.on('connect_error', (error) => resolve(error.data));
  });
}

for (const [transports, carrier] of [[['websocket'], 'websocket'], [['polling'], 'polling'], [['polling', 'websocket'], 'websocket']]) {
  test(`a page follows and cancels a task over ${transports}`, options, async () => {
    const seen = await page.run(follow, transports);
    assert.deepEqual(seen, {
      greeting: { user: 'alice' }, joined: { status: 200 }, followed: true, status: 200, cancel: 200, told: true, carrier,
    });
  });
}

test('the page of a user does not join the administrators', options, async () => {
  assert.deepEqual(await page.run(join, '/admin'), { code: 'forbidden', status: 403, close: 4003 });
  assert.equal(await page.run(login, 'ada'), 200);
  assert.equal(await page.run(join, '/admin'), 'connected');
});
