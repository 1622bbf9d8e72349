import { afterEach, describe, expect, it, vi } from 'vitest';
import { alertActions } from '../src/actions';
import { sorted, stands, unseen } from '../src/alerts';
import { Store } from '../src/store';
import type { Alert } from '../src/types';

function alert(id: string, more: Partial<Alert> = {}): Alert {
  return { id, kind: 'host-silent', severity: 'critical', vm: '', host: 'b1', operation: '', title: id, what: '', did: '', todo: '', hint: '',
    created_ms: 1, ended_ms: 0, reporter: 'a1', acked_by: '', ack_reason: '', acked_ms: 0, deliveries: {}, ...more };
}

describe('an alert', () => {
  it.each<[string, Partial<Alert>, boolean]>([
    ['a state that lasts', {}, true],
    ['a state that lasts and somebody knows of', { acked_ms: 5 }, true],
    ['a state that is over', { ended_ms: 5 }, false],
    ['a moment', { kind: 'failover-decided' }, true],
    ['a moment that somebody knows of', { kind: 'failover-decided', acked_ms: 5 }, false],
    ['a moment of an older kind that has an end', { kind: 'needs-operator', ended_ms: 5 }, true],
    ['the daily message', { kind: 'heartbeat', severity: 'info' }, false],
    ['good news', { kind: 'failover-done', severity: 'info' }, false],
  ])('stands or not: %s', (_, more, expected) => expect(stands(alert('x', more))).toBe(expected));

  it('stands with the worst and then the newest first; the past is in order of time', () => {
    const all = [alert('old'), alert('new', { created_ms: 9 }), alert('warn', { severity: 'warning', created_ms: 99 }),
      alert('gone', { ended_ms: 7, created_ms: 3 }), alert('info', { severity: 'info', created_ms: 4 })];
    expect(sorted(all).standing.map((a) => a.id)).toEqual(['new', 'old', 'warn']);
    expect(sorted(all).past.map((a) => a.id)).toEqual(['info', 'gone']);
    expect(unseen([...all, alert('known', { acked_ms: 5 })])).toBe(3);
  });

  it('is acknowledged by operators, once', () => {
    const of = (role: 'operator' | 'auditor', more: Partial<Alert> = {}): unknown => alertActions(alert('host-silent-b1', more), { name: 'x', role, host: 'a1' }).map((a) => a.change);
    expect(of('operator')).toEqual([{ path: '/v1/alerts/host-silent-b1/actions/ack' }]);
    expect(of('operator', { acked_ms: 5 })).toEqual([]);
    expect(of('auditor')).toEqual([]);
  });
});

describe('the store', () => {
  afterEach(() => vi.unstubAllGlobals());
  const reads = async (role: string): Promise<{ store: Store; paths: string[] }> => {
    const paths: string[] = [];
    vi.stubGlobal('fetch', (path: string) => {
      paths.push(path);
      const body = path === '/v1/whoami' ? { name: 'x', role, host: 'a1' } : path.startsWith('/v1/alerts') ? { items: [alert('one')], revision: 4 }
        : path === '/v1/events' ? {} : { items: [], revision: 9, armed: true };
      return Promise.resolve(new Response(JSON.stringify(body), { headers: { 'Content-Type': 'application/json' } }));
    });
    const store = new Store();
    await store.start();
    return { store, paths };
  };
  it('reads the alerts of operators and auditors, and none for a client', async () => {
    expect([...(await reads('auditor')).store.alerts.keys()]).toEqual(['one']);
    const client = await reads('client');
    expect(client.store.alerts.size).toBe(0);
    expect(client.paths.filter((p) => p.startsWith('/v1/alerts'))).toEqual([]);
  });
});
