// One chart on a canvas, by uPlot, which is fetched only where a chart is. Whoever cannot see it has the same figures as text and
// as a table beside it; the day that is marked is chosen there, by mouse and by keyboard.
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Series { label: string; colour: '--bad' | '--unseen' | '--good' | '--first'; kind: 'bars-left' | 'bars-right' | 'bars' | 'steps'; values: (number | null)[] }
export interface Chart {
  label: string; // for those who do not see it
  x: number[]; // seconds since 1970
  series: Series[];
  /** What stands at the axis. */
  y(value: number): string;
  day(seconds: number): string;
  most?: number; // of the axis; else as much as there is
  seconds?: boolean; // of a time that is mostly short and sometimes long: the axis is not even
}

const DAY_S = 86_400;
const HEIGHT = 190;
const LONG = [0, 10, 60, 600, 3600, 6 * 3600, DAY_S]; // seconds at an uneven axis

/** Changes when other colours do. */
function useScheme(): string {
  const dark = (): string => `${document.documentElement.dataset.theme ?? ''} ${String(matchMedia('(prefers-color-scheme: dark)').matches)}`;
  const [scheme, set] = useState(dark);
  useEffect(() => {
    const look = (): void => set(dark());
    const query = matchMedia('(prefers-color-scheme: dark)');
    query.addEventListener('change', look);
    const watch = new MutationObserver(look);
    watch.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
    return () => (query.removeEventListener('change', look), watch.disconnect());
  }, []);
  return scheme;
}

function options(u: typeof uPlot, chart: Chart, width: number, picked: (x: number) => void): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const bars = u.paths.bars as NonNullable<typeof u.paths.bars>;
  const paths = (s: Series): uPlot.Series.PathBuilder | undefined => {
    if (s.kind === 'steps') return u.paths.stepped?.({ align: 1 });
    if (s.kind === 'bars') return bars({ size: [0.8, 40] });
    return bars({ size: [0.4, 20], align: s.kind === 'bars-left' ? -1 : 1 });
  };
  const axis = { stroke: colour('--text'), grid: { stroke: colour('--line'), width: 1 }, ticks: { stroke: colour('--line'), width: 1 }, font: '13px system-ui, sans-serif' };
  const days = chart.x.length < 2 ? 1 : ((chart.x.at(-1) ?? 0) - (chart.x[0] ?? 0)) / DAY_S;
  const half = chart.series[0]?.kind === 'steps' ? 0 : DAY_S / 2;
  return {
    width, height: HEIGHT, legend: { show: false },
    tzDate: (ts) => u.tzDate(new Date(ts * 1000), 'Etc/UTC'),
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    scales: {
      x: { time: true, range: (_, low, high) => [low - half, high + half] },
      y: chart.seconds
        ? { distr: 4, asinh: 10, range: (_, __, high) => [0, LONG.find((n) => n >= Math.max(10, high)) ?? DAY_S] }
        : { range: (_, __, high) => [0, chart.most ?? Math.max(1, high * 1.1)] },
    },
    axes: [
      { ...axis, incrs: [1, 2, 7, 14, 30, 60, 90].map((n) => n * DAY_S), space: days < 20 ? 40 : 60, values: (_, at) => at.map(chart.day) },
      {
        ...axis, size: 78, values: (_, at) => at.map((v) => (v === null ? '' : chart.y(v))),
        ...(chart.seconds ? { splits: (self) => LONG.filter((n) => n <= (self.scales.y?.max ?? 0)), filter: (_, at) => at } : {}),
      },
    ],
    series: [
      {},
      ...chart.series.map((s) => ({
        label: s.label, stroke: colour(s.colour), fill: s.kind === 'steps' ? undefined : colour(s.colour), width: s.kind === 'steps' ? 2 : 0,
        paths: paths(s), points: { show: false },
      })),
    ],
    hooks: {
      setCursor: [(self) => {
        const at = self.cursor.idx;
        const x = at === null || at === undefined ? undefined : chart.x[at];
        if (x !== undefined && self.cursor.event) picked(x);
      }],
    },
  };
}

export function ChartOf({ chart, marked, picked }: { chart: Chart; marked: number; picked(x: number): void }): VNode {
  const place = useRef<HTMLDivElement>(null);
  const drawn = useRef<uPlot>();
  const scheme = useScheme();
  const choose = useRef(picked);
  choose.current = picked;
  const mark = (): void => {
    const u = drawn.current;
    if (u) u.setCursor({ left: u.valToPos(marked, 'x'), top: 0 }, false);
  };
  useEffect(() => {
    let gone = false;
    let resized: ResizeObserver | undefined;
    void import('uplot').then(({ default: u }) => {
      const at = place.current;
      if (gone || !at) return;
      drawn.current = new u(options(u, chart, at.clientWidth, (x) => choose.current(x)), [chart.x, ...chart.series.map((s) => s.values)], at);
      mark();
      resized = new ResizeObserver(() => drawn.current?.setSize({ width: at.clientWidth, height: HEIGHT }));
      resized.observe(at);
    });
    return () => {
      gone = true;
      resized?.disconnect();
      drawn.current?.destroy();
      drawn.current = undefined;
    };
  }, [chart, scheme]);
  useEffect(mark, [marked]);
  return <div class="chart" role="img" aria-label={chart.label} ref={place} />;
}
