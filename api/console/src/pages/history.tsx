// How a VM fared: figures, charts, outages, and every day as a table.
import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { get } from '../api';
import { ChartOf, type Chart } from '../chart';
import { columns, dayStart, duration, mostBehindMib, percent, seen, unseen } from '../charts';
import { replicates } from '../judge';
import type { History, HistoryDay, Vm } from '../types';
import { Facts, Failure, Table, useRead, useShared } from '../ui';
import { day, size, time, type Lang, type Words } from '../words';

const SPANS = [7, 30, 90, 400];
const WRITTEN_AFTER_MS = 5_000; // a change of state is in the record that long after it

/** What one day was, in a line. */
function dayWords(d: HistoryDay, both: boolean, w: Words, lang: Lang): string {
  const parts = [`${w.hUp} ${duration(lang, d.up_ms)}`, `${w.hDown} ${duration(lang, d.down_ms)}`, `${w.hUnseen} ${duration(lang, d.unknown_ms)}`];
  if (d.off_ms > 0) parts.push(`${w.hOff} ${duration(lang, d.off_ms)}`);
  if (both && !unseen(d)) parts.push(`${w.hProtected} ${percent(lang, d.protected_ms, seen(d))}`, `${w.hBehind} ${size(lang, Math.ceil(mostBehindMib(d)))}`);
  return `${day(lang, dayStart(d.day))}${w.colon} ${parts.join(', ')}`;
}

function Figures({ h, both }: { h: History; both: boolean }): VNode {
  const { w, lang } = useShared();
  const { sum } = h;
  const facts: [string, ComponentChildren][] = [[w.hAvailable, percent(lang, sum.up_ms, seen(sum))]];
  if (both) facts.push([w.hProtected, percent(lang, sum.protected_ms, seen(sum))]);
  facts.push([w.hOutages, sum.outages === 0 ? w.none : w.hOutagesSum(sum.outages, duration(lang, sum.down_ms), duration(lang, sum.longest_outage_ms))]);
  facts.push([w.hUnseen, sum.unknown_ms === 0 ? w.none : `${duration(lang, sum.unknown_ms)}. ${w.hLeast(percent(lang, sum.up_ms, seen(sum) + sum.unknown_ms))}`]);
  facts.push([w.hFailovers, sum.failovers], [w.hUpTo, time(lang, sum.to_ms)]);
  return <Facts of={facts} />;
}

function Charts({ h, both }: { h: History; both: boolean }): VNode {
  const { w, lang } = useShared();
  const last = h.days.length - 1;
  const [at, set] = useState(last);
  const marked = h.days[Math.min(at, last)] as HistoryDay;
  const charts = useMemo((): Chart[] => {
    const c = columns(h);
    const of = (label: string, more: Omit<Chart, 'label' | 'day'>): Chart => ({ label: `${label}. ${w.hAsTable}`, day: (s) => day(lang, s), ...more });
    const out = [of(w.hChartDown, {
      x: c.days, seconds: true, y: (v) => duration(lang, v * 1000).replace(/ 0 (s|min|h)$/, ''),
      series: [{ label: w.hDown, colour: '--bad', kind: 'bars-left', values: c.downS }, { label: w.hUnseen, colour: '--unseen', kind: 'bars-right', values: c.unseenS }],
    })];
    if (!both) return out;
    out.push(of(w.hChartProtected, { x: c.days, most: 100, y: (v) => `${v} %`, series: [{ label: w.hProtected, colour: '--good', kind: 'bars', values: c.protectedPct }] }));
    out.push(of(w.hChartBehind, { x: c.hours, y: (v) => size(lang, v), series: [{ label: w.hBehind, colour: '--first', kind: 'steps', values: c.behindMib }] }));
    return out;
  }, [h, both, lang, w]);
  const picked = (x: number): void => {
    const found = h.days.findIndex((d) => x < dayStart(d.day) + 86_400);
    if (found >= 0) set(found);
  };
  const titles = [w.hChartDown, w.hChartProtected, w.hChartBehind];
  const words = dayWords(marked, both, w, lang);
  return (
    <>
      {charts.map((chart, i) => (
        <figure>
          <figcaption>
            {titles[i]}
            {chart.series.length > 1 && chart.series.map((s) => <span class="key"><span class={`swatch ${s.colour.slice(2)}`} aria-hidden="true" /> {s.label}</span>)}
          </figcaption>
          <ChartOf chart={chart} marked={dayStart(marked.day) + (i === 2 ? 43_200 : 0)} picked={picked} />
        </figure>
      ))}
      <label class="days">
        {w.hDay}
        <input type="range" min={0} max={last} value={Math.min(at, last)} aria-valuetext={words} onInput={(e) => set(Number(e.currentTarget.value))} />
      </label>
      <p class="day-words">{words}</p>
    </>
  );
}

function Outages({ h }: { h: History }): VNode | null {
  const { w, lang } = useShared();
  const more = h.days.reduce((n, d) => n + d.more_outages, 0);
  const all = h.days.flatMap((d) => d.outages).reverse();
  if (all.length === 0) return null;
  return (
    <>
      <h3>{w.hOutages}</h3>
      <Table label={w.hOutages} head={[w.hFrom, w.hTo, w.hFor, w.error, w.kind]}>
        {all.map((o) => (
          <tr key={o.from_ms}>
            <td>{time(lang, o.from_ms)}</td><td>{time(lang, o.to_ms)}</td><td>{duration(lang, o.to_ms - o.from_ms)}</td>
            <td>{w.outageWhys[o.why]}</td>
            <td>{o.operation ? <a href={`#/op/${o.operation}`}>{o.operation}</a> : '—'}</td>
          </tr>
        ))}
      </Table>
      {more > 0 && <p>{w.more(more)}</p>}
    </>
  );
}

function Days({ h, both }: { h: History; both: boolean }): VNode {
  const { w, lang } = useShared();
  return (
    <details>
      <summary>{w.hTable}</summary>
      <Table label={w.hTable} head={[w.hDay, w.hAvailable, w.hUp, w.hDown, w.hUnseen, w.hOff, ...(both ? [w.hProtected, w.hBehind] : [])]}>
        {[...h.days].reverse().map((d) => (
          <tr key={d.day}>
            <th scope="row">{day(lang, dayStart(d.day))}</th>
            <td>{percent(lang, d.up_ms, seen(d))}</td>
            {[d.up_ms, d.down_ms, d.unknown_ms, d.off_ms].map((ms) => <td>{ms === 0 ? '—' : duration(lang, ms)}</td>)}
            {both && <td>{percent(lang, d.protected_ms, seen(d))}</td>}
            {both && <td>{d.behind_kib.length === 0 ? '—' : size(lang, Math.ceil(mostBehindMib(d)))}</td>}
          </tr>
        ))}
      </Table>
    </details>
  );
}

export function HistoryCard({ vm }: { vm: Vm }): VNode {
  const { w } = useShared();
  const [days, setDays] = useState(30);
  const [again, readAgain] = useState(0);
  // The record follows a change of state by a few seconds, and no event tells of it.
  useEffect(() => {
    const timer = setTimeout(() => readAgain((n) => n + 1), WRITTEN_AFTER_MS);
    return () => clearTimeout(timer);
  }, [vm.state, vm.protected, vm.host]);
  const { value: h, error } = useRead(() => get<History>(`/v1/vms/${vm.name}/history?days=${days}`), [vm.name, days, again]);
  const both = replicates(vm);
  return (
    <section class="history">
      <h2>{w.hTitle}</h2>
      <p>
        <label class="choice">
          {w.hSpan}
          <select value={days} onChange={(e) => setDays(Number(e.currentTarget.value))}>{SPANS.map((n) => <option value={n}>{w.hDays(n)}</option>)}</select>
        </label>{' '}
        <button type="button" onClick={() => readAgain(again + 1)}>{w.hAgain}</button>
      </p>
      {error !== undefined && <Failure error={error} />}
      {!h && !error && <p>{w.loading}</p>}
      {h && h.days.length === 0 && <p class="quiet">{w.hNothing}</p>}
      {h && h.days.length > 0 && (
        <>
          <Figures h={h} both={both} />
          <p class="quiet">{w.hNote}</p>
          <Charts key={days} h={h} both={both} />
          <Outages h={h} />
          <Days h={h} both={both} />
        </>
      )}
    </section>
  );
}
