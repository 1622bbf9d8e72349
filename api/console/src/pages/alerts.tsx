// What operators were told: what stands, then the past week; to whom it went, and who has taken notice.
import type { VNode } from 'preact';
import { alertActions } from '../actions';
import { sorted } from '../alerts';
import type { Alert, Delivery } from '../types';
import { Actions, Badge, Heading, useShared, type Level } from '../ui';
import { time } from '../words';

const LEVELS: Record<Alert['severity'], Level> = { critical: 'bad', warning: 'warn', info: 'note' };
const PAST_SHOWN = 100;

function Went({ list, d }: { list: string; d: Delivery }): VNode {
  const { w, lang } = useShared();
  const level: Level = d.state === 'sent' ? (d.error ? 'warn' : 'good') : d.state === 'failed' ? 'bad' : 'later';
  return (
    <li>
      <Badge level={level}>{w.deliveries[d.state]}</Badge> <strong>{list}</strong>{w.colon} {w.deliveredBy(d.by, time(lang, d.when_ms))}
      {d.tries > 0 && <> · {w.tries(d.tries)}</>}
      {d.repeat && <> · {w.maybeTwice}</>}
      {d.accepted.length > 0 && <> · {w.accepted(d.accepted.join(', '))}</>}
      {d.error && <p class="quiet" lang="en">{d.error}</p>}
    </li>
  );
}

function About({ a }: { a: Alert }): VNode | null {
  const { w } = useShared();
  const links: [string, string][] = [];
  if (a.vm) links.push([`#/vm/${a.vm}`, `${w.vm} ${a.vm}`]);
  if (a.host) links.push([`#/host/${a.host}`, `${w.host} ${a.host}`]);
  if (a.operation) links.push([`#/op/${a.operation}`, w.operationOf]);
  if (links.length === 0) return null;
  return <p>{links.map(([href, text], i) => <>{i > 0 && ' · '}<a href={href}>{text}</a></>)}</p>;
}

function Body({ a }: { a: Alert }): VNode {
  const { store, w, lang } = useShared();
  const told: [string, string][] = [[w.alertWhat, a.what], [w.alertDid, a.did], [w.todo, a.todo]];
  const lists = Object.entries(a.deliveries);
  return (
    <>
      <dl class="told">{told.filter(([, text]) => text).map(([name, text]) => <div><dt>{name}</dt><dd lang="en">{text}</dd></div>)}</dl>
      {a.hint && <p><code>{a.hint}</code></p>}
      <About a={a} />
      <p class="quiet">
        {w.alertSince(time(lang, a.created_ms), a.reporter)}{a.ended_ms !== 0 && ` ${w.alertOver(time(lang, a.ended_ms))}`}
      </p>
      <ul class="plain" aria-label={w.alertWent}>{lists.length === 0 ? <li>{w.alertNobody}</li> : lists.map(([list, d]) => <Went list={list} d={d} />)}</ul>
      {a.acked_ms !== 0 && <p><Badge level="good">{w.acked}</Badge> {w.fBy(a.acked_by, a.ack_reason, time(lang, a.acked_ms))}</p>}
      <Actions actions={alertActions(a, store.view.me)} />
    </>
  );
}

function Standing({ a }: { a: Alert }): VNode {
  const { w } = useShared();
  return (
    <article class={`alert ${LEVELS[a.severity]}`}>
      <h3><Badge level={LEVELS[a.severity]}>{w.alertSeverities[a.severity]}</Badge> <span lang="en">{a.title}</span></h3>
      <Body a={a} />
    </article>
  );
}

function Past({ a }: { a: Alert }): VNode {
  const { w, lang } = useShared();
  return (
    <details class="alert">
      <summary>
        <Badge level={LEVELS[a.severity]}>{w.alertSeverities[a.severity]}</Badge> {time(lang, a.created_ms)} <span lang="en">{a.title}</span>
        {a.acked_ms !== 0 && <> <Badge level="good">{w.acked}</Badge></>}
        {a.ended_ms !== 0 && <> <Badge level="note">{w.over}</Badge></>}
      </summary>
      <Body a={a} />
    </details>
  );
}

export function AlertsPage(): VNode {
  const { store, w } = useShared();
  const { standing, past } = sorted(store.alerts.values());
  return (
    <>
      <Heading>{w.alerts}</Heading>
      <p role="status"><Badge level={standing.length === 0 ? 'good' : 'bad'}>{w.alertsStand(standing.length)}</Badge></p>
      <p class="quiet">{w.alertsNote}</p>
      {standing.length > 0 && <section class="alerts"><h2>{w.alertsStanding}</h2>{standing.map((a) => <Standing key={a.id} a={a} />)}</section>}
      <section class="alerts">
        <h2>{w.alertsPast}</h2>
        {past.length === 0 ? <p class="quiet">{w.none}</p> : past.slice(0, PAST_SHOWN).map((a) => <Past key={a.id} a={a} />)}
        {past.length > PAST_SHOWN && <p>{w.more(past.length - PAST_SHOWN)}</p>}
      </section>
    </>
  );
}
