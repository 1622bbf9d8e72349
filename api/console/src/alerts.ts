// Which alerts stand, and which are past. Pure; the words are words.ts.
import type { Alert } from './types';

/** What can be over, and not a moment: hostd ends it. */
const STATES = new Set(['host-silent', 'vm-down', 'vm-unprotected', 'split-brain', 'etcd-voter-lost', 'certificate-expiring']);

/** A state that lasts stands until it is over, a moment until somebody has taken notice; what was only told never does. */
export function stands(alert: Alert): boolean {
  if (alert.severity === 'info') return false;
  return STATES.has(alert.kind) ? alert.ended_ms === 0 : alert.acked_ms === 0;
}

export interface Sorted { standing: Alert[]; past: Alert[] }

/** The worst first, and then the newest; of the past ones the newest. */
export function sorted(all: Iterable<Alert>): Sorted {
  const rank = { critical: 0, warning: 1, info: 2 };
  const newest = (a: Alert, b: Alert): number => b.created_ms - a.created_ms || (a.id < b.id ? -1 : 1);
  const alerts = [...all];
  return {
    standing: alerts.filter(stands).sort((a, b) => rank[a.severity] - rank[b.severity] || newest(a, b)),
    past: alerts.filter((a) => !stands(a)).sort(newest),
  };
}

/** Those that nobody has taken notice of yet. */
export function unseen(all: Iterable<Alert>): number {
  return [...all].filter((a) => stands(a) && a.acked_ms === 0).length;
}
