// What the first screen says: does everything hold, and what does not. Pure; the words are words.ts.
import { stands } from './alerts';
import type { Alert, Ha, Health, Host, IfLost, Me, Operation, Vm, Why } from './types';
import { size, time, type Lang, type Words } from './words';

export interface View {
  me: Me;
  health: Health;
  ha: Ha;
  hosts: Map<string, Host>; // empty for clients
  vms: Map<string, Vm>;
  operations: Map<string, Operation>;
  ifLost: Map<string, IfLost[]>; // by host; empty for clients
  whys: Map<string, Why>;
  alerts: Map<string, Alert>; // empty for clients
}

export type Severity = 'bad' | 'warn' | 'note';
export interface Finding {
  severity: Severity;
  link: string;
  title: string;
  text?: string;
  said?: string; // hostd's own words, and so English; they come after the text
  todo?: string; // hostd's too
}

export type Replication = { kind: 'sync' | 'syncing' | 'cut' | 'single' | 'cold' | 'unknown'; leftMib: number };

const COPYING = new Set(['SyncSource', 'SyncTarget', 'PausedSyncS', 'PausedSyncT', 'WFBitMapS', 'WFBitMapT', 'StartingSyncS', 'StartingSyncT', 'WFSyncUUID', 'Ahead', 'Behind']);

/** Whether what is shown of a VM is of now: the host that holds its run-right lives. A client is shown no hosts, but the state. */
export function current(view: Pick<View, 'hosts'>, vm: Vm): boolean {
  return view.hosts.get(vm.host)?.alive ?? vm.state !== 'unknown';
}

/** How the two legs of a VM stand to each other, as the host that holds the run-right sees it. */
export function replication(view: Pick<View, 'hosts'>, vm: Vm): Replication {
  if (vm.protection === 'none') return { kind: 'single', leftMib: 0 };
  if (vm.protection === 'backup') return { kind: 'cold', leftMib: 0 };
  const seen = vm.status[vm.host];
  if (!seen || Object.keys(seen.volumes).length === 0 || !current(view, vm)) return { kind: 'unknown', leftMib: 0 };
  const volumes = Object.values(seen.volumes);
  const leftMib = Math.ceil(volumes.reduce((sum, v) => sum + (v.out_of_sync_kib ?? 0), 0) / 1024);
  if (seen.connection !== 'Connected') return { kind: 'cut', leftMib };
  if (volumes.some((v) => COPYING.has(v.replication ?? ''))) return { kind: 'syncing', leftMib };
  if (!vm.protected) return { kind: 'syncing', leftMib };
  return { kind: 'sync', leftMib };
}

const TROUBLE = new Set(['down', 'paused', 'frozen', 'crashed', 'unknown']);

export function replicates(vm: Vm): boolean {
  return vm.protection === 'ha' || vm.protection === 'mirror';
}
/** Without a run-right only what is being made is well: after the cell was restored, a VM has neither that nor an operation. */
export function inTrouble(vm: Vm): boolean {
  return TROUBLE.has(vm.state) && (vm.right !== undefined || !vm.operation);
}
export function unprotected(vm: Vm): boolean {
  return replicates(vm) && !vm.protected && vm.right !== undefined && vm.state !== 'creating' && vm.state !== 'removing';
}

function about(op: Operation): string {
  if (op.vm !== '') return `vm ${op.vm}`;
  return op.kind.startsWith('image-') ? `image ${op.object ?? ''}` : `${op.kind} ${op.target_host ?? ''}`;
}

/** The newest operation of what this one was about: only its end still says something of the present. */
export function isNewest(op: Operation, all: Iterable<Operation>): boolean {
  for (const other of all) {
    if (about(other) === about(op) && (other.created_ms > op.created_ms || (other.created_ms === op.created_ms && other.id > op.id))) return false;
  }
  return true;
}

export function running(view: Pick<View, 'operations'>): Operation[] {
  return [...view.operations.values()].filter((o) => o.state === 'running' || o.state === 'undoing').sort((a, b) => (a.id < b.id ? 1 : -1));
}

export function findings(view: View, w: Words, lang: Lang): Finding[] {
  const out = [...ofCell(view, w, lang), ...ofAlerts(view, w), ...ofOperations(view, w)];
  for (const vm of view.vms.values()) out.push(...ofVm(view, vm, w, lang));
  out.push(...ofForecast(view, w));
  const rank = { bad: 0, warn: 1, note: 2 };
  return out.map((f, i) => ({ f, i })).sort((a, b) => rank[a.f.severity] - rank[b.f.severity] || a.i - b.i).map((x) => x.f);
}

function ofCell(view: View, w: Words, lang: Lang): Finding[] {
  const out: Finding[] = [];
  if (!view.health.ok) out.push({ severity: 'bad', link: '#/', title: w.fHealth(view.health.host), said: view.health.sentence });
  for (const said of view.health.warnings ?? []) out.push({ severity: 'warn', link: '#/', title: w.fWarning(view.health.host), said });
  const by = view.ha.disarmed_by;
  if (!view.ha.armed) {
    const text = by ? w.fBy(by.author, by.reason, time(lang, by.since_ms)) : undefined;
    out.push({ severity: 'warn', link: '#/', title: w.fDisarmed, text });
  }
  for (const host of view.hosts.values()) {
    const link = `#/host/${host.id}`;
    if (!host.alive) {
      const off = host.power_off ? ' ' + w.fPowerOff(host.power_off === 'confirmed') : '';
      out.push({ severity: 'bad', link, title: w.fSilent(host.id), text: w.fSilentText(host.vms ?? 0) + off });
    }
    const m = host.maintenance_by;
    if (host.maintenance) out.push({ severity: 'note', link, title: w.fMaintenance(host.id), text: m ? w.fBy(m.author, m.reason, time(lang, m.since_ms)) : undefined });
  }
  return out;
}

/** The alerts that stand and that nothing else here tells. */
function ofAlerts(view: View, w: Words): Finding[] {
  const out: Finding[] = [];
  for (const a of view.alerts.values()) {
    const title = w.fAlerts[a.kind];
    const vm = view.vms.get(a.vm);
    if (title === undefined || !stands(a) || (vm && (inTrouble(vm) || unprotected(vm)))) continue;
    out.push({ severity: a.severity === 'critical' ? 'bad' : 'warn', link: '#/alerts', title: title(a.vm || a.host), said: a.what, todo: a.todo });
  }
  return out;
}

function ofOperations(view: View, w: Words): Finding[] {
  return [...view.operations.values()]
    .filter((op) => op.state === 'needs-operator' && isNewest(op, view.operations.values()))
    .map((op) => ({ severity: 'bad', link: `#/op/${op.id}`, title: w.fStuck(op.kind, op.vm || op.target_host || op.object || ''), said: op.error, todo: op.todo }));
}

function ofVm(view: View, vm: Vm, w: Words, lang: Lang): Finding[] {
  const out: Finding[] = [];
  const link = `#/vm/${vm.name}`;
  const why = view.whys.get(vm.name)?.why;
  if (inTrouble(vm)) {
    out.push({ severity: 'bad', link, title: w.fVmState(vm.name, w.states[vm.state]), said: why });
  } else if (unprotected(vm)) {
    const copy = replication(view, vm);
    if (copy.kind === 'syncing' && copy.leftMib > 0) out.push({ severity: 'warn', link, title: w.fSyncing(vm.name, size(lang, copy.leftMib)), said: why });
    else out.push({ severity: 'bad', link, title: w.fUnprotected(vm.name), said: why });
  }
  for (const [what, last] of Object.entries(vm.last ?? {})) {
    if (!last.good) out.push({ severity: 'bad', link, title: w.fCare(vm.name, what), said: last.text });
  }
  if (vm.failback && !inTrouble(vm)) {
    const red = vm.failback.checks.filter((c) => !c.ready).map((c) => c.text);
    out.push({ severity: 'note', link, title: w.fAway(vm.name, vm.host), ...(vm.failback.ready ? { text: w.fAwayReady } : { text: w.fAwayNot, said: `${red.join('; ')}.` }) });
  }
  return out;
}

/** VMs that are fine now and would not come back by themselves, one finding for each cause. What is already told of the
 *  VM, of the host or of failover is not told again. */
function ofForecast(view: View, w: Words): Finding[] {
  if (!view.ha.armed) return [];
  const out: Finding[] = [];
  for (const [host, all] of view.ifLost) {
    if (!view.hosts.get(host)?.alive) continue;
    const causes = new Map<string, string[]>();
    for (const f of all) {
      const vm = view.vms.get(f.vm);
      if (f.outcome === 'restarts' || f.outcome === 'off' || !vm || vm.protection !== 'ha' || unprotected(vm) || inTrouble(vm)) continue;
      causes.set(f.text, [...(causes.get(f.text) ?? []), f.vm]);
    }
    for (const [text, vms] of causes) {
      out.push({ severity: 'warn', link: vms.length === 1 ? `#/vm/${vms[0]}` : `#/host/${host}`, title: w.fIfLost(host, vms.length), text: `${vms.slice(0, 5).join(', ')}${vms.length > 5 ? '…' : ''}${w.colon}`, said: text });
    }
  }
  return out;
}

/** Each with a key that stays its own from one drawing to the next; two of one title are told apart by their order. */
export function keyed(found: Finding[]): [string, Finding][] {
  const times = new Map<string, number>();
  return found.map((f) => {
    const title = `${f.link} ${f.title}`;
    const before = times.get(title) ?? 0;
    times.set(title, before + 1);
    return [`${title} ${before}`, f];
  });
}

export interface Verdict { level: 'good' | 'warn' | 'bad' | 'unknown'; sentence: string }
export function verdict(found: Finding[], live: boolean, w: Words): Verdict {
  if (!live) return { level: 'unknown', sentence: w.notKnown };
  const bad = found.filter((f) => f.severity === 'bad').length;
  const warn = found.filter((f) => f.severity === 'warn').length;
  if (bad > 0) return { level: 'bad', sentence: w.broken(bad) };
  if (warn > 0) return { level: 'warn', sentence: w.holdsBut(warn) };
  return { level: 'good', sentence: w.holds };
}

export function countOutcomes(all: IfLost[]): [IfLost['outcome'], number][] {
  const order: IfLost['outcome'][] = ['restarts', 'waits', 'stays', 'off'];
  return order.map((o): [IfLost['outcome'], number] => [o, all.filter((f) => f.outcome === o).length]).filter(([, n]) => n > 0);
}
