// The Flask example under gunicorn, crossfade before it with the example's own proxy.toml, and socket.io-client, unchanged.
// CROSSFADE_BINARY names the binary, CROSSFADE_FLASK_VENV the virtual environment with the example's packages.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { FlaskWorld } from './flask_world.mjs';

const options = { timeout: 30_000 };
let world, origin;
before(async () => { world = await FlaskWorld.start(); origin = world.origin; });
after(() => world?.stop());

// A user with a session of the application.
async function login(name) {
  const answer = await fetch(`${origin}/login`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: name, password: `${name}-pass` }),
  });
  assert.equal(answer.status, 200);
  const cookies = answer.headers.getSetCookie().map((cookie) => cookie.split(';')[0]);
  const csrf = cookies.find((cookie) => cookie.startsWith('csrftoken='))?.split('=')[1];
  return { csrf, headers: { cookie: cookies.join('; '), origin } };
}

async function makeCaptions(user, wish) {
  const headers = { ...user.headers, 'content-type': 'application/json', 'x-csrftoken': user.csrf };
  const answer = await fetch(`${origin}/api/tasks`, { method: 'POST', headers, body: JSON.stringify(wish) });
  assert.equal(answer.status, 201);
  return (await answer.json()).task_id;
}

const open = (user, namespace, transports) => io(`${origin}${namespace}`, {
  forceNew: true, reconnection: false, transports, extraHeaders: user.headers, auth: { csrf: user.csrf },
});
const ask = (socket, ...event) => new Promise((resolve) => socket.emit(...event, resolve));

for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
  test(`a task is followed, asked for and cancelled over ${transports}`, options, async () => {
    const alice = await login('alice');
    const task_id = await makeCaptions(alice, { steps: 100, seconds: 20 });
    const socket = open(alice, '', transports);
    assert.deepEqual((await once(socket, 'connected'))[0], { user: 'alice' });
    const progress = once(socket, 'progress_update');
    assert.deepEqual(await ask(socket, 'join_task', { task_id }), { status: 200 });
    assert.equal((await progress)[0].task_id, task_id);
    const status = await ask(socket, 'get_task_status', { task_id });
    assert.deepEqual([status.status, status.body.task_id], [200, task_id]);
    const cancelled = once(socket, 'task_cancelled');
    const answer = await ask(socket, 'cancel_task', { task_id });
    assert.deepEqual([answer.status, answer.body.state], [200, 'cancelled']);
    assert.equal((await cancelled)[0].task_id, task_id);
    assert.equal((await ask(socket, 'cancel_task', { task_id })).status, 409);
    socket.disconnect();
  });
}

test('another one\'s task is refused, with an ack and without', options, async () => {
  const [alice, bob] = [await login('alice'), await login('bob')];
  const task_id = await makeCaptions(alice, { steps: 10, seconds: 5 });
  const socket = open(bob, '', ['websocket']);
  await once(socket, 'connected');
  const refused = await ask(socket, 'join_task', { task_id });
  assert.deepEqual([refused.status, refused.error.code], [403, 'forbidden']);
  const told = once(socket, 'task_error');
  socket.emit('join_task', { task_id });
  assert.deepEqual([(await told)[0].status, (await told)[0].event], [403, 'join_task']);
  socket.disconnect();
});

test('administrators have a namespace that others do not join', options, async () => {
  const [alice, ada] = [await login('alice'), await login('ada')];
  const refused = open(alice, '/admin', ['polling', 'websocket']);
  const [error] = await once(refused, 'connect_error');
  assert.deepEqual(error.data, { code: 'forbidden', status: 403, close: 4003 });
  refused.disconnect();
  const stranger = open({ headers: { origin } }, '/admin', ['websocket']);
  assert.equal((await once(stranger, 'connect_error'))[0].data.code, 'unauthorized');
  stranger.disconnect();
  const admin = open(ada, '/admin', ['polling', 'websocket']);
  await once(admin, 'connect');
  const job = once(admin, 'job_update');
  const task = await makeCaptions(alice, { steps: 3, seconds: 1 });
  assert.ok(task && (await job)[0]);
  admin.disconnect();
  const root = open(alice, '', ['websocket']);
  await once(root, 'connected');
  assert.equal((await ask(root, 'join_admin_dashboard')).status, 403);
  root.disconnect();
});

test('the sixth connection of a user is refused, whatever its transport', options, async () => {
  const bob = await login('bob');
  const sockets = [];
  for (let n = 0; n < 5; n += 1) {
    const socket = open(bob, '', n % 2 ? ['websocket'] : ['polling']);
    await once(socket, 'connect');
    sockets.push(socket);
  }
  for (const transports of [['websocket'], ['polling']]) {
    const sixth = open(bob, '', transports);
    assert.deepEqual((await once(sixth, 'connect_error'))[0].data, { code: 'rate_limited', status: 429, close: 4029 });
    sixth.disconnect();
  }
  sockets.forEach((socket) => socket.disconnect());
});
