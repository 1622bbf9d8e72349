// Which changes a person is offered where. The server decides each again; what it refuses, the dry run says. Pure.
import type { Change } from './api';
import type { Alert, Host, Me, Operation, Vm } from './types';

export interface Field { name: string; kind: 'check' | 'policy' | 'host' | 'number'; least?: number; hosts?: string[] }
export interface Action {
  name: string; // a word of words.act
  object: string; // what it is done to, for the heading
  change: Change;
  fields?: Field[];
  danger?: boolean;
  noDryRun?: boolean;
  stays?: boolean; // no operation comes of it whose page would be next
}

const POLICY: Field = { name: 'policy', kind: 'policy' };

function ofVm(vm: Vm, name: string, more: Partial<Action> = {}): Action {
  return { name, object: vm.name, change: { path: `/v1/vms/${vm.name}/actions/${name}`, revision: vm.revision }, ...more };
}

export function vmActions(vm: Vm, me: Me, hostAlive: (id: string) => boolean): Action[] {
  const operator = me.role === 'operator';
  if (!operator && me.role !== 'client') return [];
  if (vm.right === undefined || vm.state === 'removing') return [];
  const out: Action[] = [];
  const on = vm.power === 'on';
  const alive = operator ? hostAlive(vm.host) : vm.state !== 'unknown';
  if (!on || vm.state === 'down' || vm.state === 'crashed') out.push(ofVm(vm, 'start'));
  if (on) out.push(ofVm(vm, 'shutdown'), ofVm(vm, 'reset', { danger: true }), ofVm(vm, 'power-off', { danger: true }));
  if (!operator) return out;
  if (vm.state === 'running') out.push(ofVm(vm, 'migrate', { fields: [POLICY] }));
  if (vm.failback) out.push(ofVm(vm, 'failback', { fields: [POLICY] }));
  if (!alive && vm.protection !== 'none') {
    const fields: Field[] = [{ name: 'host_is_off', kind: 'check' }, { name: 'sacrifice', kind: 'host', hosts: [vm.host] }];
    out.push(ofVm(vm, 'failover', { danger: true, fields }));
  }
  if (vm.protection === 'backup') out.push(ofVm(vm, 'copy'));
  // DRBD lets go of a peer whose data differ; hostd connects what the record allows, so this stays only after a split brain.
  if (alive && vm.status[vm.host]?.connection === 'StandAlone') out.push(ofVm(vm, 'repair', { danger: true }));
  return out;
}

export function volumeActions(vm: Vm, volume: { name: string; size_mib: number }, me: Me): Action[] {
  if (me.role !== 'operator') return [];
  const of = (name: string, fields?: Field[]): Action => ({
    name, object: `${vm.name}/${volume.name}`, fields, change: { path: `/v1/volumes/${vm.name}/${volume.name}/actions/${name}`, revision: vm.revision },
  });
  const out = [of('grow', [{ name: 'size_mib', kind: 'number', least: volume.size_mib + 1 }])];
  if (vm.protection !== 'none') out.unshift(of('verify'));
  return out;
}

export function hostActions(host: Host, me: Me): Action[] {
  if (me.role !== 'operator') return [];
  const path = `/v1/hosts/${host.id}/actions/`;
  const on = !host.maintenance;
  const out: Action[] = [{ name: on ? 'maintenance-on' : 'maintenance-off', object: host.id, change: { path: path + 'maintenance', body: { on } } }];
  if (host.maintenance) out.push({ name: 'prove-watchdog', object: host.id, danger: true, change: { path: path + 'prove-watchdog' } });
  return out;
}

export function cellActions(armed: boolean, me: Me): Action[] {
  if (me.role !== 'operator') return [];
  const name = armed ? 'disarm' : 'arm';
  return [{ name, object: '', danger: armed, change: { path: `/v1/ha/actions/${name}` } }];
}

export function operationActions(op: Operation, me: Me): Action[] {
  const of = (name: string, danger: boolean): Action => ({ name, object: op.id, danger, noDryRun: true, change: { path: `/v1/operations/${op.id}/actions/${name}` } });
  if (op.state !== 'running') return [];
  const out: Action[] = [];
  const waits = op.steps.find((s) => s.state === 'pending')?.kind === 'await-approval';
  if (me.role === 'operator' && waits && op.author.name !== me.name) out.push(of('approve', true));
  if (me.role === 'operator' || (me.role === 'client' && op.author.name === me.name)) {
    if (!op.cancel_requested) out.push(of('cancel', false));
  }
  return out;
}

export function alertActions(alert: Alert, me: Me): Action[] {
  if (me.role !== 'operator' || alert.acked_ms !== 0) return [];
  return [{ name: 'ack', object: alert.title, noDryRun: true, stays: true, change: { path: `/v1/alerts/${alert.id}/actions/ack` } }];
}

/** What the fields hold, as the body's members; empty ones are left out. */
export function bodyOf(action: Action, values: Record<string, string | boolean>): Record<string, unknown> {
  const body: Record<string, unknown> = { ...action.change.body };
  for (const f of action.fields ?? []) {
    const v = values[f.name];
    if (v === undefined || v === '' || v === false) continue;
    body[f.name] = f.kind === 'number' ? Number(v) : v;
  }
  return body;
}
