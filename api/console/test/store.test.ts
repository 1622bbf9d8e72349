import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Store } from '../src/store';
import type { Operation, Vm } from '../src/types';

type Answer = unknown | (() => unknown);

/** A cell as fetch sees it: what is asked, what is told, and what fails. */
class Cell {
  asked: string[] = [];
  ids: string[] = []; // with which the stream was asked for
  failing = '';
  vms = new Map<string, Partial<Vm>>();
  operations = new Map<string, Partial<Operation>>();
  held: (() => void) | undefined; // answers a list of VMs that was read and not given yet
  hold = false;
  private stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  private revision = 10;

  readonly fetch = async (path: string, init: RequestInit = {}): Promise<Response> => {
    this.asked.push(path);
    if (path === '/v1/events') return this.events(init);
    if (this.failing && path.startsWith(this.failing)) return this.json({ code: 'unavailable', detail: 'etcd is away' }, 503);
    const found = this.answer(path);
    if (path.startsWith('/v1/vms?') && this.hold) await new Promise<void>((done) => (this.held = done));
    return found === undefined ? this.json({ code: 'not-found' }, 404) : this.json(found);
  };
  private json(body: Answer, status = 200): Response {
    return new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } });
  }
  private events(init: RequestInit): Response {
    this.ids.push((init.headers as Record<string, string>)['Last-Event-ID'] ?? '');
    return new Response(new ReadableStream<Uint8Array>({
      start: (c) => {
        this.stream = c;
        init.signal?.addEventListener('abort', () => (this.stream = undefined, c.error(new Error('aborted'))));
      },
    }));
  }
  private answer(path: string): unknown {
    const page = (items: unknown[]) => ({ items, revision: this.revision });
    const [at = '', query = ''] = path.split('?');
    const state = new URLSearchParams(query).get('state');
    const name = at.split('/')[3] ?? '';
    if (at === '/v1/whoami') return { name: 'olga', role: 'operator', host: 'a1' };
    if (at === '/v1/health') return { host: 'a1', ok: true };
    if (at === '/v1/ha') return { armed: true };
    if (at === '/v1/hosts') return page([{ id: 'a1', site: 'A', alive: true }]);
    if (at.endsWith('/if-lost')) return { vms: [] };
    if (at === '/v1/vms') return page([...this.vms.values()]);
    if (at.endsWith('/why')) return { vm: name, why: 'because' };
    if (at.startsWith('/v1/vms/')) return this.vms.get(name);
    if (at === '/v1/operations') return page(query.includes('kind=') ? [] : [...this.operations.values()].filter((o) => !state || o.state === state).reverse().slice(0, state ? undefined : 100));
    if (at.startsWith('/v1/operations/')) return this.operations.get(name);
    return page([]);
  }
  get open(): boolean {
    return this.stream !== undefined;
  }
  tell(type: string, object: string): void {
    this.stream?.enqueue(new TextEncoder().encode(`id: ${++this.revision}\nevent: ${type}\ndata: {"object":"${object}","revision":${this.revision}}\n\n`));
  }
  cut(): void {
    this.stream?.error(new Error('cut'));
    this.stream = undefined;
  }
  sign(): void {
    this.stream?.enqueue(new TextEncoder().encode(': still here\n\n'));
  }
  add(id: string, state: Operation['state'] = 'done'): void {
    this.operations.set(id, { id, kind: 'vm-start', vm: 'web', state, created_ms: 1, steps: [] });
  }
}

describe('the store', () => {
  let cell: Cell;
  let store: Store;
  const pass = (ms = 200): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
  const state = (id: string) => store.view.operations.get(id)?.state;
  beforeEach(() => {
    vi.useFakeTimers();
    cell = new Cell();
    store = new Store();
    vi.stubGlobal('fetch', cell.fetch);
    cell.vms.set('web', { name: 'web', state: 'running', protection: 'ha', protected: true });
  });
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  it('knows what is at work or waits for a person however old it is, and asks for what a list leaves out', async () => {
    cell.add('op-a', 'needs-operator');
    cell.add('op-b', 'undoing');
    cell.add('op-c', 'running');
    for (let i = 100; i < 230; ++i) cell.add(`op-${i}`);
    await store.start();
    expect([state('op-a'), state('op-b'), state('op-c'), state('op-100'), state('op-229')]).toEqual(['needs-operator', 'undoing', 'running', undefined, 'done']);
    for (const id of ['op-b', 'op-c']) cell.add(id);
    cell.operations.delete('op-a');
    for (let i = 200; i < 220; ++i) cell.tell('operation.changed', `op-${i}`);
    for (const id of ['op-a', 'op-b', 'op-c']) cell.tell('operation.changed', id);
    cell.asked = [];
    await pass();
    expect([state('op-a'), state('op-b'), state('op-c')]).toEqual([undefined, 'done', 'done']);
    expect(cell.asked.filter((p) => p.startsWith('/v1/operations')).length).toBe(4);
  });

  it('reads at most so many by themselves at a time, and all in the end', async () => {
    for (let i = 100; i < 300; ++i) cell.add(`op-${i}`, 'running');
    await store.start();
    for (let i = 100; i < 300; ++i) cell.add(`op-${i}`);
    for (let i = 100; i < 200; ++i) cell.tell('operation.changed', `op-${i}`);
    cell.asked = [];
    await pass();
    const alone = (): number => cell.asked.filter((p) => p.startsWith('/v1/operations/')).length;
    expect(alone()).toBe(50);
    await pass();
    expect(alone()).toBe(100);
    expect([state('op-100'), state('op-199')]).toEqual(['done', 'done']);
  });

  it('reads an operation again when its page is opened', async () => {
    cell.add('op-1', 'running');
    await store.start();
    cell.add('op-1');
    store.look('op-1');
    await pass();
    expect(state('op-1')).toBe('done');
  });

  it('is not live while what the stream named cannot be read, and asks less and less often', async () => {
    await store.start();
    expect(store.notLive).toBe(undefined);
    cell.failing = '/v1/vms';
    cell.tell('vm.changed', 'web');
    cell.asked = [];
    await pass();
    expect(store.notLive).toEqual({ because: 'behind', why: 'etcd is away' });
    const at = store.asOf;
    const tries = (): number => cell.asked.filter((p) => p.startsWith('/v1/vms')).length;
    expect(tries()).toBe(1);
    await pass(1_700);
    expect(tries()).toBe(1);
    cell.tell('audit.appended', '');
    await pass(14_000); // after 2, 6 and 14 s
    expect([tries(), store.asOf]).toEqual([4, at]);
    for (let i = 0; i < 6; ++i) {
      cell.sign();
      await pass(15_000);
    }
    expect([tries(), store.asOf]).toEqual([7, at]); // 30 s is the longest
    cell.failing = '';
    store.retry();
    await pass();
    expect([store.notLive, store.asOf > at]).toEqual([undefined, true]);
  });

  it('takes an object that is gone for no failure, and one that is removed stays away', async () => {
    await store.start();
    cell.vms.delete('web');
    cell.tell('vm.changed', 'web');
    await pass();
    expect([store.notLive, store.view.vms.size]).toEqual([undefined, 0]);
    cell.vms.set('web', { name: 'web', state: 'running', protection: 'ha', protected: true });
    cell.hold = true;
    cell.tell('host.changed', 'a1');
    await pass(); // the list was read with the VM in it, and its answer is on its way
    cell.hold = false;
    cell.vms.delete('web');
    cell.add('op-1');
    cell.tell('vm.removed', 'web');
    await pass(0);
    cell.held?.();
    await pass();
    expect(store.view.vms.size).toBe(0);
  });

  it('asks why a VM has no run-right that nobody is making', async () => {
    cell.vms.set('lost', { name: 'lost', state: 'unknown', protection: 'ha', protected: false });
    cell.vms.set('made', { name: 'made', state: 'creating', operation: 'op-1', protection: 'ha', protected: false });
    await store.start();
    expect([...store.view.whys.keys()]).toEqual(['lost']);
  });

  it('shows nothing before the forecasts are there', async () => {
    const seen: number[] = [];
    store.subscribe(() => store.view !== undefined && seen.push(store.view.ifLost.size));
    await store.start();
    cell.tell('reset', '');
    await pass();
    expect(new Set(seen)).toEqual(new Set([1]));
  });

  it('gives its stream back when nobody looks, and goes on where it stopped', async () => {
    await store.start();
    cell.tell('vm.changed', 'web');
    await pass();
    store.visible(false);
    await pass(4_900);
    store.visible(true); // only looked away
    await pass(10_000);
    expect([cell.open, cell.ids]).toEqual([true, ['9']]);
    store.visible(false);
    await pass(5_100);
    expect([cell.open, store.notLive?.because]).toEqual([false, 'asleep']);
    await pass(60_000);
    expect(cell.ids).toEqual(['9']);
    store.visible(true);
    expect(store.notLive?.because).toBe('asleep');
    cell.vms.set('unseen', { name: 'unseen', state: 'running', protection: 'ha', protected: true });
    await pass(0);
    expect([cell.open, store.notLive, cell.ids]).toEqual([true, { because: 'missed', why: '' }, ['9', '11']]);
    await pass();
    expect([store.notLive, [...store.view.vms.keys()]]).toEqual([undefined, ['web', 'unseen']]);
  });

  it('that was opened out of sight follows when it is seen', async () => {
    store.visible(false);
    await pass(6_000);
    await store.start();
    expect([store.stage.stage, cell.open, store.notLive?.because]).toEqual(['ready', false, 'asleep']);
    store.visible(true);
    await pass(0);
    expect([cell.open, store.notLive?.because]).toEqual([true, 'missed']);
    await pass();
    expect(store.notLive).toBe(undefined);
  });

  it('is not live again before what happened without a stream is read, also when a reading had begun before', async () => {
    await store.start();
    cell.hold = true;
    cell.tell('host.changed', 'a1');
    await pass(); // the list is on its way
    const early = cell.held;
    cell.cut();
    await pass(0);
    expect(store.notLive?.because).toBe('lost');
    const at = store.asOf;
    await pass(1_000);
    expect([cell.open, store.notLive]).toEqual([true, { because: 'missed', why: '' }]);
    early?.();
    await pass(0);
    expect(store.notLive?.because).toBe('missed');
    cell.hold = false;
    cell.failing = '/v1/vms';
    await pass();
    expect(store.notLive).toEqual({ because: 'behind', why: 'etcd is away' });
    cell.failing = '';
    await pass(2_200);
    expect([store.notLive, store.asOf > at]).toEqual([undefined, true]);
  });
});
