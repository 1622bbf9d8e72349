// The real server before a fake cell (tests/contract/api_rig.cpp), with certificates made on the spot, behind a TCP
// relay on loopback that can be cut.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, mkdirSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

class Relay {
  constructor(port) {
    this.target = port;
    this.sockets = new Set();
    this.up = true;
    this.server = net.createServer((near) => {
      if (!this.up) return near.destroy();
      const far = net.connect(this.target, '127.0.0.1');
      for (const s of [near, far]) {
        this.sockets.add(s);
        s.on('error', () => undefined);
        s.on('close', () => {
          this.sockets.delete(s);
          (s === near ? far : near).destroy();
        });
      }
      near.pipe(far);
      far.pipe(near);
    });
  }
  async listen() {
    await new Promise((done) => this.server.listen(0, '127.0.0.1', done));
    return this.server.address().port;
  }
  cut() {
    this.up = false;
    for (const s of this.sockets) s.destroy();
  }
  heal() {
    this.up = true;
  }
  close() {
    this.cut();
    this.server.close();
  }
}

export async function startRig(program, repository, dist) {
  const folder = mkdtempSync(path.join(tmpdir(), 'console-e2e-'));
  const pki = path.join(folder, 'pki');
  mkdirSync(pki);
  const made = spawnSync('python3', ['-B', path.join(repository, 'tests/contract/api_pki.py'), pki], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`no certificates: ${made.stderr}`);
  const pem = (name, end) => path.join(pki, `${name}.${end}`);
  // One that ends soon is told on the first screen, as it should be; here it would hide what the checks are about.
  const again = spawnSync('openssl', ['x509', '-req', '-in', pem('server', 'csr'), '-CA', pem('ca', 'pem'), '-CAkey', pem('ca', 'key'), '-CAcreateserial',
    '-days', '90', '-extfile', pem('server', 'ext'), '-out', pem('server', 'pem')], { encoding: 'utf8' });
  if (again.status !== 0) throw new Error(`no certificate: ${again.stderr}`);
  const args = [pem('ca', 'pem'), pem('server', 'pem'), pem('server', 'key'), folder, `console=${dist}`];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value ?? '';
  const relay = new Relay(Number((await next()).split(' ')[1]));
  const port = await relay.listen();
  return {
    base: `https://127.0.0.1:${port}`,
    certificate: (name) => ({ cert: pem(name, 'pem'), key: pem(name, 'key') }),
    relay,
    async tell(line) {
      child.stdin.write(line + '\n');
      const answer = await next();
      if (/^(what\?|wrong|no$)/.test(answer)) throw new Error(`rig: ${line}: ${answer}`);
      return answer;
    },
    async stop() {
      relay.close();
      child.stdin.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
      await new Promise((done) => child.on('exit', done));
      clearTimeout(timer);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
