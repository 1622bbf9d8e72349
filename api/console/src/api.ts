// Calls of the API from the page that this host served. Who asks is the browser's certificate; there is no login here.
import type { Page, Problem, Submitted } from './types';

/** A refusal of the API in its own words, or a connection that failed (status 0). */
export class ApiError extends Error {
  constructor(readonly status: number, readonly code: string, readonly title: string, detail: string) {
    super(detail);
  }
  /** A change was sent, and no answer settles it: the same key asks again without doing it twice. Of what the server could
   *  not do, these two say for certain that nothing was done (docs/api.md). */
  get unsettled(): boolean {
    return this.status === 0 || (this.status >= 500 && this.code !== 'exhausted' && this.code !== 'unavailable');
  }
}

const ANSWER_WITHIN_MS = 30_000;

const lost = (e: unknown): ApiError => new ApiError(0, 'connection', '', e instanceof Error ? e.message : String(e));

async function reach(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, { ...init, cache: 'no-store', redirect: 'error', signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  } catch (e) {
    throw lost(e);
  }
}

async function call(path: string, init: RequestInit): Promise<Response> {
  const answer = await reach(path, init);
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  throw new ApiError(answer.status, problem.code, problem.title, problem.detail);
}

/** What was answered. An answer that was cut on its way is none. */
async function read<T>(answer: Response): Promise<T> {
  try {
    return (await answer.json()) as T;
  } catch (e) {
    throw lost(e);
  }
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
  return read(await call(path, { method: 'GET' }));
}

/** /v1/health answers 503 with the same document when something is missing. */
export async function health<T>(): Promise<T> {
  const answer = await reach('/v1/health', { method: 'GET' });
  if (!(answer.headers.get('content-type') ?? '').startsWith('application/json')) {
    const problem = await problemOf(answer);
    throw new ApiError(answer.status, problem.code, problem.title, problem.detail);
  }
  return read(answer);
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
  return read(await call(path, { method: 'POST', headers, body: JSON.stringify({ ...what.body, reason }) }));
}

export function newKey(): string {
  return `console-${crypto.randomUUID()}`;
}
