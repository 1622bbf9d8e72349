// When VMs were last really carried to the other site, and when that is due again.
import type { VNode } from 'preact';
import { all, get } from '../api';
import { mark, sorted } from '../drills';
import type { Drill, Page, Vm } from '../types';
import { Badge, Failure, Heading, Table, useRead, useShared } from '../ui';
import { time } from '../words';

function Due({ d }: { d: Drill }): VNode {
  const { w, lang } = useShared();
  if (d.every_days === 0) return <>{w.dNotAsked}</>;
  const when = d.due_ms === undefined ? w.dNever : time(lang, d.due_ms);
  return d.overdue ? <><Badge level="warn">{w.dOverdue}</Badge> {when}</> : <>{when}</>;
}

export function DrillsPage(): VNode {
  const { store, w, lang } = useShared();
  const { value, error } = useRead(() => all<Drill>('/v1/drills?limit=1000'), [mark(store.view.vms.values())]);
  const drills = sorted(value?.items ?? []);
  const overdue = drills.filter((d) => d.overdue).length;
  return (
    <>
      <Heading>{w.drills}</Heading>
      {value && <p role="status"><Badge level={overdue > 0 ? 'warn' : error ? 'unknown' : 'good'}>{w.dOverdueSum(overdue)}</Badge></p>}
      {error !== undefined && <Failure error={error} />}
      {!value && !error && <p>{w.loading}</p>}
      <p class="quiet">{w.dNote}</p>
      {drills.length > 0 && (
        <Table label={w.drills} head={[w.vm, w.dDue, w.dEvery, w.dLast, w.kind, w.dRan, w.project]}>
          {drills.map((d) => (
            <tr key={d.vm}>
              <th scope="row"><a href={`#/vm/${d.vm}`}>{d.vm}</a></th>
              <td><Due d={d} /></td>
              <td>{d.every_days === 0 ? '—' : w.hDays(d.every_days)}</td>
              <td>{d.last ? time(lang, d.last.when_ms) : '—'}</td>
              <td>{d.last ? <a href={`#/op/${d.last.operation}`}>{d.last.what}</a> : '—'}</td>
              <td>{d.last?.host ?? '—'}</td>
              <td>{d.project}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}

/** The same of one VM, in a line. */
export function DrillLine({ vm }: { vm: Vm }): VNode | null {
  const { w, lang } = useShared();
  const { value, error } = useRead(() => get<Page<Drill>>(`/v1/drills?vm=${vm.name}`), [mark([vm])]);
  const d = value?.items[0];
  if (!d && !error) return null;
  return (
    <section>
      <h2>{w.drill}</h2>
      {error !== undefined && <Failure error={error} />}
      {d && (
        <p>
          {w.dDue}{w.colon} <Due d={d} />{d.every_days > 0 && ` (${w.dEvery.toLowerCase()} ${w.hDays(d.every_days)})`}.{' '}
          {d.last && <>{w.dLast}{w.colon} <a href={`#/op/${d.last.operation}`}>{d.last.what}</a>, {time(lang, d.last.when_ms)}, {d.last.host}.</>}
        </p>
      )}
    </section>
  );
}
