// Who did what, when and why: of the cell, or of one VM.
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { joined, refreshed, trail, type Trail as TrailOf } from '../audit';
import { Failure, Heading, Table, tongue, useShared } from '../ui';
import { time } from '../words';

export function Trail({ object }: { object: string }): VNode {
  const { store, w, lang } = useShared();
  const [shown, set] = useState<TrailOf>();
  const [error, fail] = useState<unknown>();
  const asked = useRef(0); // for older ones, and not answered
  useEffect(() => {
    let gone = false;
    const take = (head: TrailOf): void => {
      if (gone) return;
      const waits = asked.current > 0;
      set((old) => refreshed(head, old, waits)); // what is older and shown stays
      fail(undefined);
    };
    trail(0, object).then(take, (e: unknown) => gone || fail(e));
    return () => void (gone = true);
  }, [object, store.audits]);
  if (error && !shown) return <Failure error={error} />;
  if (!shown) return <p>{w.loading}</p>;
  const older = (): void => {
    const take = (more: TrailOf): void => {
      set((old) => (old ? joined(old, more) : more));
      fail(undefined);
    };
    ++asked.current;
    trail(shown.before, object).then(take, fail).finally(() => --asked.current);
  };
  return (
    <>
      {shown.records.length === 0 ? <p class="quiet">{shown.before > 0 ? w.noneNewest : w.none}</p> : (
        <Table label={w.history} head={[w.when, w.who, w.what, ...(object ? [] : [w.object]), w.reason, w.result]}>
          {shown.records.map((r) => (
            <tr key={r.sequence}>
              <td>{time(lang, r.when_ms)}</td>
              <td>{r.who.name} ({w.roles[r.who.role] ?? r.who.role})</td>
              <td lang="en">{r.operation ? <a href={`#/op/${r.operation}`}>{r.what}</a> : r.what}</td>
              {!object && <td>{r.object}</td>}
              <td lang={tongue(r.who)}>{r.why}</td>
              <td lang="en">{r.result}</td>
            </tr>
          ))}
        </Table>
      )}
      {shown.before > 0 && <button type="button" onClick={older}>{w.older}</button>}
      {error !== undefined && <Failure error={error} />}
    </>
  );
}

export function AuditPage(): VNode {
  const { store, w } = useShared();
  return <><Heading>{w.audit}</Heading>{store.staff && <p class="quiet">{w.auditNote}</p>}<Trail object="" /></>;
}

export function EventsPage(): VNode {
  const { store, w, lang } = useShared();
  return (
    <>
      <Heading>{w.events}</Heading>
      <p class="quiet">{w.eventsNote}</p>
      {store.events.length === 0 ? <p>{w.none}</p> : (
        <Table label={w.events} head={[w.when, w.what, w.object]}>
          {store.events.map((e) => <tr><td>{time(lang, e.at)}</td><td><code>{e.type}</code></td><td>{e.object}</td></tr>)}
        </Table>
      )}
    </>
  );
}
