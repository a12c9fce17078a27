// The same clients against Socket.IO's own server and against crossfade (CROSSFADE_BINARY): they see the same, but for what
// `differences.json` lists with a reason. A difference that is listed and not seen is a failure as well. `--record` writes down
// what was seen; the reasons stay, and those that are missing are a person's to write.

import { readFile, writeFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { scripts } from './scripts.mjs';
import { startCrossfade, startNode } from './servers.mjs';

const LIMIT = 15_000;
const LIST = new URL('differences.json', import.meta.url);
const listed = JSON.parse(await readFile(LIST));
const servers = [await startNode(), await startCrossfade()];

const see = (script, { address }) => Promise.race([
  script(address).catch((error) => ({ failed: String(error) })),
  new Promise((resolve) => setTimeout(resolve, LIMIT, 'nothing within the time')),
]);

let failed = 0;
const found = {};
for (const [name, script] of Object.entries(scripts)) {
  const [node, crossfade] = (await Promise.all(servers.map((server) => see(script, server)))).map((seen) => JSON.parse(JSON.stringify(seen)));
  const { why, ...difference } = listed[name] ?? {};
  const is = isDeepStrictEqual(node, crossfade) ? {} : { node, crossfade };
  if (is.node !== undefined) found[name] = { why: why ?? '', ...is };
  if (isDeepStrictEqual(is, difference) && (why || is.node === undefined)) continue;
  failed++;
  console.log(`${name}:\n  node       ${JSON.stringify(node)}\n  crossfade  ${JSON.stringify(crossfade)}`);
  if (why) console.log(`  listed     ${JSON.stringify(difference)}`);
}
for (const name of Object.keys(listed).filter((name) => !scripts[name])) {
  failed++;
  console.log(`${name}: is listed, and there is no such script`);
}
for (const server of servers) await server.stop();
const same = Object.keys(scripts).length - Object.keys(found).length;
console.log(`socket.io and crossfade: ${same} scripts see the same, ${Object.keys(found).length} differ, ${failed} not as listed`);
if (process.argv[2] === '--record') await writeFile(LIST, `${JSON.stringify(found, null, 2)}\n`);
process.exit(failed ? 1 : 0);
