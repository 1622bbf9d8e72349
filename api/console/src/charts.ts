// How a VM fared, as the columns a chart takes, and as words. Pure.
import type { History, HistoryDay, Times } from './types';
import { number, type Lang } from './words';

const HOUR_S = 3600;

/** Seconds since 1970 of a day's first moment in UTC. */
export function dayStart(day: string): number {
  return Date.parse(`${day}T00:00:00Z`) / 1000;
}

export interface Columns {
  days: number[]; // x of the first two charts
  downS: number[];
  unseenS: number[];
  protectedPct: (number | null)[]; // null: it was not seen, or should not run
  hours: number[]; // x of the third
  behindMib: (number | null)[]; // null: not seen
}

export function columns(h: History): Columns {
  const c: Columns = { days: [], downS: [], unseenS: [], protectedPct: [], hours: [], behindMib: [] };
  for (const d of h.days) {
    const start = dayStart(d.day);
    c.days.push(start);
    c.downS.push(d.down_ms / 1000);
    c.unseenS.push(d.unknown_ms / 1000);
    c.protectedPct.push(seen(d) > 0 ? (100 * d.protected_ms) / seen(d) : null);
    for (let i = 0; i < 24; ++i) {
      const at = start + i * HOUR_S;
      if (at * 1000 >= d.to_ms) break;
      c.hours.push(at);
      c.behindMib.push(unseen(d) || (at + HOUR_S) * 1000 <= d.from_ms ? null : (d.behind_kib[i] ?? 0) / 1024);
    }
  }
  return c;
}

/** Nobody saw it all that time: what is not told of it is not nothing. */
export function unseen(t: Times): boolean {
  return t.up_ms + t.down_ms + t.off_ms === 0;
}

/** The time in which it should run and was seen. */
export function seen(t: Times): number {
  return t.up_ms + t.down_ms;
}

export function mostBehindMib(d: HistoryDay): number {
  return Math.max(0, ...d.behind_kib) / 1024;
}

/** "99.98 %", cut and not rounded: 100 % means that nothing was missing. */
export function percent(lang: Lang, part: number, whole: number): string {
  if (whole <= 0) return '—';
  return `${number(lang, Math.floor((part * 10_000) / whole) / 100, 2)} %`;
}

/** "14 s", "3 min 5 s", "2 h 10 min", "3 d 4 h". */
export function duration(lang: Lang, ms: number): string {
  if (ms < 60_000) return `${number(lang, Math.ceil(ms / 100) / 10, 1)} s`;
  const s = Math.round(ms / 1000);
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} ${lang === 'fr' ? 'j' : 'd'} ${Math.floor((s % 86_400) / 3600)} h`;
}
