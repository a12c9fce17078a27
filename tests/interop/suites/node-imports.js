// In place of the suites' own file of this name: the same libraries, but one message in each turn of the event loop. The suites
// await messages one by one and lose the second of two that come in one chunk of TCP.
import chai from 'chai';
import chaiString from 'chai-string';
import fetch from 'node-fetch';
import { WebSocket } from 'ws';

class OneByOne extends WebSocket {
  #waiting = [];
  #isBusy = false;

  emit(name, ...more) {
    if (name !== 'message' && name !== 'close') return super.emit(name, ...more);
    this.#waiting.push([name, ...more]);
    if (!this.#isBusy) this.#next();
    return true;
  }

  #next() {
    const event = this.#waiting.shift();
    this.#isBusy = Boolean(event);
    if (!event) return;
    super.emit(...event);
    setImmediate(() => this.#next());
  }
}

chai.use(chaiString);
Object.assign(globalThis, { fetch, WebSocket: OneByOne, chai });
