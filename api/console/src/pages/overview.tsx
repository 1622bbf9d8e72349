// The first screen: everything holds, or what does not; then the two sites, and every VM between them.
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { cellActions } from '../actions';
import { unseen } from '../alerts';
import { countOutcomes, current, findings, keyed, replication, replicates, running, verdict, type Finding } from '../judge';
import type { Host, Operation, Vm } from '../types';
import { Actions, Badge, Heading, StateBadge, Table, tongue, useShared, type Level } from '../ui';
import { size, time } from '../words';

const SHOWN = 25;
const ROWS = 200;

function FindingRow({ f }: { f: Finding }): VNode {
  const { w } = useShared();
  return (
    <li class={f.severity}>
      <Badge level={f.severity}>{w.severities[f.severity]}</Badge> <a href={f.link}>{f.title}</a>
      {(f.text || f.said) && <p>{f.text} {f.said && <span lang="en">{f.said}</span>}</p>}
      {f.todo && <p><strong>{w.todo}{w.colon}</strong> <span lang="en">{f.todo}</span></p>}
    </li>
  );
}

function Verdict(): VNode {
  const { store, w, lang } = useShared();
  const found = findings(store.view, w, lang);
  const v = verdict(found, store.notLive === undefined, w);
  const vms = [...store.view.vms.values()];
  const legs = vms.filter(replicates);
  const known = legs.filter((x) => current(store.view, x));
  return (
    <section class={`verdict ${v.level}`} aria-label={w.overview}>
      <div role="status"><p class="sentence"><Badge level={v.level}>{v.sentence}</Badge></p></div>
      <p class="quiet">
        {w.sum(vms.length, vms.filter((x) => x.state === 'running').length, known.filter((x) => x.protected).length, legs.length - known.length)}
        {store.view.ha.armed ? ` ${w.armed}` : ''}
      </p>
      {unseen(store.alerts.values()) > 0 && <p><a href="#/alerts">{w.alertsOpen(unseen(store.alerts.values()))}</a></p>}
      {found.length > 0 && <ul class="findings">{keyed(found).slice(0, SHOWN).map(([key, f]) => <FindingRow key={key} f={f} />)}</ul>}
      {found.length > SHOWN && <p>{w.more(found.length - SHOWN)}</p>}
      <Actions actions={cellActions(store.view.ha.armed, store.view.me)} />
    </section>
  );
}

export function OperationLine({ op }: { op: Operation }): VNode {
  const { w } = useShared();
  const percent = op.progress?.percent ?? -1;
  const done = op.steps.filter((s) => s.state === 'done').length;
  return (
    <li>
      <a href={`#/op/${op.id}`}>{op.kind} {op.vm || op.target_host}</a> <Badge level="warn">{w.opStates[op.state]}</Badge>{' '}
      <progress aria-label={w.progress} max={op.steps.length} value={done + (percent > 0 ? percent / 100 : 0)} />{' '}
      <span class="quiet"><span lang="en">{op.progress?.text}</span>{percent >= 0 ? ` ${percent} %` : ''}</span>
    </li>
  );
}

function Running(): VNode | null {
  const { store, w } = useShared();
  const ops = running(store.view);
  if (ops.length === 0) return null;
  return <section><h2>{w.running}</h2><ul class="plain">{ops.slice(0, SHOWN).map((op) => <OperationLine key={op.id} op={op} />)}</ul></section>;
}

function HostCard({ host }: { host: Host }): VNode {
  const { store, w, lang } = useShared();
  const all = store.view.ifLost.get(host.id);
  const lost = countOutcomes(all ?? []);
  const free = host.memory_free_mib ?? 0;
  return (
    <article class="host">
      <h3>
        <a href={`#/host/${host.id}`}>{host.id}</a> <Badge level={host.alive ? 'good' : 'bad'}>{host.alive ? w.alive : w.silent}</Badge>
        {host.maintenance && <Badge level="warn">{w.maintenance}</Badge>}
      </h3>
      <p>{w.holdsVms(host.vms ?? 0)} · {w.memory}{w.colon} {w.free(size(lang, free), size(lang, host.memory_mib))}</p>
      <meter aria-label={`${w.memory} ${host.id}`} min={0} max={Math.max(1, host.memory_mib)} value={host.memory_mib - free} />
      <p class="quiet">{lost.length === 0 ? `${w.ifLost(host.id)}${w.colon} ${all ? w.ifLostNothing : w.ifLostUnread}` : `${w.ifLostSum(host.id)}${w.colon} ${lost.map(([o, n]) => w.outcomeCounts(o, n)).join(' · ')}`}</p>
    </article>
  );
}

function Sites(): VNode {
  const { store, w } = useShared();
  return (
    <section aria-label={w.hosts} class="sites">
      {(['A', 'B'] as const).map((s) => {
        const hosts = [...store.view.hosts.values()].filter((h) => h.site === s);
        return (
          <div class="site">
            <h2>{w.site(s)}</h2>
            {hosts.length === 0 ? <p class="quiet">{w.noHosts}</p> : hosts.map((h) => <HostCard key={h.id} host={h} />)}
          </div>
        );
      })}
    </section>
  );
}

const LEVELS: Record<string, Level> = { sync: 'good', syncing: 'warn', cut: 'bad', single: 'note', cold: 'note', unknown: 'unknown' };

export function Copy({ vm }: { vm: Vm }): VNode {
  const { store, w, lang } = useShared();
  const r = replication(store.view, vm);
  return <Badge level={LEVELS[r.kind] ?? 'unknown'}>{w.rep[r.kind]}{r.leftMib > 0 ? `, ${w.left(size(lang, r.leftMib))}` : ''}</Badge>;
}

/** The VM's host of this site, and whether it runs there. */
function Side({ vm, site }: { vm: Vm; site: 'A' | 'B' }): VNode {
  const { store, w } = useShared();
  const of = (id: string): boolean => (store.view.hosts.get(id)?.site ?? (id === vm.hosts.nominal ? 'A' : 'B')) === site;
  const id = [vm.hosts.nominal, vm.hosts.peer].find(of) ?? '—';
  const here = id === vm.host;
  return <td class={here ? 'here' : ''}>{id}{here ? <small> {vm.state === 'off' || vm.state === 'down' ? w.holder : w.here}</small> : ''}</td>;
}

function Protected({ vm }: { vm: Vm }): VNode {
  const { store, w } = useShared();
  if (!replicates(vm)) return <Badge level="note">{vm.protection}</Badge>;
  if (!current(store.view, vm)) return <Badge level="unknown">{w.states.unknown}</Badge>;
  return vm.protected ? <Badge level="good">{w.yes}</Badge> : <Badge level="bad">{w.no}</Badge>;
}

function Vms(): VNode {
  const { store, w, lang } = useShared();
  const [filter, setFilter] = useState('');
  const wanted = filter.trim().toLowerCase();
  const all = [...store.view.vms.values()];
  const shown = all.filter((vm) => [vm.name, vm.project, vm.host, vm.state, w.states[vm.state]].some((t) => t.toLowerCase().includes(wanted)));
  const failovers = [...store.view.operations.values()].filter((o) => o.kind === 'vm-failover').sort((a, b) => (a.id < b.id ? 1 : -1));
  const sides = store.staff;
  const head = sides ? [w.vm, w.state, w.site('A'), w.replication, w.site('B'), w.protectedQ, w.project] : [w.vm, w.state, w.replication, w.protectedQ, w.lastFailover];
  return (
    <section>
      <h2>{w.vms}</h2>
      {all.length > 8 && <label class="filter">{w.filter}<input type="search" value={filter} onInput={(e) => setFilter(e.currentTarget.value)} /></label>}
      {shown.length === 0 ? <p class="quiet">{w.noVms}</p> : (
        <Table label={w.vms} head={head}>
          {shown.slice(0, ROWS).map((vm) => {
            const last = failovers.find((o) => o.vm === vm.name);
            return (
              <tr key={vm.name}>
                <th scope="row"><a href={`#/vm/${vm.name}`}>{vm.name}</a></th>
                <td><StateBadge state={vm.state} /></td>
                {sides && <Side vm={vm} site="A" />}
                <td><Copy vm={vm} /></td>
                {sides && <Side vm={vm} site="B" />}
                <td><Protected vm={vm} /></td>
                {sides ? <td>{vm.project}</td> : <td>{last ? <>{time(lang, last.created_ms)}{w.colon} <span lang={tongue(last.author)}>{last.reason}</span></> : w.noFailover}</td>}
              </tr>
            );
          })}
        </Table>
      )}
      {shown.length > ROWS && <p>{w.more(shown.length - ROWS)}</p>}
    </section>
  );
}

export function Overview(): VNode {
  const { store, w } = useShared();
  return (
    <>
      <Heading>{w.overview}</Heading>
      <Verdict />
      <Running />
      {store.staff && <Sites />}
      <Vms />
    </>
  );
}
