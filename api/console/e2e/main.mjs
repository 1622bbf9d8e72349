// The console in a real browser with a client certificate.
//   node e2e/main.mjs --rig API_RIG [--dist DIST] [--shots FOLDER]      the server before a fake cell; everything
//   node e2e/main.mjs --base https://HOST:8443 --operator CERT,KEY [--client CERT,KEY] [--vm NAME] [--shots FOLDER]
//                                                                       a running cell; looks, and changes nothing. --vm: one
//                                                                       that runs, protected; its page must say so
// Ends with "N passed, N failed".
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { launch } from './browser.mjs';
import { looks } from './looks.mjs';
import { acts } from './acts.mjs';
import { startRig } from './rig.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const repository = path.resolve(here, '../../..');
const { values } = parseArgs({
  options: { rig: { type: 'string' }, dist: { type: 'string' }, base: { type: 'string' }, operator: { type: 'string' },
    client: { type: 'string' }, vm: { type: 'string' }, shots: { type: 'string' }, only: { type: 'string' } },
});
if (!values.rig === !values.base || (values.base && !values.operator)) {
  console.error('say --rig PROGRAM, or --base URL --operator CERT,KEY');
  process.exit(2);
}

const pair = (text) => text && { cert: text.split(',')[0], key: text.split(',')[1] };
const rig = values.rig && (await startRig(path.resolve(values.rig), repository, path.resolve(values.dist ?? path.join(here, '../dist'))));
const cell = {
  rig,
  base: (rig?.base ?? values.base).replace(/\/$/, ''),
  operator: rig ? rig.certificate('operator') : pair(values.operator),
  client: rig ? rig.certificate('client') : pair(values.client),
  vm: values.vm,
  shots: values.shots && path.resolve(values.shots),
};
for (const line of rig ? ['vms 6', 'behind vm-1 204800', 'vm web blue'] : []) await rig.tell(line);
let passed = 0;
let failed = 0;
const browser = await launch();
try {
  for (const [name, check] of [...looks(cell), ...(rig ? acts(cell) : [])]) {
    if (values.only && !name.includes(values.only)) continue;
    const began = Date.now();
    try {
      await check(browser);
      ++passed;
      console.log(`ok - ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    } catch (e) {
      ++failed;
      console.log(`not ok - ${name}\n  ${e.stack ?? e}`);
    }
  }
} finally {
  await browser.close();
  await rig?.stop();
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
