import { describe, expect, it } from 'vitest';
import { bodyOf, cellActions, hostActions, operationActions, vmActions, volumeActions } from '../src/actions';
import type { Me, Operation, Vm } from '../src/types';

const operator: Me = { name: 'olga', role: 'operator', host: 'a1' };
const client: Me = { name: 'carl', role: 'client', project: 'blue', host: 'a1' };
const auditor: Me = { name: 'anna', role: 'auditor', host: 'a1' };
const base = {
  name: 'web', power: 'on', protection: 'ha', state: 'running', host: 'a1', protected: true, revision: 7, status: {},
  right: { epoch: 1, host: 'a1', insync: {} },
} as unknown as Vm;
const names = (vm: Partial<Vm>, me: Me, alive = true): string =>
  vmActions({ ...base, ...vm } as Vm, me, () => alive).map((a) => a.name).join(' ');

describe('what is offered for a VM', () => {
  it.each<[string, Me, Partial<Vm>, boolean, string]>([
    ['an operator, while it runs', operator, {}, true, 'shutdown reset power-off migrate'],
    ['an operator, while it is off', operator, { power: 'off', state: 'off' }, true, 'start'],
    ['an operator, when its host is lost', operator, { state: 'unknown' }, false, 'shutdown reset power-off failover'],
    ['an operator, away from home', operator, { failback: { ready: true, checks: [] } }, true, 'shutdown reset power-off migrate failback'],
    ['an operator, out of sync', operator, { protected: false }, true, 'shutdown reset power-off migrate'],
    ['an operator, after a split brain', operator, { protected: false, status: { a1: { domain: 'running', connection: 'StandAlone', volumes: {} } } }, true, 'shutdown reset power-off migrate repair'],
    ['an operator, with one leg and a lost host', operator, { protection: 'none', state: 'unknown' }, false, 'shutdown reset power-off'],
    ['a client, while it runs', client, {}, true, 'shutdown reset power-off'],
    ['a client, while it is down', client, { state: 'down' }, true, 'start shutdown reset power-off'],
    ['an auditor', auditor, {}, true, ''],
    ['anybody, while it is being made', operator, { right: undefined }, true, ''],
  ])('to %s', (_, me, vm, alive, expected) => expect(names(vm, me, alive)).toBe(expected));

  it('carries the revision that was seen', () => {
    const change = vmActions(base, operator, () => true)[0]?.change;
    expect(change).toEqual({ path: '/v1/vms/web/actions/shutdown', revision: 7 });
  });
});

describe('other changes', () => {
  it('are an operator’s alone', () => {
    const host = { id: 'a1', maintenance: true } as never;
    expect(hostActions(host, operator).map((a) => [a.name, a.change.body])).toEqual([['maintenance-off', { on: false }], ['prove-watchdog', undefined]]);
    expect([...hostActions(host, auditor), ...cellActions(true, client), ...volumeActions(base, { name: 'root', size_mib: 8 }, client)]).toEqual([]);
    expect(cellActions(true, operator)[0]?.name).toBe('disarm');
    expect(cellActions(false, operator)[0]?.name).toBe('arm');
  });

  it('on an operation are for who may: its author cancels it, another approves it', () => {
    const op = { id: 'op-1', state: 'running', cancel_requested: false, author: { name: 'olga', role: 'operator' }, steps: [{ kind: 'await-approval', host: 'a1', state: 'pending' }] } as unknown as Operation;
    const of = (me: Me, more: Partial<Operation> = {}): string => operationActions({ ...op, ...more }, me).map((a) => a.name).join(' ');
    expect(of(operator)).toBe('cancel');
    expect(of({ ...operator, name: 'otto' })).toBe('approve cancel');
    expect(of(client)).toBe('');
    expect(of(client, { author: { name: 'carl', role: 'client' } })).toBe('cancel');
    expect(of(operator, { state: 'done' })).toBe('');
    expect(of(operator, { cancel_requested: true })).toBe('');
  });

  it('send what the fields hold and nothing that is empty', () => {
    const grow = volumeActions(base, { name: 'root', size_mib: 64 }, operator).find((a) => a.name === 'grow');
    expect(grow && bodyOf(grow, { size_mib: '128' })).toEqual({ size_mib: 128 });
    const failover = vmActions({ ...base, state: 'unknown' } as Vm, operator, () => false).find((a) => a.name === 'failover');
    expect(failover && bodyOf(failover, { host_is_off: false, sacrifice: '' })).toEqual({});
    expect(failover && bodyOf(failover, { host_is_off: true, sacrifice: 'a1' })).toEqual({ host_is_off: true, sacrifice: 'a1' });
  });
});
