// Chromium without a window, driven over a pair of pipes: DevTools messages, each ended by a NUL.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class Chromium {
  #waiting = new Map();
  #number = 0;
  #rest = '';

  static async start() {
    const browser = new Chromium();
    browser.folder = await mkdtemp(join(tmpdir(), 'chromium-'));
    const flags = ['--headless=new', '--remote-debugging-pipe', `--user-data-dir=${browser.folder}`, '--disable-gpu', '--disable-dev-shm-usage',
      '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
    // Its own sandbox refuses to work for root, as whom containers run tests.
    if (process.getuid() === 0) flags.push('--no-sandbox');
    browser.process = spawn(process.env.CHROMIUM ?? 'chromium', flags, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    const [, , , commands, answers] = browser.process.stdio;
    browser.commands = commands;
    commands.on('error', () => {});
    answers.setEncoding('utf8').on('data', (text) => browser.#read(text));
    browser.process.on('error', (error) => browser.#end(error));
    browser.process.on('exit', () => browser.#end(new Error('chromium ended')));
    await browser.send('Browser.getVersion');
    return browser;
  }

  async stop() {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = once(this.process, 'exit');
      this.send('Browser.close').catch(() => {});
      const late = setTimeout(() => this.process.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(late);
    }
    // Its helpers may write for a moment after it is gone.
    await rm(this.folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  // A new tab that shows this address.
  async page(url) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, sessionId);
    await this.send('Page.enable', {}, sessionId);
    const loaded = this.#event('Page.loadEventFired', sessionId);
    const { errorText } = await this.send('Page.navigate', { url }, sessionId);
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await loaded;
    return page;
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.#number;
    this.commands.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return this.#wait(id);
  }

  #event(method, sessionId) {
    return this.#wait(`${method} ${sessionId}`);
  }

  #wait(key) {
    return new Promise((resolve, reject) => this.#waiting.set(key, { resolve, reject }));
  }

  #read(text) {
    const messages = (this.#rest + text).split('\0');
    this.#rest = messages.pop();
    for (const message of messages) {
      const { id, method, sessionId, params, result, error } = JSON.parse(message);
      const key = id ?? `${method} ${sessionId}`;
      const waiting = this.#waiting.get(key);
      this.#waiting.delete(key);
      if (error) waiting?.reject(new Error(error.message));
      else waiting?.resolve(result ?? params);
    }
  }

  #end(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

class Page {
  constructor(browser, session) {
    this.browser = browser;
    this.session = session;
  }

  // Runs a function inside the page, with arguments and a result that JSON can say.
  async run(work, ...args) {
    const expression = `(${work})(...${JSON.stringify(args)})`;
    const { result, exceptionDetails } = await this.browser.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true }, this.session);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }
}
