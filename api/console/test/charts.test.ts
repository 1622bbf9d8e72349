import { describe, expect, it } from 'vitest';
import { columns, dayStart, duration, mostBehindMib, percent } from '../src/charts';
import type { History, HistoryDay } from '../src/types';

const HOUR = 3_600_000;
function day(name: string, more: Partial<HistoryDay> = {}): HistoryDay {
  const from = dayStart(name) * 1000;
  return { day: name, from_ms: from, to_ms: from + 24 * HOUR, up_ms: 24 * HOUR, down_ms: 0, unknown_ms: 0, off_ms: 0, protected_ms: 24 * HOUR,
    resync_ms: 0, failovers: 0, behind_kib: [], outages: [], more_outages: 0, ...more };
}
const of = (...days: HistoryDay[]): History => ({ vm: 'web', days, sum: { ...day('2026-11-28'), outages: 0, longest_outage_ms: 0 } });

describe('the charts', () => {
  it('have one bar a day, in seconds and per cent', () => {
    const c = columns(of(day('2026-11-27', { up_ms: 23 * HOUR, down_ms: 14_200, unknown_ms: HOUR - 14_200, protected_ms: 23 * HOUR / 2 }), day('2026-11-28')));
    expect(c.days).toEqual([1795737600, 1795824000]);
    expect(c.downS).toEqual([14.2, 0]);
    expect(c.unseenS).toEqual([3585.8, 0]);
    expect(c.protectedPct.map((p) => Math.round(p ?? -1))).toEqual([50, 100]);
  });
  it('leave a day out in which it should not run', () => {
    expect(columns(of(day('2026-11-28', { up_ms: 0, protected_ms: 0, off_ms: 24 * HOUR }))).protectedPct).toEqual([null]);
  });
  it('have one step an hour, of what is known', () => {
    const from = dayStart('2026-11-28') * 1000;
    const c = columns(of(day('2026-11-28', { from_ms: from + 2.5 * HOUR, to_ms: from + 5.2 * HOUR, behind_kib: [0, 0, 2048, 1024, ...Array<number>(20).fill(0)] })));
    expect(c.hours).toHaveLength(6);
    expect(c.behindMib).toEqual([null, null, 2, 1, 0, 0]);
    expect(columns(of(day('2026-11-27'), day('2026-11-28'))).hours).toHaveLength(48);
  });
  it('have a gap where nobody saw it, not nothing', () => {
    const c = columns(of(day('2026-11-26', { up_ms: 0, unknown_ms: 24 * HOUR, protected_ms: 0 }), day('2026-11-27', { up_ms: HOUR, unknown_ms: 23 * HOUR }),
      day('2026-11-28', { up_ms: 0, off_ms: 24 * HOUR, protected_ms: 0 })));
    expect(c.behindMib.slice(0, 24)).toEqual(Array(24).fill(null));
    expect(c.behindMib.slice(24)).toEqual(Array(48).fill(0));
    expect(c.protectedPct[0]).toBe(null);
  });
  it('are all empty when nothing is known', () => {
    expect(columns(of())).toEqual({ days: [], downS: [], unseenS: [], protectedPct: [], hours: [], behindMib: [] });
  });
});

describe('figures', () => {
  it('never round up to all of it', () => {
    expect([percent('en', 86_399_999, 86_400_000), percent('fr', 99_985, 100_000), percent('en', 1, 1), percent('en', 0, 0)]).toEqual(['99.99 %', '99,98 %', '100 %', '—']);
  });
  it('are short, and nothing that was is nothing', () => {
    expect([0, 40, 14_200, 65_000, 7_860_000, 100 * HOUR].map((ms) => duration('en', ms))).toEqual(['0 s', '0.1 s', '14.2 s', '1 min 5 s', '2 h 11 min', '4 d 4 h']);
    expect(duration('fr', 100 * HOUR)).toBe('4 j 4 h');
  });
  it('know the hour that was worst', () => {
    expect([mostBehindMib(day('2026-11-28')), mostBehindMib(day('2026-11-28', { behind_kib: [0, 4096, 1024] }))]).toEqual([0, 4]);
  });
});
