// The cell as this page knows it: read once, then kept true by the event stream. What an event names is read again; many
// at once are read as one list. Nothing is asked on a clock but what could not be read.
import { all, get, health, ApiError } from './api';
import { inTrouble, unprotected, type View } from './judge';
import { Follower } from './stream';
import type { Alert, Event, Ha, Health, Host, IfLost, Me, Operation, Page, Vm, Why } from './types';

const SETTLE_MS = 150; // events of one change come close together
const MANY = 20; // beyond: the list is read instead of each
const EACH = 50; // read by themselves at a time, of those that the list leaves out
const WHYS = 50; // sentences fetched for the first screen
const EVENTS_KEPT = 200;
const HEALTH_EVERY_MS = 5_000; // at most, and only when the stream speaks
const FIRST_PAUSE_MS = 2_000; // after a reading that failed
const LONGEST_PAUSE_MS = 30_000;
const SLEEP_AFTER_MS = 5_000; // out of sight

/** Why what is shown is not live: the stream is lost, it was given back while nobody looked, what it named was not read, or
 *  it is back and what happened meanwhile is being read. */
export interface NotLive { because: 'lost' | 'asleep' | 'behind' | 'missed'; why: string }
export type Stage = { stage: 'loading' } | { stage: 'failed'; error: ApiError } | { stage: 'ready' };

function readAlerts(): Promise<{ items: Alert[]; revision: number }> {
  return all<Alert>('/v1/alerts?limit=100');
}

function byId<T extends { id: string }>(items: T[]): Map<string, T> {
  return new Map(items.map((item) => [item.id, item]));
}

export class Store {
  stage: Stage = { stage: 'loading' };
  asOf = Date.now();
  tick = 0; // grows with every change of what is shown
  audits = 0; // grows when the audit chain may have
  events: (Event & { at: number })[] = [];
  view!: View;

  private follower: Follower | undefined;
  private after = ''; // the event from which the stream goes on
  private lost: string | undefined; // why there is no stream
  private behind: NotLive | undefined; // there is a stream, and not all that it named, or missed, is read
  private asleep = false;
  private sleeping: ReturnType<typeof setTimeout> | undefined;
  private pause = FIRST_PAUSE_MS;
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

  get alerts(): Map<string, Alert> {
    return this.view.alerts;
  }

  get staff(): boolean {
    return this.view.me.role !== 'client';
  }

  /** Why what is shown is not live; undefined when it is. */
  get notLive(): NotLive | undefined {
    if (this.asleep) return { because: 'asleep', why: '' };
    if (this.lost !== undefined) return { because: 'lost', why: this.lost };
    return this.behind;
  }

  async start(): Promise<void> {
    this.stage = { stage: 'loading' };
    this.tell();
    try {
      const revision = await this.load();
      this.stage = { stage: 'ready' };
      // One before: a host that falls silent is told at the revision that stood.
      this.after = String(Math.max(0, revision - 1));
      if (!this.asleep) this.follow();
    } catch (e) {
      this.stage = { stage: 'failed', error: e instanceof ApiError ? e : new ApiError(0, 'internal', '', String(e)) };
    }
    this.tell();
  }

  retry(): void {
    if (this.stage.stage === 'failed') void this.start();
    else {
      this.follower?.retry();
      this.again();
    }
  }

  /** A page that is out of sight gives its stream back: a browser has six connections to a host for all its tabs together. */
  visible(yes: boolean): void {
    clearTimeout(this.sleeping);
    if (!yes) this.sleeping = setTimeout(() => this.sleep(), SLEEP_AFTER_MS);
    else if (this.asleep && this.stage.stage === 'ready') this.follow();
    else this.asleep = false;
  }

  private sleep(): void {
    this.asleep = true;
    this.follower?.stop();
    this.after = this.follower?.after ?? this.after;
    this.follower = undefined;
    this.tell();
  }

  /** What could not be read is read now, and not after the pause. */
  private again(): void {
    this.pause = FIRST_PAUSE_MS;
    if (this.behind === undefined) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.soon();
  }

  private async load(): Promise<number> {
    const me = await get<Me>('/v1/whoami');
    const staff = me.role !== 'client';
    const none = { items: [], revision: Number.MAX_SAFE_INTEGER };
    const [h, ha, hosts, vms, recent, failovers, running, undoing, stuck, alerts] = await Promise.all([
      health<Health>(),
      get<Ha>('/v1/ha'),
      staff ? all<Host>('/v1/hosts') : none,
      all<Vm>('/v1/vms?fields=full&limit=100'),
      get<Page<Operation>>('/v1/operations?limit=100'),
      get<Page<Operation>>('/v1/operations?kind=vm-failover&limit=100'),
      // However old: these are at work, or wait for a person.
      all<Operation>('/v1/operations?state=running&limit=100'),
      all<Operation>('/v1/operations?state=undoing&limit=100'),
      all<Operation>('/v1/operations?state=needs-operator&limit=100'),
      staff ? readAlerts() : none,
    ]);
    const newest = await newestOf(stuck.items);
    const view: View = {
      me, health: h, ha, ifLost: new Map(), whys: new Map(),
      operations: byId([failovers, running, undoing, stuck, { items: newest }, recent].flatMap((page) => page.items)),
      hosts: byId(hosts.items), vms: new Map(vms.items.map((x) => [x.name, x])), alerts: byId(alerts.items),
    };
    await this.derive(view); // before it is shown: without the forecasts it would look better than it is
    this.view = view;
    this.asOf = Date.now();
    return Math.min(...[hosts, vms, recent, failovers, running, undoing, stuck, alerts].map((page) => page.revision));
  }

  private follow(): void {
    this.follower?.stop();
    this.follower = new Follower(this.after, {
      event: (e) => this.event(e),
      alive: () => this.alive(),
      lost: (why) => {
        this.asleep = false;
        this.lost = why;
        this.tell();
      },
      back: () => {
        if (this.asleep || this.lost !== undefined) {
          this.behind = { because: 'missed', why: '' };
          this.dirty.everything = true;
        }
        this.asleep = false;
        this.lost = undefined;
        this.again();
        this.alive();
        this.tell();
      },
    });
    void this.follower.run();
  }

  private alive(): void {
    const now = Date.now();
    if (this.behind === undefined) this.asOf = now;
    if (now - this.healthAt < HEALTH_EVERY_MS) return;
    this.healthAt = now;
    this.untold().catch(() => {
      this.dirty.everything = true; // which is told when it cannot be read either
      this.soon();
    });
  }

  /** What no event tells: the parts of this host; for a client also failover and hosts, whose events are not its own. */
  private async untold(): Promise<void> {
    const client = this.view.me.role === 'client';
    const [h, ha, vms] = await Promise.all([
      health<Health>(), client ? get<Ha>('/v1/ha') : undefined, client ? all<Vm>('/v1/vms?limit=1000') : undefined,
    ]);
    const v = this.view;
    const before = JSON.stringify([v.health, v.ha]);
    v.health = h;
    v.ha = ha ?? v.ha;
    for (const vm of vms?.items ?? []) {
      if (v.vms.get(vm.name)?.state !== vm.state) this.dirty.vms.add(vm.name);
    }
    if (this.dirty.vms.size > 0) this.soon();
    if (JSON.stringify([v.health, v.ha]) !== before) this.tell();
  }

  private event(e: Event): void {
    this.alive();
    this.events = [{ ...e, at: Date.now() }, ...this.events].slice(0, EVENTS_KEPT);
    const d = this.dirty;
    if (e.type === 'reset') d.everything = true;
    else if (e.type === 'vm.removed') {
      this.view.vms.delete(e.object);
      this.view.whys.delete(e.object);
    } else if (e.type === 'operation.removed') this.view.operations.delete(e.object);
    // What is gone is asked for too: a list that is being read may still have it.
    if (e.type.startsWith('vm.')) d.vms.add(e.object);
    else if (e.type.startsWith('operation.')) d.operations.add(e.object);
    else if (e.type.startsWith('host.')) d.hosts = true;
    else if (e.type.startsWith('ha.')) d.ha = true;
    else if (e.type.startsWith('alert.')) d.alerts.add(e.object);
    else if (e.type === 'audit.appended') ++this.audits;
    if (e.type === 'operation.changed') ++this.audits;
    this.soon();
  }

  /** This operation is read again: what was kept of it may be old. */
  look(operation: string): void {
    this.dirty.operations.add(operation);
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
    let failed = false;
    try {
      if (d.everything) await this.load();
      else await this.refresh(d);
      if (!this.dirty.everything) this.behind = undefined; // else the stream came back while this was read
      this.pause = FIRST_PAUSE_MS;
    } catch (e) {
      failed = true;
      this.dirty.everything = true;
      this.behind = { because: 'behind', why: e instanceof Error ? e.message : String(e) };
    }
    this.flushing = false;
    this.tell();
    if (failed) {
      this.timer = setTimeout(() => void this.flush(), this.pause);
      this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
      return;
    }
    const left = this.dirty;
    if (left.everything || left.vms.size + left.operations.size + left.alerts.size > 0 || left.hosts || left.ha) this.soon();
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
      work.push(this.manyOperations(d.operations));
    } else {
      work.push(...d.operations.map((id) => this.operation(id)));
    }
    if (d.alerts.length > MANY) {
      work.push(readAlerts().then((r) => void (v.alerts = byId(r.items))));
    } else {
      for (const id of d.alerts) work.push(one<Alert>(`/v1/alerts/${id}`, (x) => void (x ? v.alerts.set(id, x) : v.alerts.delete(id))));
    }
    await Promise.all(work);
    if (d.hosts || d.ha || d.vms.length > 0) await this.derive(v);
    this.asOf = Date.now();
  }

  private operation(id: string): Promise<void> {
    const { operations } = this.view;
    return one<Operation>(`/v1/operations/${id}`, (x) => void (x ? operations.set(id, x) : operations.delete(id)));
  }

  /** The newest as one list; those that are older, or gone, by themselves. */
  private async manyOperations(ids: string[]): Promise<void> {
    const newest = await get<Page<Operation>>('/v1/operations?limit=100');
    for (const o of newest.items) this.view.operations.set(o.id, o);
    const listed = new Set(newest.items.map((o) => o.id));
    const others = ids.filter((id) => !listed.has(id));
    await Promise.all(others.slice(0, EACH).map((id) => this.operation(id)));
    for (const id of others.slice(EACH)) this.dirty.operations.add(id);
  }

  /** What is told of the state: the forecasts, and a sentence for every VM that needs one. */
  private async derive(v: View): Promise<void> {
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
