// What clients do, by name: each returns what they saw.

import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { Polling, Raw, ask, brief } from './raw.mjs';

const open = 'EIO=4&transport=polling';
const UNKNOWN = '00000000000000000000000000000000';

const handshake = (text) => ({ ...JSON.parse(text.slice(1)), sid: 'SID' });
// What is another at each time: ids, and the position behind an event's data.
const withoutSid = (packets) => packets.replace(/"(sid|pid)":"[^"]+"/g, '"$1":"…"').replace(/,"[\w-]{5,}"\]/g, ',"…"]');

export const scripts = {
  async 'handshake over polling'(address) {
    const answer = await ask(address, open);
    return { ...answer, body: handshake(answer.body) };
  },
  async 'handshake over a WebSocket'(address) {
    const raw = new Raw(address);
    await raw.count(1);
    raw.seen[0] = handshake(raw.seen[0]);
    return raw.rest();
  },
  'handshake without the last slash': (address) => ask(address, open, { path: '/socket.io' }).then(({ status }) => status),
  'handshake of a page elsewhere': (address) => ask(address, open, { headers: { origin: 'https://elsewhere.example' } }).then(({ status }) => status),
  'handshake with a preflight': (address) => ask(address, open, { method: 'OPTIONS' }).then(brief),

  'unknown transport': (address) => ask(address, 'EIO=4&transport=carrier-pigeon'),
  'no transport': (address) => ask(address, 'EIO=4').then(brief),
  'version 3': (address) => ask(address, 'EIO=3&transport=polling').then(brief),
  'version 5': (address) => ask(address, 'EIO=5&transport=polling').then(brief),
  'no version': (address) => ask(address, 'transport=polling').then(brief),
  'handshake by POST': (address) => ask(address, open, { method: 'POST', body: '' }).then(brief),
  'handshake by PUT': (address) => ask(address, open, { method: 'PUT', body: '' }).then(brief),
  'poll of an unknown session': (address) => ask(address, `${open}&sid=${UNKNOWN}`).then(brief),
  'poll with a sid that is none': (address) => ask(address, `${open}&sid=hello`).then(brief),
  'poll with an empty sid': (address) => ask(address, `${open}&sid=`).then(({ status }) => status),
  'POST to an unknown session': (address) => ask(address, `${open}&sid=${UNKNOWN}`, { method: 'POST', body: '40' }).then(brief),
  'handshake of JSONP': (address) => ask(address, `${open}&j=0`).then(({ status }) => status),
  'WebSocket transport without an upgrade': (address) => ask(address, 'EIO=4&transport=websocket').then(brief),
  'polling transport with an upgrade': (address) => new Raw(address, open).rest(),
  'WebSocket of version 3': (address) => new Raw(address, 'EIO=3&transport=websocket').rest(),
  'WebSocket for an unknown session': (address) => new Raw(address, `EIO=4&transport=websocket&sid=${UNKNOWN}`).rest(),

  async 'session by PUT and DELETE'(address) {
    const session = await Polling.open(address);
    const asks = ['PUT', 'DELETE'].map((method) => ask(address, session.query(), { method }).then(brief));
    return Promise.all(asks);
  },
  async 'version is not asked again'(address) {
    const session = await Polling.open(address);
    return ask(address, `transport=polling&sid=${session.sid}`, { method: 'POST', body: '3' }).then(brief);
  },
  async 'POST and its answer'(address) {
    const session = await Polling.open(address, { joined: false });
    const posted = await ask(address, session.query(), { method: 'POST', body: '40' });
    const polled = await ask(address, session.query());
    return { posted, polled: { ...polled, body: withoutSid(polled.body) } };
  },
  async 'events are polled together'(address) {
    const session = await Polling.open(address);
    const events = Array.from({ length: 3 }, (_, at) => `42${at}["add",{"n":${at}}]`);
    const posted = await session.post(events.join('\x1e'));
    await sleep(300);
    // The order of acknowledgements is that of the calls' ends.
    const polled = (await session.poll()).slice(4).split('\x1e');
    return [posted, polled.sort()];
  },
  async 'last word by POST'(address) {
    const session = await Polling.open(address);
    const polled = session.poll();
    await sleep(50);
    const posted = await session.post('1');
    return [posted, await polled, await session.poll()];
  },
  async 'second poll at once'(address) {
    const session = await Polling.open(address);
    const first = session.poll();
    await sleep(50);
    const second = await session.poll();
    return [await first, second.slice(0, 3), await session.poll()];
  },
  async 'second POST at once'(address) {
    const session = await Polling.open(address);
    session.post('4', { whole: false, headers: { 'content-length': '100' } });
    await sleep(50);
    const second = await session.post('3');
    return [second.slice(0, 3), await session.post('3')];
  },
  async 'POST of a packet that is none'(address) {
    const session = await Polling.open(address);
    const polled = session.poll();
    await sleep(50);
    return [await session.post('hello'), await polled, await session.poll()];
  },
  async 'POST of nothing'(address) {
    const session = await Polling.open(address);
    const posted = await session.post('');
    return [posted, await session.post('3')];
  },
  async 'POST that is too large'(address) {
    const session = await Polling.open(address);
    const posted = await session.post('4'.repeat(1_000_001));
    return [posted, await session.post('3')];
  },
  async 'POST that is too large, in chunks'(address) {
    const session = await Polling.open(address);
    const posted = await session.post('4'.repeat(1_000_001), { headers: { 'transfer-encoding': 'chunked' } });
    return [posted.slice(0, 3), await session.post('3')];
  },
  async 'poll that is broken off'(address) {
    const session = await Polling.open(address);
    const broken = new AbortController();
    const polled = fetch(`http://${address}/socket.io/?${session.query()}`, { signal: broken.signal }).catch(() => {});
    await sleep(50);
    broken.abort();
    await polled;
    await sleep(100);
    return session.poll();
  },

  async 'upgrade, step by step'(address) {
    const session = await Polling.open(address);
    const raw = new Raw(address, session.query('websocket'));
    await once(raw.socket, 'open');
    raw.socket.send('2probe');
    await raw.count(1);
    const polled = await session.poll();
    raw.socket.send('5');
    await sleep(50);
    const late = [await session.poll(), await session.post('3')].map((answer) => answer.slice(0, 3));
    const again = await new Raw(address, session.query('websocket')).rest();
    raw.socket.send('420["add",1]');
    await raw.count(2);
    return [polled, late, again, await raw.rest()];
  },
  async 'upgrade while a poll waits'(address) {
    const session = await Polling.open(address);
    const polled = session.poll();
    await sleep(50);
    const raw = new Raw(address, session.query('websocket'));
    await once(raw.socket, 'open');
    raw.socket.send('2probe');
    return [await polled, await raw.rest()];
  },
  async 'upgrade that is given up'(address) {
    const session = await Polling.open(address);
    const raw = new Raw(address, session.query('websocket'));
    await once(raw.socket, 'open');
    raw.socket.send('2probe');
    await raw.count(1);
    raw.socket.close();
    await raw.ended;
    await session.post('420["add",1]');
    await session.until('430');
    return 'polls on';
  },
  async 'upgrade with a wrong word'(address) {
    const session = await Polling.open(address);
    const raw = new Raw(address, session.query('websocket'));
    await once(raw.socket, 'open');
    raw.socket.send('420["add",1]');
    await raw.ended;
    await session.post('420["add",1]');
    await session.until('430');
    return 'polls on';
  },

  async 'CONNECT and its answer'(address) {
    const raw = new Raw(address);
    await raw.count(1);
    raw.socket.send('40');
    await raw.count(3);
    return raw.seen.slice(1).map(withoutSid);
  },
  async 'CONNECT with what is no object'(address) {
    const raw = new Raw(address);
    await raw.count(1);
    raw.socket.send('40"hello"');
    return (await raw.rest()).slice(1).map(withoutSid);
  },
  async 'no CONNECT'(address) {
    const raw = new Raw(address);
    await raw.ended;
    return raw.seen.slice(1);
  },
  async 'acknowledgement of an event'(address) {
    const raw = await Raw.join(address);
    raw.socket.send('427["add",{"a":[1,"é"]}]');
    return raw.rest();
  },
  async 'leaving the last namespace'(address) {
    const raw = await Raw.join(address);
    raw.socket.send('41');
    return raw.rest();
  },

  async 'client leaves by itself'(address) {
    const socket = io(`http://${address}`, { forceNew: true });
    await once(socket, 'connected');
    const left = once(socket, 'disconnect');
    socket.disconnect();
    return (await left)[0];
  },
  async 'client comes back after a cut'(address) {
    const socket = io(`http://${address}`, { forceNew: true, transports: ['websocket'], reconnectionDelay: 20 });
    await once(socket, 'connected');
    const before = socket.id;
    const cut = once(socket, 'disconnect');
    socket.io.engine.transport.ws.terminate();
    const [reason] = await cut;
    await once(socket, 'connect');
    const came = [reason, socket.active, socket.recovered, socket.id !== before];
    socket.disconnect();
    return came;
  },
  async 'client is refused by data'(address) {
    const socket = io(`http://${address}/admin`, { forceNew: true });
    const [error] = await once(socket, 'connect_error');
    const told = [error.message, error.data, socket.active];
    socket.disconnect();
    return told;
  },
  async 'client in an unknown namespace'(address) {
    const socket = io(`http://${address}/unknown`, { forceNew: true });
    const [error] = await once(socket, 'connect_error');
    const told = [error.message, error.data ?? 'no data', socket.active];
    socket.disconnect();
    return told;
  },
  async 'client emits bytes'(address) {
    const socket = io(`http://${address}`, { forceNew: true });
    const answer = await socket.emitWithAck('add', Buffer.from([255, 1]));
    socket.disconnect();
    return Buffer.isBuffer(answer.body) ? 'bytes' : answer.body;
  },
  async 'client gets no answer for an unknown event'(address) {
    const socket = io(`http://${address}`, { forceNew: true });
    const answer = await socket.timeout(300).emitWithAck('nothing').catch(() => 'no answer');
    socket.disconnect();
    return answer.status ?? answer;
  },
};

// Messages that break Socket.IO, on a WebSocket that has joined the root namespace.
const broken = {
  'unknown type of packet': ['4hello'],
  'unknown type of message': ['hello'],
  'ping of a client': ['2'],
  'event that is no list': ['42{}'],
  'event without a name': ['42[]'],
  'event with a name that is null': ['42[null]'],
  'event with a reserved name': ['42["disconnect"]'],
  'acknowledgement number that is none': ['42abc["add",1]'],
  'acknowledgement of nothing': ['437[1]'],
  'refusal by a client': ['44{"message":"no"}'],
  'second CONNECT': ['40'],
  'event of a namespace that is not joined': ['42/other,["add",1]'],
  'event behind a leave': ['41', '42["add",1]'],
  'attachment of nothing': [Buffer.from([1])],
  'text in place of an attachment': ['451-["add",{"_placeholder":true,"num":0}]', '42["add",1]'],
  'placeholder without an attachment': ['451-["add",{"_placeholder":true,"num":7}]', Buffer.from([1])],
  'eleven attachments': ['4511-["add"]'],
  'message that is too large': ['42' + ' '.repeat(1_000_001)],
};
for (const [name, messages] of Object.entries(broken)) {
  scripts[`broken: ${name}`] = async (address) => {
    const raw = await Raw.join(address);
    for (const message of messages) raw.socket.send(message);
    return raw.rest();
  };
}
