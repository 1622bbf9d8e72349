// One VM: what is going on, what would happen, its legs, and who touched it.
import type { VNode } from 'preact';
import { vmActions, volumeActions } from '../actions';
import { get } from '../api';
import { EXERCISES } from '../drills';
import type { Operation, Page, Vm, Why } from '../types';
import { Actions, Badge, Facts, Failure, Heading, StateBadge, Table, tongue, useRead, useShared, type Level } from '../ui';
import { size, time } from '../words';
import { Trail } from './audit';
import { DrillLine } from './drills';
import { HistoryCard } from './history';
import { Copy } from './overview';

function Sentences({ vm }: { vm: Vm }): VNode {
  const { store, w } = useShared();
  const { value, error } = useRead(() => get<Why>(`/v1/vms/${vm.name}/why`), [vm.name, store.tick]);
  const lost = value?.if_lost;
  const level: Level = lost?.outcome === 'restarts' ? 'good' : lost?.outcome === 'off' ? 'note' : 'warn';
  return (
    <section class="why">
      <h2>{w.why}</h2>
      {(value || !error) && <p class="sentence" aria-live="polite" lang="en">{value?.why ?? '…'}</p>}
      {error !== undefined && <Failure error={error} />}
      {lost && <p>{w.ifLost(vm.host)}{w.colon} <Badge level={level}>{w.outcomes[lost.outcome]}</Badge> <span lang="en">{lost.text}.</span></p>}
    </section>
  );
}

function Failback({ vm }: { vm: Vm }): VNode | null {
  const { w } = useShared();
  if (!vm.failback) return null;
  return (
    <section>
      <h2>{w.failback}</h2>
      <ul class="plain">
        {vm.failback.checks.map((c) => <li key={c.what}><Badge level={c.ready ? 'good' : 'bad'}>{c.ready ? w.ready : w.notReady}</Badge> <code>{c.what}</code> <span lang="en">{c.text}</span></li>)}
      </ul>
    </section>
  );
}

function Legs({ vm }: { vm: Vm }): VNode {
  const { store, w, lang } = useShared();
  const operator = store.view.me.role === 'operator';
  const hosts = vm.protection === 'none' ? [vm.hosts.nominal] : [vm.hosts.nominal, vm.hosts.peer];
  return (
    <section>
      <h2>{w.volumes}</h2>
      <Table label={w.volumes} head={[w.volume, w.size, w.host, w.disk, w.replication, w.protectedQ, ...(operator ? [w.actions] : [])]}>
        {vm.volumes.flatMap((v) =>
          hosts.map((host, i) => {
            const status = vm.status[host];
            const seen = status?.volumes[v.name];
            const good = vm.right?.insync[v.name]?.some((l) => l.host === host) ?? false;
            const left = seen?.out_of_sync_kib ?? 0;
            return (
              <tr>
                {i === 0 && <th scope="rowgroup" rowSpan={hosts.length}>{v.name}</th>}
                {i === 0 && <td rowSpan={hosts.length}>{size(lang, v.size_mib)}</td>}
                <td>{host}{status?.role ? ` (${status.role})` : ''} {store.view.hosts.get(host)?.alive === false && <Badge level="bad">{w.silent}</Badge>}</td>
                <td>{seen?.disk ?? '—'}</td>
                <td>{[status?.connection, seen?.replication, left > 0 ? w.left(size(lang, Math.ceil(left / 1024))) : ''].filter(Boolean).join(', ') || '—'}</td>
                <td><Badge level={good ? 'good' : 'bad'}>{good ? w.inRecord : w.notInRecord}</Badge></td>
                {i === 0 && operator && <td rowSpan={hosts.length}><Actions actions={volumeActions(vm, v, store.view.me)} /></td>}
              </tr>
            );
          }))}
      </Table>
    </section>
  );
}

function Care({ vm }: { vm: Vm }): VNode | null {
  const { w, lang } = useShared();
  const all = Object.entries(vm.last ?? {}).filter(([what]) => !EXERCISES.includes(what));
  if (all.length === 0) return null;
  return (
    <section>
      <h2>{w.care}</h2>
      <ul class="plain">{all.map(([what, l]) => <li><Badge level={l.good ? 'good' : 'bad'}>{what}</Badge> {time(lang, l.when_ms)}{w.colon} <span lang="en">{l.text}</span></li>)}</ul>
    </section>
  );
}

function Operations({ vm }: { vm: Vm }): VNode | null {
  const { store, w, lang } = useShared();
  const { value, error } = useRead(() => get<Page<Operation>>(`/v1/operations?vm=${vm.name}&limit=10`), [vm.name, store.audits]);
  if (!error && (!value || value.items.length === 0)) return null;
  return (
    <section>
      <h2>{w.operations}</h2>
      {error !== undefined && <Failure error={error} />}
      {value && value.items.length > 0 && (
        <Table label={w.operations} head={[w.when, w.kind, w.state, w.who, w.reason]}>
          {value.items.map((o) => (
            <tr key={o.id}>
              <td>{time(lang, o.created_ms)}</td>
              <td><a href={`#/op/${o.id}`}>{o.kind}</a></td>
              <td>{w.opStates[(store.view.operations.get(o.id) ?? o).state]}</td>
              <td>{o.author.name}</td>
              <td lang={tongue(o.author)}>{o.reason}</td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
}

export function VmPage({ name }: { name: string }): VNode {
  const { store, w, lang } = useShared();
  const vm = store.view.vms.get(name);
  if (!vm) return <><Heading>{name}</Heading><p>{w.gone}</p></>;
  const alive = (id: string): boolean => store.view.hosts.get(id)?.alive ?? true;
  const op = vm.operation ? store.view.operations.get(vm.operation) : undefined;
  return (
    <>
      <Heading>{vm.name}</Heading>
      <p><StateBadge state={vm.state} /> <Copy vm={vm} /> {vm.operation && <a href={`#/op/${vm.operation}`}>{op ? `${op.kind}: ${w.opStates[op.state]}` : vm.operation}</a>}</p>
      <Sentences vm={vm} />
      <section>
        <h2>{w.actions}</h2>
        <Actions actions={vmActions(vm, store.view.me, alive)} empty={w.noActions} />
        {store.view.me.role === 'client' && <p class="quiet">{w.askOperator}</p>}
      </section>
      <Failback vm={vm} />
      <Legs vm={vm} />
      <Care vm={vm} />
      <DrillLine vm={vm} />
      <HistoryCard vm={vm} />
      <Operations vm={vm} />
      <section><h2>{w.history}</h2><Trail object={`vm/${vm.name}`} /></section>
      <section>
        <h2>{w.definition}</h2>
        <Facts of={[
          [w.project, vm.project], [w.power, w.states[vm.power === 'on' ? 'running' : 'off']], [w.protection, vm.protection], [w.priority, vm.priority],
          [w.cpus, vm.cpus], [w.memory, size(lang, vm.memory_mib)], [w.nominal, vm.hosts.nominal], [w.peer, vm.hosts.peer],
          [w.policy, vm.migration_policy], [w.epoch, vm.right?.epoch ?? '—'], [w.networks, vm.networks.map((n) => `${n.network} ${n.mac ?? ''}`).join(', ') || '—'],
        ]} />
      </section>
    </>
  );
}
