// Calls of the API from the page that this host served. Who asks is the browser's certificate; there is no login here.
import type { Page, Problem, Submitted } from './types';

/** A refusal of the API in its own words, or a connection that failed (status 0). */
export class ApiError extends Error {
  constructor(readonly status: number, readonly code: string, readonly title: string, detail: string) {
    super(detail);
  }
  /** Sent, but no answer that settles it: the same key asks again without doing it twice. */
  get unsettled(): boolean {
    return this.status === 0 || this.code === 'outcome-unknown' || this.code === 'timeout';
  }
}

const ANSWER_WITHIN_MS = 30_000;

async function call(method: string, path: string, headers: Record<string, string>, body?: string): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method, headers, body, cache: 'no-store', redirect: 'error', signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
  } catch (e) {
    throw new ApiError(0, 'connection', '', e instanceof Error ? e.message : String(e));
  }
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  throw new ApiError(answer.status, problem.code, problem.title, problem.detail);
}

async function problemOf(answer: Response): Promise<Problem> {
  try {
    const said = (await answer.json()) as Partial<Problem> & { sentence?: string };
    return {
      title: said.title ?? '', status: answer.status, code: said.code ?? 'internal',
      detail: said.detail ?? said.sentence ?? `HTTP ${answer.status}`,
    };
  } catch {
    return { title: '', status: answer.status, code: 'internal', detail: `HTTP ${answer.status}` };
  }
}

export async function get<T>(path: string): Promise<T> {
  return (await (await call('GET', path, {})).json()) as T;
}

/** /v1/health answers 503 with the same document when something is missing. */
export async function health<T>(): Promise<T> {
  const answer = await fetch('/v1/health', { cache: 'no-store', signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  if (!(answer.headers.get('content-type') ?? '').startsWith('application/json')) {
    const problem = await problemOf(answer);
    throw new ApiError(answer.status, problem.code, problem.title, problem.detail);
  }
  return (await answer.json()) as T;
}

const PAGES = 64; // of 100 VMs each: more than a cell has

/** All pages of a list; `revision` is of the oldest, so that events after it leave no gap. */
export async function all<T>(path: string): Promise<{ items: T[]; revision: number }> {
  const items: T[] = [];
  let revision = Number.MAX_SAFE_INTEGER;
  let after = '';
  for (let i = 0; i < PAGES; ++i) {
    const page: Page<T> = await get(path + (after ? `${path.includes('?') ? '&' : '?'}after=${encodeURIComponent(after)}` : ''));
    items.push(...page.items);
    revision = Math.min(revision, page.revision);
    if (!page.next) break;
    after = page.next;
  }
  return { items, revision };
}

export interface Change {
  path: string;
  body?: Record<string, unknown>;
  /** Revision of the VM's definition that the person saw: a change in between is refused (412). */
  revision?: number;
}

export async function change(what: Change, reason: string, how: { key: string; dryRun: boolean }): Promise<Submitted> {
  const headers: Record<string, string> = { 'Content-Type': 'application/json' };
  if (!how.dryRun) headers['Idempotency-Key'] = how.key;
  if (what.revision !== undefined) headers['If-Match'] = `"${what.revision}"`;
  const path = how.dryRun ? `${what.path}?dry_run=true` : what.path;
  const answer = await call('POST', path, headers, JSON.stringify({ ...what.body, reason }));
  return (await answer.json()) as Submitted;
}

export function newKey(): string {
  return `console-${crypto.randomUUID()}`;
}
