// Which drill comes first, and what of the VMs says that they must be read again. Pure; what is due is hostd's word.
import type { Drill, Vm } from './types';

export const EXERCISES = ['vm-migrate', 'vm-failover', 'vm-failback'];

/** The longest overdue first, those of which none is asked last. */
export function sorted(all: Iterable<Drill>): Drill[] {
  const rank = (d: Drill): number => (d.every_days === 0 ? Number.MAX_SAFE_INTEGER : d.due_ms ?? 0);
  return [...all].sort((a, b) => rank(a) - rank(b) || (a.vm < b.vm ? -1 : 1));
}

/** Changes when a drill of these VMs may have. */
export function mark(vms: Iterable<Vm>): string {
  return [...vms].map((vm) => [vm.name, vm.drill_every_days, ...EXERCISES.map((what) => vm.last?.[what]?.when_ms ?? 0)].join(' ')).sort().join('\n');
}
