// Operations, newest first, and one of them with its steps as they go.
import type { VNode } from 'preact';
import { useEffect } from 'preact/hooks';
import { operationActions } from '../actions';
import { get } from '../api';
import type { Operation, OperationState } from '../types';
import { Actions, Badge, Facts, Failure, Heading, Table, tongue, useRead, useShared, type Level } from '../ui';
import { time } from '../words';

const LEVELS: Record<OperationState, Level> = { running: 'warn', undoing: 'warn', done: 'good', undone: 'note', 'needs-operator': 'bad' };
const SHOWN = 100;

export function OperationsPage(): VNode {
  const { store, w, lang } = useShared();
  const all = [...store.view.operations.values()].sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, SHOWN);
  return (
    <>
      <Heading>{w.operations}</Heading>
      {all.length === 0 ? <p class="quiet">{w.none}</p> : (
        <Table label={w.operations} head={[w.when, w.kind, w.object, w.state, w.who, w.reason]}>
          {all.map((o) => (
            <tr key={o.id}>
              <td>{time(lang, o.created_ms)}</td>
              <th scope="row"><a href={`#/op/${o.id}`}>{o.kind}</a></th>
              <td>{o.vm ? <a href={`#/vm/${o.vm}`}>{o.vm}</a> : (o.target_host ?? o.object)}</td>
              <td><Badge level={LEVELS[o.state]}>{w.opStates[o.state]}</Badge>{o.progress?.percent !== undefined && o.progress.percent >= 0 && o.state === 'running' ? ` ${o.progress.percent} %` : ''}</td>
              <td>{o.author.name}</td>
              <td lang={tongue(o.author)}>{o.reason}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}

function Steps({ op }: { op: Operation }): VNode {
  const { w } = useShared();
  const now = op.state === 'running' ? op.steps.findIndex((s) => s.state === 'pending') : -1;
  const moving = (kind: string, i: number): boolean => op.progress !== undefined && (op.progress.step ? op.progress.step === kind : i === now);
  const level: Record<string, Level> = { done: 'good', failed: 'bad', undone: 'note', pending: 'later' };
  return (
    <ol class="steps">
      {op.steps.map((s, i) => (
        <li aria-current={i === now ? 'step' : undefined}>
          <Badge level={level[s.state] ?? 'unknown'}>{i === now ? w.opStates.running : w.stepStates[s.state]}</Badge> <code>{s.kind}</code> · {s.host}
          {s.took_ms ? <span class="quiet"> {(s.took_ms / 1000).toFixed(1)} s</span> : null}
          {s.note && <span class="quiet" lang="en"> {s.note}</span>}
          {s.state === 'pending' && moving(s.kind, i) && op.progress && (
            <p>
              <progress aria-label={w.progress} max={100} value={(op.progress.percent ?? -1) >= 0 ? op.progress.percent : undefined} />{' '}
              <span lang="en">{op.progress.text}</span> {(op.progress.percent ?? -1) >= 0 ? `${op.progress.percent} %` : ''}
            </p>
          )}
        </li>
      ))}
    </ol>
  );
}

export function OperationPage({ id }: { id: string }): VNode {
  const { store, w, lang } = useShared();
  const known = store.view.operations.get(id);
  const { value, error } = useRead(() => (known ? Promise.resolve(known) : get<Operation>(`/v1/operations/${id}`)), [id, known === undefined]);
  useEffect(() => void (known && store.look(id)), [id]);
  const op = known ?? value;
  if (!op) return <><Heading>{id}</Heading>{error ? <Failure error={error} /> : <p>{w.loading}</p>}</>;
  const result = Object.entries(op.result ?? {});
  return (
    <>
      <Heading>{op.kind} {op.vm || op.target_host || op.object}</Heading>
      <p role="status"><Badge level={LEVELS[op.state]}>{w.opStates[op.state]}</Badge> <code>{op.id}</code></p>
      <p>{w.asked(`${op.author.name} (${w.roles[op.author.role] ?? op.author.role})`, time(lang, op.created_ms))}: “<span lang={tongue(op.author)}>{op.reason}</span>”</p>
      {op.vm && <p><a href={`#/vm/${op.vm}`}>{w.vm} {op.vm}</a></p>}
      {op.error && <p class="problem"><strong>{w.error}{w.colon}</strong> <span lang="en">{op.error}</span></p>}
      {op.todo && <p class="problem"><strong>{w.todo}{w.colon}</strong> <span lang="en">{op.todo}</span></p>}
      <Actions actions={operationActions(op, store.view.me)} />
      {op.steps.length > 0 && <section><h2>{w.steps}</h2><Steps op={op} /></section>}
      {result.length > 0 && <section><h2>{w.result}</h2><Facts of={result.map(([name, text]) => [name, <span lang="en">{text}</span>])} /></section>}
    </>
  );
}
