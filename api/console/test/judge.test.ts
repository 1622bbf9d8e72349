import { describe, expect, it } from 'vitest';
import { current, findings, isNewest, keyed, replication, verdict, type View } from '../src/judge';
import type { Alert, Host, Operation, Vm } from '../src/types';
import { words } from '../src/words';

const w = words.en;

function vm(more: Partial<Vm> = {}): Vm {
  return {
    name: 'web', project: 'blue', cpus: 1, memory_mib: 64, hosts: { nominal: 'a1', peer: 'b1' }, power: 'on', protection: 'ha',
    priority: 100, copy_at: [], drill_every_days: 0, migration_policy: 'standard', volumes: [{ name: 'root', size_mib: 64 }], networks: [], revision: 5,
    state: 'running', host: 'a1', protected: true, right: { epoch: 1, host: 'a1', insync: {} },
    status: { a1: { domain: 'running', connection: 'Connected', volumes: { root: { replication: 'Established', out_of_sync_kib: 0 } } } }, ...more,
  };
}
function host(id: string, more: Partial<Host> = {}): Host {
  return { id, site: id === 'a1' ? 'A' : 'B', alive: true, cpus: 4, memory_mib: 600, pool_free_mib: 100, vms: 0, ...more };
}
function operation(more: Partial<Operation>): Operation {
  return { id: 'op-1', kind: 'vm-start', vm: 'web', author: { name: 'olga', role: 'operator' }, reason: 'r', created_ms: 1, state: 'done', cancel_requested: false, steps: [], ...more };
}
function view(more: Partial<View> = {}): View {
  return {
    me: { name: 'olga', role: 'operator', host: 'a1' }, health: { host: 'a1', ok: true, etcd: true, libvirt: true, drbd: true, sentence: '' },
    ha: { armed: true }, hosts: new Map([['a1', host('a1')], ['b1', host('b1')]]), vms: new Map([['web', vm()]]), operations: new Map(),
    ifLost: new Map(), whys: new Map(), alerts: new Map(), ...more,
  };
}
function alerts(...all: Partial<Alert>[]): View {
  return view({ alerts: new Map(all.map((a, i) => [String(i), { severity: 'warning', vm: '', host: '', ended_ms: 0, acked_ms: 0, what: 'w', todo: 't', ...a } as Alert])) });
}
const health = (...warnings: string[]): View => view({ health: { host: 'a1', ok: true, etcd: true, libvirt: true, drbd: true, sentence: '', warnings } });
const said = (v: View): string[] => findings(v, w, 'en').map((f) => `${f.severity}: ${f.title}`);
const withVm = (more: Partial<Vm>): View => view({ vms: new Map([['web', vm(more)]]) });

describe('the first screen', () => {
  it('says that everything holds only when nothing is found and the connection stands', () => {
    expect(said(view())).toEqual([]);
    expect(verdict([], true, w)).toEqual({ level: 'good', sentence: 'Everything holds' });
    expect(verdict([], false, w).level).toBe('unknown');
  });

  it.each<[string, View]>([
    ['bad: Host a1 misses a part', view({ health: { host: 'a1', ok: false, etcd: false, libvirt: true, drbd: true, sentence: 'etcd' } })],
    ['bad: Host b1 is silent', view({ hosts: new Map([['b1', host('b1', { alive: false })]]) })],
    ['note: Host b1 is in maintenance', view({ hosts: new Map([['b1', host('b1', { maintenance: true })]]) })],
    ['warn: Automatic failover is disarmed', view({ ha: { armed: false } })],
    ['bad: web is frozen', withVm({ state: 'frozen' })],
    ['bad: web is not known', withVm({ state: 'unknown', protected: false })],
    ['bad: web is not known', withVm({ state: 'unknown', protected: false, right: undefined, host: '', status: {} })], // after a restore of the cell
    ['warn: Host a1 warns', health('this host\'s certificate ends in 3 days')],
    ['warn: A member of etcd is not reached', alerts({ kind: 'etcd-voter-lost' })],
    ['warn: A certificate of host b1 ends soon', alerts({ kind: 'certificate-expiring', host: 'b1', acked_ms: 5 })],
    ['bad: web: the link between its legs is refused', alerts({ kind: 'split-brain', vm: 'web', host: 'a1', severity: 'critical' })],
    ['bad: web is not protected', withVm({ protected: false, status: { a1: { domain: 'running', connection: 'Connecting', volumes: { root: { out_of_sync_kib: 9 } } } } })],
    ['warn: web is not protected yet: 2 MiB left to copy', withVm({ protected: false, status: { a1: { domain: 'running', connection: 'Connected', volumes: { root: { replication: 'SyncSource', out_of_sync_kib: 2000 } } } } })],
    ['bad: web: the last vm-copy did not end well', withVm({ last: { 'vm-copy': { when_ms: 1, good: false, text: 't', operation: 'o' } } })],
    ['note: web runs away from home, on b1', withVm({ host: 'b1', failback: { ready: true, checks: [] } })],
    ['bad: An operation needs a person: vm-start web', view({ operations: new Map([['op-1', operation({ state: 'needs-operator' })]]) })],
    ['warn: If a1 were lost now, one VM would not start by itself', view({ ifLost: new Map([['a1', [{ vm: 'web', outcome: 'stays', text: 'no memory' }]]]) })],
  ])('names %s', (expected, v) => expect(said(v)).toEqual([expected]));

  it.each<[string, View]>([
    ['a VM that is off as asked', withVm({ state: 'off', power: 'off' })],
    ['a VM that is being made', withVm({ state: 'creating', protected: false, right: undefined })],
    ['a VM that is being made, before its operation is known', withVm({ state: 'unknown', operation: 'op-1', protected: false, right: undefined })],
    ['alerts that are over, that something else tells, or that were only told', alerts({ kind: 'etcd-voter-lost', ended_ms: 5 }, { kind: 'vm-down', vm: 'web' }, { kind: 'heartbeat', severity: 'info' })],
    ['an old import that needed a person, when its image was imported since', view({ operations: new Map([['op-1', operation({ vm: '', kind: 'image-import', object: 'deb', state: 'needs-operator' })], ['op-2', operation({ id: 'op-2', vm: '', kind: 'image-import', object: 'deb', created_ms: 2 })]]) })],
    ['one leg, as asked', withVm({ protection: 'none', protected: false })],
    ['a cold copy', withVm({ protection: 'backup', protected: false })],
    ['an old operation that needed a person, when a newer one came after it', view({ operations: new Map([['op-1', operation({ state: 'needs-operator' })], ['op-2', operation({ id: 'op-2', created_ms: 2 })]]) })],
    ['a mirror that a person starts', view({ vms: new Map([['web', vm({ protection: 'mirror' })]]), ifLost: new Map([['a1', [{ vm: 'web', outcome: 'waits', text: 't' }]]]) })],
  ])('is silent about %s', (_, v) => expect(said(v)).toEqual([]));

  it('tells what is bad first, and one cause once', () => {
    const many = new Map(['x', 'y', 'z'].map((n) => [n, vm({ name: n })]));
    const v = view({ vms: many, ha: { armed: true }, hosts: new Map([['a1', host('a1', { maintenance: true })], ['b1', host('b1', { alive: false })]]),
      ifLost: new Map([['a1', ['x', 'y', 'z'].map((n) => ({ vm: n, outcome: 'stays' as const, text: 'b1 is silent' }))]]) });
    expect(said(v)).toEqual(['bad: Host b1 is silent', 'warn: If a1 were lost now, 3 VMs would not start by themselves', 'note: Host a1 is in maintenance']);
    expect(verdict(findings(v, w, 'en'), true, w)).toEqual({ level: 'bad', sentence: 'One thing does not hold' });
  });

  it('keeps hostd’s own words apart from its own', () => {
    const of = (v: View) => findings(v, words.fr, 'fr').map((f) => [f.text, f.said, f.todo]);
    expect(of(health('one', 'two'))).toEqual([[undefined, 'one', undefined], [undefined, 'two', undefined]]);
    expect(of(withVm({ host: 'b1', failback: { ready: false, checks: [{ what: 'legs', ready: false, text: 'a leg lacks data' }] } }))).toEqual([
      [words.fr.fAwayNot, 'a leg lacks data.', undefined]]);
    expect(of(alerts({ kind: 'etcd-voter-lost', what: 'w', todo: 't' }))).toEqual([[undefined, 'w', 't']]);
  });

  it('has a key for each finding that the others do not change', () => {
    const keys = (v: View): string[] => keyed(findings(v, w, 'en')).map(([key]) => key);
    const two = keys(health('one', 'two'));
    expect(new Set(two).size).toBe(2);
    const v = health('one', 'two');
    v.vms.set('web', vm({ state: 'frozen' }));
    expect(keys(v).slice(1)).toEqual(two);
  });

  it('does not tell for each VM that failover is disarmed', () => {
    const v = view({ ha: { armed: false }, ifLost: new Map([['a1', [{ vm: 'web', outcome: 'waits', text: 'disarmed' }]]]) });
    expect(said(v)).toEqual(['warn: Automatic failover is disarmed']);
  });
});

describe('replication', () => {
  const with_ = (connection: string, state: string, more: Partial<Vm> = {}): string =>
    replication(view(), vm({ status: { a1: { domain: 'running', connection, volumes: { root: { replication: state, out_of_sync_kib: 1 } } } }, ...more })).kind;
  it('is in sync only by the record and the link', () => {
    expect(with_('Connected', 'Established')).toBe('sync');
    expect(with_('Connected', 'Established', { protected: false })).toBe('syncing');
    expect(with_('Connected', 'SyncSource')).toBe('syncing');
    expect(with_('StandAlone', 'Off')).toBe('cut');
    expect(replication(view(), vm({ status: {} })).kind).toBe('unknown');
    expect(with_('Connected', 'Established', { protection: 'none' })).toBe('single');
    expect(with_('Connected', 'Established', { protection: 'backup' })).toBe('cold');
  });
  it('is not known, nor what is protected, when the host that holds the VM is silent', () => {
    const silent = view({ hosts: new Map([['a1', host('a1', { alive: false })], ['b1', host('b1')]]) });
    const client = view({ me: { name: 'carl', role: 'client', project: 'blue', host: 'a1' }, hosts: new Map() });
    const known = (v: View, more: Partial<Vm> = {}) => [current(v, vm(more)), replication(v, vm(more)).kind];
    expect(known(silent, { state: 'migrating' })).toEqual([false, 'unknown']);
    expect(known(silent, { host: 'b1', status: { b1: vm().status.a1 as never } })).toEqual([true, 'sync']);
    expect(known(client)).toEqual([true, 'sync']);
    expect(known(client, { state: 'unknown' })).toEqual([false, 'unknown']);
    expect(replication(silent, vm({ protection: 'none' })).kind).toBe('single');
  });
});

describe('the newest operation', () => {
  it('is of its VM or image; without one, of its kind and host', () => {
    const a = operation({ id: 'a', created_ms: 5 });
    expect(isNewest(a, [a, operation({ id: 'b', created_ms: 5 })])).toBe(false);
    expect(isNewest(a, [a, operation({ id: 'b', created_ms: 9, vm: 'db' })])).toBe(true);
    const m = operation({ id: 'm', vm: '', kind: 'host-maintenance', target_host: 'a1' });
    expect(isNewest(m, [m, operation({ id: 'n', created_ms: 9, vm: '', kind: 'host-maintenance', target_host: 'b1' })])).toBe(true);
    expect(isNewest(m, [m, operation({ id: 'n', created_ms: 9, vm: '', kind: 'host-maintenance', target_host: 'a1' })])).toBe(false);
    const i = operation({ id: 'i', vm: '', kind: 'image-import', object: 'deb' });
    expect(isNewest(i, [i, operation({ id: 'n', created_ms: 9, vm: '', kind: 'image-import', object: 'other' })])).toBe(true);
    expect(isNewest(i, [i, operation({ id: 'n', created_ms: 9, vm: '', kind: 'image-remove', object: 'deb' })])).toBe(false);
  });
});
