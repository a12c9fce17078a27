// The Flask example under gunicorn, and crossfade before it with the example's own proxy.toml.
// CROSSFADE_BINARY names the binary, CROSSFADE_FLASK_VENV the virtual environment with the example's packages.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const example = new URL('../../../examples/flask-captions/', import.meta.url).pathname;

export class FlaskWorld {
  #started = [];

  static async start() {
    const world = new FlaskWorld();
    const gunicorn = `${process.env.CROSSFADE_FLASK_VENV}/bin/gunicorn`;
    const backend = await world.#start(gunicorn, ['app:app'], { CAPTIONS_BIND: '127.0.0.1:0', PYTHONDONTWRITEBYTECODE: '1' }, 'stderr', /Listening at: (\S+)/);
    const env = { CAPTIONS_BACKEND: backend, CROSSFADE_LISTEN: '127.0.0.1:0', CROSSFADE_ADMIN: '127.0.0.1:0' };
    world.origin = await world.#start(process.env.CROSSFADE_BINARY, ['run', '--config', 'proxy.toml'], env, 'stdout', /^ready public=(\S+)/);
    return world;
  }

  stop() {
    this.#started.forEach((program) => program.kill('SIGKILL'));
  }

  // Starts a program; its address is what the first line of this form says.
  async #start(command, args, env, stream, form) {
    const program = spawn(command, args, { cwd: example, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#started.push(program);
    program.stdout.resume();
    program.stderr.resume();
    for await (const line of createInterface({ input: program[stream] })) {
      const address = form.exec(line)?.[1];
      if (!address) continue;
      program[stream].resume();
      return address;
    }
    throw new Error(`${command} ended before it was ready`);
  }
}
