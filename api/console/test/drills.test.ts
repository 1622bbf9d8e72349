import { describe, expect, it } from 'vitest';
import { mark, sorted } from '../src/drills';
import type { Drill, LastCare, Vm } from '../src/types';

function drill(vm: string, every_days: number, due_ms?: number): Drill {
  return { vm, project: 'blue', every_days, overdue: false, due_ms };
}

describe('drills', () => {
  it('stand with the longest overdue first: never made, then by date, then those of which none is asked', () => {
    const all = [drill('none', 0), drill('later', 90, 9), drill('b-never', 90), drill('soon', 90, 4), drill('a-never', 90)];
    expect(sorted(all).map((d) => d.vm)).toEqual(['a-never', 'b-never', 'soon', 'later', 'none']);
  });

  it('are read again when one was made or is asked for, and not for what else becomes of a VM', () => {
    const last = (when_ms: number): LastCare => ({ when_ms, good: true, text: 'b1', operation: 'op-1' });
    const vm = (more: Partial<Vm>): Vm => ({ name: 'web', drill_every_days: 90, state: 'running', ...more }) as Vm;
    const before = mark([vm({})]);
    expect(mark([vm({ state: 'migrating', last: { 'vm-copy': last(5) } })])).toBe(before);
    for (const what of ['vm-migrate', 'vm-failover', 'vm-failback']) expect(mark([vm({ last: { [what]: last(5) } })])).not.toBe(before);
    expect(mark([vm({ drill_every_days: 30 })])).not.toBe(before);
    expect(mark([vm({}), vm({ name: 'db' })])).not.toBe(before);
  });
});
