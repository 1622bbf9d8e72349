// The audit chain, read from its newest end. Its pages are put together where they meet.
import { get } from './api';
import type { AuditRecord, Page } from './types';

const WINDOW = 500;
export const KEPT = 1_000; // of a list that is open for long
const TRIES = 6; // windows looked through at a time; a client's own records may be far apart

/** What there is from `top` down to after `before`, the newest first; `before` 0: to the chain's begin. */
export interface Trail { records: AuditRecord[]; top: number; before: number }

/** The newest records first, from sequence number `before` downwards (0: from the newest). */
export async function trail(before: number, object: string, wanted = 50): Promise<Trail> {
  const filter = object ? `&object=${encodeURIComponent(object)}` : '';
  const first = before > 0 ? before : (await get<{ head: { sequence: number } }>('/v1/audit?limit=1')).head.sequence;
  let top = first;
  const records: AuditRecord[] = [];
  for (let i = 0; i < TRIES && top > 0 && records.length < wanted; ++i) {
    const from = Math.max(1, top - WINDOW + 1);
    const page = await get<Page<AuditRecord>>(`/v1/audit?from=${from}&limit=${top - from + 1}${filter}`);
    records.push(...page.items.reverse());
    top = from - 1;
  }
  return newest({ records, top: first, before: top }, wanted);
}

function newest(t: Trail, most: number): Trail {
  if (t.records.length <= most) return t;
  const records = t.records.slice(0, most);
  return { records, top: t.top, before: (records[most - 1]?.sequence ?? 1) - 1 };
}

/** What is shown with its new head. What is new does not make it longer than `KEPT`, or than what was asked for: the oldest
 *  go, and can be asked for again. Not while older ones are `asked` for, which begin where it ends. */
export function refreshed(head: Trail, shown: Trail | undefined, asked: boolean): Trail {
  const both = joined(head, shown);
  return asked ? both : newest(both, Math.max(KEPT, shown?.records.length ?? 0));
}

/** Both as one, without a record twice. Where they do not meet the newer alone: nothing may look as if nothing were between. */
export function joined(newer: Trail, older: Trail | undefined): Trail {
  if (!older || older.top < newer.before) return newer;
  const rest = older.records.filter((r) => r.sequence <= newer.before);
  return { records: [...newer.records, ...rest], top: Math.max(newer.top, older.top), before: Math.min(newer.before, older.before) };
}
