// A page as a browser runs it, as far as docs/getting-started.md needs one: page.mjs ORIGIN USER [COOKIE].
// Logs in by the page's form, runs its scripts, and prints a JSON line for each connection that they open and each line that they show.

import { setTimeout as sleep } from 'node:timers/promises';
import vm from 'node:vm';
import { Agent, EventSource, WebSocket } from 'undici';

const [origin, user, given] = process.argv.slice(2);
const say = (line) => console.log(JSON.stringify(line));

const html = await (await fetch(origin)).text();
const [, field] = /<form method="post" action="\/login"><input name="(\w+)">/.exec(html);
const login = await fetch(`${origin}/login`, { method: 'POST', body: new URLSearchParams({ [field]: user }), redirect: 'manual' });
const cookie = [login.headers.getSetCookie()[0].split(';')[0], given].filter(Boolean).join('; ');

// What a browser adds to each request of its page.
const agent = new Agent().compose((dispatch) => (request, handler) =>
  dispatch({ ...request, headers: { ...request.headers, cookie } }, handler));
class PageEventSource extends EventSource {
  constructor(path) {
    super(origin + path, { dispatcher: agent });
    say({ opens: 'EventSource', path });
  }
}
class PageWebSocket extends WebSocket {
  constructor(url, protocols) {
    super(url, { protocols, headers: { cookie, origin } });
    say({ opens: 'WebSocket' });
    this.addEventListener('close', ({ code }) => say({ closed: code }));
  }
}
const list = { append: ({ textContent }) => say({ shows: textContent }) };
const document = { createElement: () => ({}), getElementById: () => list };
const page = vm.createContext({ document, location: { origin }, EventSource: PageEventSource, WebSocket: PageWebSocket, setTimeout, clearTimeout });
for (const [, source, text] of html.matchAll(/<script(?: src="([^"]+)")?>([^]*?)<\/script>/g)) {
  vm.runInContext(source ? await (await fetch(origin + source)).text() : text, page);
}
await sleep(600_000);
