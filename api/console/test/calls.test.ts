import { afterEach, describe, expect, it, vi } from 'vitest';
import { all, ApiError, change, get } from '../src/api';
import { joined, KEPT, refreshed, trail } from '../src/audit';
import { Flow } from '../src/flow';
import { firstLang, size, words } from '../src/words';

const json = (body: unknown, status = 200): Response => new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } });
function answers(reply: (path: string, init: RequestInit) => Response | Promise<Response>): { path: string; init: RequestInit }[] {
  const calls: { path: string; init: RequestInit }[] = [];
  vi.stubGlobal('fetch', (path: string, init: RequestInit) => {
    calls.push({ path, init });
    return Promise.resolve(reply(path, init));
  });
  return calls;
}
afterEach(() => vi.unstubAllGlobals());

describe('a call', () => {
  it('fails with the API’s own words', async () => {
    answers(() => json({ title: 'Not possible in this state', detail: 'operation op-1 is at work', code: 'conflict', status: 409 }, 409));
    await expect(get('/v1/x')).rejects.toMatchObject({ message: 'operation op-1 is at work', code: 'conflict', unsettled: false });
  });
  it('that was not answered is unsettled', async () => {
    answers(() => Promise.reject(new TypeError('Failed to fetch')));
    await expect(get('/v1/x')).rejects.toMatchObject({ status: 0, unsettled: true });
  });
  it.each<[number, string, boolean]>([
    [504, 'outcome-unknown', true], [504, 'timeout', true], [503, 'unavailable', false], [500, 'internal', true], [507, 'exhausted', false],
    [409, 'conflict', false], [412, 'stale', false], [403, 'forbidden', false], [400, 'invalid', false],
  ])('that was answered %i %s is unsettled: %s', (status, code, expected) => expect(new ApiError(status, code, '', '').unsettled).toBe(expected));
  it('whose answer was cut is unsettled too', async () => {
    answers(() => new Response('{"operation":"op-', { status: 202, headers: { 'Content-Type': 'application/json' } }));
    await expect(change({ path: '/v1/p' }, 'é', { key: 'k', dryRun: false })).rejects.toMatchObject({ status: 0, code: 'connection', unsettled: true });
    answers(() => new Response(new ReadableStream({ start: (c) => c.error(new Error('timed out')) }), { status: 202 }));
    await expect(change({ path: '/v1/p' }, 'é', { key: 'k', dryRun: false })).rejects.toMatchObject({ message: 'timed out', unsettled: true });
  });
  it('reads all pages, and keeps the oldest revision', async () => {
    const calls = answers((path) => json(path.includes('after=b') ? { items: ['c'], revision: 8 } : { items: ['a', 'b'], next: 'b', revision: 9 }));
    expect(await all('/v1/vms?fields=full')).toEqual({ items: ['a', 'b', 'c'], revision: 8 });
    expect(calls.map((c) => c.path)).toEqual(['/v1/vms?fields=full', '/v1/vms?fields=full&after=b']);
  });
  it('that changes something says why, and has its key only when it is meant', async () => {
    const calls = answers(() => json({ operation: 'op', unchanged: false, replayed: false, plan: [] }));
    await change({ path: '/v1/p', body: { on: true }, revision: 7 }, 'é', { key: 'k', dryRun: true });
    await change({ path: '/v1/p', body: { on: true } }, 'é', { key: 'k', dryRun: false });
    expect(calls.map((c) => c.path)).toEqual(['/v1/p?dry_run=true', '/v1/p']);
    expect(calls.map((c) => c.init.body)).toEqual(['{"on":true,"reason":"é"}', '{"on":true,"reason":"é"}']);
    expect(calls.map((c) => c.init.headers)).toEqual([
      { 'Content-Type': 'application/json', 'If-Match': '"7"' }, { 'Content-Type': 'application/json', 'Idempotency-Key': 'k' }]);
  });
});

describe('a change in its dialog', () => {
  const plan = { operation: '', unchanged: false, replayed: false, plan: [] };
  const asked = (reason: string) => ({ change: { path: '/v1/p', revision: 7 }, reason });
  /** Each call waits until the test answers it. */
  const begun = () => {
    const calls: { what: unknown; reason: string; dryRun: boolean; key: string; answer(x?: ApiError): void }[] = [];
    const seen: string[] = [];
    const flow: Flow = new Flow('k', () => seen.push(flow.phase.at), (what, reason, how) =>
      new Promise((done, failed) => calls.push({ what, reason, ...how, answer: (x) => (x ? failed(x) : done(plan)) })));
    return { flow, calls, seen };
  };
  it('is asked once, and sends what was shown', async () => {
    const { flow, calls, seen } = begun();
    const first = flow.ask(asked('the first'), false);
    await flow.ask(asked('the second'), false); // asked again before the answer
    calls[0]?.answer();
    await first;
    await flow.ask(asked('the third'), false);
    const done = flow.act();
    await flow.act(); // clicked twice
    await flow.ask(asked('the fourth'), false);
    flow.back();
    expect(flow.sending).toBe(true);
    calls[1]?.answer();
    expect(await done).toEqual(plan);
    expect(seen).toEqual(['asking', 'plan', 'sending']);
    expect(calls.map(({ what, reason, dryRun, key }) => ({ what, reason, dryRun, key }))).toEqual([true, false].map((dryRun) =>
      ({ what: { path: '/v1/p', revision: 7 }, reason: 'the first', dryRun, key: 'k' })));
  });
  it('is unsettled by a lost answer only when it was sent', async () => {
    const { flow, calls } = begun();
    const dry = flow.ask(asked('r'), false);
    calls[0]?.answer(new ApiError(504, 'timeout', '', 'no etcd'));
    await dry;
    expect([flow.phase.at, flow.unsettled, String(flow.error)]).toEqual(['ask', false, 'Error: no etcd']);
    await flow.ask(asked('r'), true);
    expect([flow.phase.at, flow.error]).toEqual(['plan', undefined]);
    const sent = flow.act();
    calls[1]?.answer(new ApiError(504, 'timeout', '', 'no etcd'));
    expect([await sent, flow.phase.at, flow.unsettled]).toEqual([undefined, 'plan', true]);
  });
  it.each<[number, string, boolean]>([
    [503, 'unavailable', true], [507, 'exhausted', true], [429, 'too-many', true], [0, 'connection', true],
    [409, 'conflict', false], [412, 'stale', false], [400, 'invalid', false],
  ])('that was unsettled and then answered %i %s is unsettled: %s', async (status, code, expected) => {
    const { flow, calls } = begun();
    await flow.ask(asked('r'), true);
    for (const e of [new ApiError(504, 'outcome-unknown', '', ''), new ApiError(status, code, '', 'the second')]) {
      const sent = flow.act();
      calls.at(-1)?.answer(e);
      await sent;
    }
    expect([flow.unsettled, String(flow.error)]).toEqual([expected, 'Error: the second']);
    flow.back();
    await flow.ask(asked('r'), true);
    expect(flow.unsettled).toBe(expected);
    const sent = flow.act();
    calls.at(-1)?.answer();
    await sent;
    flow.phase = { at: 'plan', asked: asked('r'), plan };
    expect(flow.unsettled).toBe(false);
  });
  it('whose dialog was closed during its dry run says nothing any more', async () => {
    const { flow, calls, seen } = begun();
    const dry = flow.ask(asked('r'), false);
    flow.end();
    calls[0]?.answer();
    await dry;
    expect(seen).toEqual(['asking']);
  });
});

describe('the trail', () => {
  const chain = (total: number, mine: (n: number) => boolean) => answers((path) => {
    const q = new URL(path, 'https://x').searchParams;
    const from = Number(q.get('from') ?? 1);
    const items = [];
    for (let n = from; n < from + Number(q.get('limit')) && n <= total; ++n) if (mine(n)) items.push({ sequence: n });
    return json({ items, revision: 1, head: { sequence: total, hash: '' } });
  });
  it('shows the newest first and leaves none out between two pages', async () => {
    chain(1234, () => true);
    const first = await trail(0, '');
    expect([first.records[0]?.sequence, first.records.at(-1)?.sequence, first.before]).toEqual([1234, 1185, 1184]);
    const next = await trail(first.before, '');
    expect([next.records[0]?.sequence, next.records.length]).toEqual([1184, 50]);
  });
  it('looks through a bounded part of the chain for what is rare, and goes on from there', async () => {
    const calls = chain(10_000, (n) => n === 7 || n === 9_000);
    const first = await trail(0, 'vm/web');
    expect(first.records.map((r) => r.sequence)).toEqual([9_000]);
    expect([first.before, calls.length]).toEqual([7_000, 7]);
    expect(calls[1]?.path).toContain('object=vm%2Fweb');
    const last = await trail(500, 'vm/web');
    expect([last.records.map((r) => r.sequence), last.before]).toEqual([[7], 0]);
  });
  it('of an empty chain is empty', async () => {
    chain(0, () => true);
    expect(await trail(0, '')).toEqual({ records: [], top: 0, before: 0 });
  });
  it('keeps what is older when new records come, and takes none twice', () => {
    const of = (top: number, before: number, ...sequences: number[]) => ({ top, before, records: sequences.map((sequence) => ({ sequence })) as never[] });
    const shown = of(10, 4, 10, 8, 5);
    expect(joined(of(12, 6, 12, 8), shown)).toEqual(of(12, 4, 12, 8, 5));
    expect(joined(shown, of(4, 1, 4, 2))).toEqual(of(10, 1, 10, 8, 5, 4, 2));
    expect(joined(joined(shown, of(4, 1, 4, 2)), of(4, 1, 4, 2))).toEqual(of(10, 1, 10, 8, 5, 4, 2)); // asked for twice
    expect(joined(of(90, 40, 90, 41), shown)).toEqual(of(90, 40, 90, 41)); // they do not meet
    expect(joined(of(12, 6, 12), undefined)).toEqual(of(12, 6, 12));
  });
  it('does not grow for ever by what is new, and what went can be asked for again', async () => {
    const of = (top: number, down: number) => ({ top, before: down - 1, records: Array.from({ length: top - down + 1 }, (_, i) => ({ sequence: top - i })) as never[] });
    expect(refreshed(of(12, 6), undefined, false)).toEqual(of(12, 6));
    expect(refreshed(of(1_010, 961), of(1_000, 11), false)).toEqual(of(1_010, 11)); // not more than is kept
    expect(refreshed(of(1_040, 991), of(1_010, 11), false)).toEqual(of(1_040, 1_041 - KEPT));
    expect(refreshed(of(1_040, 991), of(1_010, 11), true)).toEqual(of(1_040, 11)); // older ones are on their way
    expect(refreshed(of(2_010, 1_961), of(2_000, 501), false)).toEqual(of(2_010, 511)); // that many were asked for
    chain(1_040, () => true);
    const short = refreshed(of(1_040, 991), of(1_010, 11), false);
    expect(joined(short, await trail(short.before, ''))).toEqual(of(1_040, 1));
  });
});

describe('words', () => {
  it('are there in both languages', () => {
    const empty = Object.entries(words.fr).filter(([, v]) => v === '').map(([k]) => k);
    expect(empty).toEqual([]);
    for (const part of ['act', 'states', 'opStates', 'outcomes', 'rep', 'warnAct', 'fields', 'noDryRuns', 'outageWhys', 'deliveries', 'alertSeverities', 'fAlerts'] as const) {
      expect(Object.keys(words.fr[part])).toEqual(Object.keys(words.en[part]));
    }
    expect(firstLang(['de-DE', 'fr-CA', 'en'])).toBe('fr');
    expect(firstLang(['de'])).toBe('en');
  });
  it('give sizes shortly', () => {
    expect([size('en', 64), size('en', 1536), size('fr', 1536), size('en', 20480), size('en', 1048512)]).toEqual(['64 MiB', '1.5 GiB', '1,5 Gio', '20 GiB', '1 TiB']);
  });
});
