// The cell as this page knows it: read once, then kept true by the event stream. What an event names is read again; many
// at once are read as one list. Nothing is asked on a clock.
import { all, get, health, ApiError } from './api';
import { inTrouble, unprotected, type View } from './judge';
import { Follower } from './stream';
import type { Alert, AuditRecord, Event, Ha, Health, Host, IfLost, Me, Operation, Page, Vm, Why } from './types';

const SETTLE_MS = 150; // events of one change come close together
const MANY = 20; // beyond: the list is read instead of each
const WHYS = 50; // sentences fetched for the first screen
const EVENTS_KEPT = 200;
const HEALTH_EVERY_MS = 5_000; // at most, and only when the stream speaks

export type Stage = { stage: 'loading' } | { stage: 'failed'; error: ApiError } | { stage: 'ready' };

function readAlerts(): Promise<{ items: Alert[]; revision: number }> {
  return all<Alert>('/v1/alerts?limit=100');
}

function byId<T extends { id: string }>(items: T[]): Map<string, T> {
  return new Map(items.map((item) => [item.id, item]));
}

export class Store {
  stage: Stage = { stage: 'loading' };
  connected = false;
  asOf = Date.now();
  tick = 0; // grows with every change of what is shown
  audits = 0; // grows when the audit chain may have
  events: (Event & { at: number })[] = [];
  alerts = new Map<string, Alert>(); // empty for clients
  view!: View;

  private follower: Follower | undefined;
  private readonly listeners = new Set<() => void>();
  private readonly dirty = { vms: new Set<string>(), operations: new Set<string>(), alerts: new Set<string>(), hosts: false, ha: false, everything: false };
  private timer: ReturnType<typeof setTimeout> | undefined;
  private flushing = false;
  private healthAt = 0;

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  private tell(): void {
    ++this.tick;
    for (const l of this.listeners) l();
  }

  get staff(): boolean {
    return this.view.me.role !== 'client';
  }

  async start(): Promise<void> {
    this.stage = { stage: 'loading' };
    this.tell();
    try {
      const revision = await this.load();
      this.stage = { stage: 'ready' };
      this.connected = true;
      // One before: a host that falls silent is told at the revision that stood.
      this.follow(String(Math.max(0, revision - 1)));
    } catch (e) {
      this.stage = { stage: 'failed', error: e instanceof ApiError ? e : new ApiError(0, 'internal', '', String(e)) };
    }
    this.tell();
  }

  retry(): void {
    if (this.stage.stage === 'failed') void this.start();
    else this.follower?.retry();
  }

  private async load(): Promise<number> {
    const me = await get<Me>('/v1/whoami');
    const staff = me.role !== 'client';
    const [h, ha, hosts, vms, recent, stuck, failovers, alerts] = await Promise.all([
      health<Health>(),
      get<Ha>('/v1/ha'),
      staff ? all<Host>('/v1/hosts') : { items: [], revision: Number.MAX_SAFE_INTEGER },
      all<Vm>('/v1/vms?fields=full&limit=100'),
      get<Page<Operation>>('/v1/operations?limit=100'),
      get<Page<Operation>>('/v1/operations?state=needs-operator&limit=100'),
      get<Page<Operation>>('/v1/operations?kind=vm-failover&limit=100'),
      staff ? readAlerts() : { items: [], revision: Number.MAX_SAFE_INTEGER },
    ]);
    this.alerts = byId(alerts.items);
    const operations = byId([...recent.items, ...stuck.items, ...failovers.items]);
    for (const newest of await newestOf(stuck.items)) operations.set(newest.id, newest);
    this.view = {
      me, health: h, ha, operations, ifLost: new Map(), whys: new Map(),
      hosts: byId(hosts.items), vms: new Map(vms.items.map((x) => [x.name, x])),
    };
    await this.derive();
    this.asOf = Date.now();
    return Math.min(hosts.revision, vms.revision, recent.revision, alerts.revision);
  }

  private follow(after: string): void {
    this.follower?.stop();
    this.follower = new Follower(after, {
      event: (e) => this.event(e),
      alive: () => this.alive(),
      lost: () => {
        this.connected = false;
        this.tell();
      },
      back: () => {
        this.connected = true;
        this.alive();
        this.tell();
      },
    });
    void this.follower.run();
  }

  private alive(): void {
    this.asOf = Date.now();
    if (this.asOf - this.healthAt < HEALTH_EVERY_MS) return;
    this.healthAt = this.asOf;
    // The stream itself tells of a connection that is gone.
    this.untold().catch(() => undefined);
  }

  /** What no event tells: the parts of this host; for a client also failover and hosts, whose events are not its own. */
  private async untold(): Promise<void> {
    const v = this.view;
    const client = v.me.role === 'client';
    const before = JSON.stringify([v.health, v.ha]);
    const [h, ha, vms] = await Promise.all([
      health<Health>(), client ? get<Ha>('/v1/ha') : v.ha, client ? all<Vm>('/v1/vms?limit=1000') : undefined,
    ]);
    v.health = h;
    v.ha = ha;
    for (const vm of vms?.items ?? []) {
      if (v.vms.get(vm.name)?.state !== vm.state) this.dirty.vms.add(vm.name);
    }
    if (this.dirty.vms.size > 0) this.soon();
    if (JSON.stringify([h, ha]) !== before) this.tell();
  }

  private event(e: Event): void {
    this.alive();
    this.events = [{ ...e, at: Date.now() }, ...this.events].slice(0, EVENTS_KEPT);
    const d = this.dirty;
    if (e.type === 'reset') d.everything = true;
    else if (e.type === 'vm.removed') {
      this.view.vms.delete(e.object);
      this.view.whys.delete(e.object);
    } else if (e.type.startsWith('vm.')) d.vms.add(e.object);
    else if (e.type === 'operation.removed') this.view.operations.delete(e.object);
    else if (e.type.startsWith('operation.')) d.operations.add(e.object);
    else if (e.type.startsWith('host.')) d.hosts = true;
    else if (e.type.startsWith('ha.')) d.ha = true;
    else if (e.type.startsWith('alert.')) d.alerts.add(e.object);
    else if (e.type === 'audit.appended') ++this.audits;
    if (e.type === 'operation.changed') ++this.audits;
    this.soon();
  }

  private soon(): void {
    if (this.timer !== undefined || this.flushing) return;
    // A large cell changes often, and what is told of all its VMs costs its host more: there it is read less often.
    this.timer = setTimeout(() => void this.flush(), SETTLE_MS + this.view.vms.size / 3);
  }

  private async flush(): Promise<void> {
    this.timer = undefined;
    this.flushing = true;
    const d = { ...this.dirty, vms: [...this.dirty.vms], operations: [...this.dirty.operations], alerts: [...this.dirty.alerts] };
    this.dirty.vms.clear();
    this.dirty.operations.clear();
    this.dirty.alerts.clear();
    this.dirty.hosts = this.dirty.ha = this.dirty.everything = false;
    try {
      if (d.everything) await this.load();
      else await this.refresh(d);
    } catch {
      // The connection is told by the stream; what was not read is read when it is back.
      this.dirty.everything = true;
    }
    this.flushing = false;
    this.tell();
    if (this.dirty.everything && !this.connected) return void setTimeout(() => this.soon(), 2_000);
    if (this.dirty.everything || this.dirty.vms.size + this.dirty.operations.size + this.dirty.alerts.size > 0 || this.dirty.hosts || this.dirty.ha) this.soon();
  }

  private async refresh(d: { vms: string[]; operations: string[]; alerts: string[]; hosts: boolean; ha: boolean }): Promise<void> {
    const v = this.view;
    const work: Promise<void>[] = [];
    if (d.vms.length > MANY || d.hosts) {
      // A host's silence changes the state of its VMs without an event of theirs.
      work.push(all<Vm>('/v1/vms?fields=full&limit=100').then((r) => void (v.vms = new Map(r.items.map((x) => [x.name, x])))));
    } else {
      for (const name of d.vms) work.push(one<Vm>(`/v1/vms/${name}`, (x) => void (x ? v.vms.set(name, x) : v.vms.delete(name))));
    }
    if (this.staff && (d.hosts || d.vms.length > 0)) {
      work.push(all<Host>('/v1/hosts').then((r) => {
        v.hosts = byId(r.items);
        this.tell(); // at once: the list of VMs may take longer
      }));
    }
    if (d.ha || d.hosts) work.push(get<Ha>('/v1/ha').then((x) => void (v.ha = x)));
    if (d.operations.length > MANY) {
      work.push(get<Page<Operation>>('/v1/operations?limit=100').then((r) => r.items.forEach((o) => v.operations.set(o.id, o))));
    } else {
      for (const id of d.operations) work.push(one<Operation>(`/v1/operations/${id}`, (x) => void (x ? v.operations.set(id, x) : v.operations.delete(id))));
    }
    if (d.alerts.length > MANY) {
      work.push(readAlerts().then((r) => void (this.alerts = byId(r.items))));
    } else {
      for (const id of d.alerts) work.push(one<Alert>(`/v1/alerts/${id}`, (x) => void (x ? this.alerts.set(id, x) : this.alerts.delete(id))));
    }
    await Promise.all(work);
    if (d.hosts || d.ha || d.vms.length > 0) await this.derive();
    this.asOf = Date.now();
  }

  /** What is told of the state: the forecasts, and a sentence for every VM that needs one. */
  private async derive(): Promise<void> {
    const v = this.view;
    const client = v.me.role === 'client';
    const wanted = [...v.vms.values()].filter((vm) => client || inTrouble(vm) || unprotected(vm)).slice(0, WHYS);
    const whys = new Map<string, Why>();
    await Promise.all([
      ...wanted.map((vm) => one<Why>(`/v1/vms/${vm.name}/why`, (x) => void (x && whys.set(vm.name, x)))),
      ...[...v.hosts.keys()].map((id) => one<{ vms: IfLost[] }>(`/v1/hosts/${id}/if-lost`, (x) => void v.ifLost.set(id, x?.vms ?? []))),
    ]);
    v.whys = whys;
  }
}

/** One object; undefined when there is none any more. */
async function one<T>(path: string, then: (x: T | undefined) => void): Promise<void> {
  try {
    then(await get<T>(path));
  } catch (e) {
    if (!(e instanceof ApiError) || e.status !== 404) throw e;
    then(undefined);
  }
}

/** An operation that needs a person stays for ever; whether it still says something, the newest of its VM tells. */
async function newestOf(stuck: Operation[]): Promise<Operation[]> {
  const vms = [...new Set(stuck.map((o) => o.vm).filter((x) => x !== ''))];
  const pages = await Promise.all(vms.map((vm) => get<Page<Operation>>(`/v1/operations?vm=${vm}&limit=1`)));
  return pages.flatMap((p) => p.items);
}

const AUDIT_WINDOW = 500;
const AUDIT_TRIES = 6; // windows looked through at a time; a client's own records may be far apart

export interface Trail { records: AuditRecord[]; before: number } // `before`: the next older one; 0 = none

/** The newest records first, from sequence number `before` downwards (0: from the newest). */
export async function trail(before: number, object: string, wanted = 50): Promise<Trail> {
  const filter = object ? `&object=${encodeURIComponent(object)}` : '';
  let top = before;
  if (top === 0) top = (await get<{ head: { sequence: number } }>('/v1/audit?limit=1')).head.sequence;
  const records: AuditRecord[] = [];
  for (let i = 0; i < AUDIT_TRIES && top > 0 && records.length < wanted; ++i) {
    const from = Math.max(1, top - AUDIT_WINDOW + 1);
    const page = await get<Page<AuditRecord>>(`/v1/audit?from=${from}&limit=${top - from + 1}${filter}`);
    records.push(...page.items.reverse());
    top = from - 1;
  }
  if (records.length > wanted) {
    records.length = wanted;
    top = (records[wanted - 1]?.sequence ?? 1) - 1;
  }
  return { records, before: top };
}
