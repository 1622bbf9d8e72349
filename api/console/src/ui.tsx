// Small parts that every page uses, and what all of them are given.
import { createContext, type ComponentChildren, type VNode } from 'preact';
import { useContext, useEffect, useLayoutEffect, useReducer, useRef, useState } from 'preact/hooks';
import type { Action } from './actions';
import { ApiError } from './api';
import type { Store } from './store';
import type { VmState, Who } from './types';
import type { Lang, Words } from './words';

export interface Shared { store: Store; w: Words; lang: Lang; ask(action: Action): void }
export const Context = createContext<Shared>(undefined as unknown as Shared);
export const useShared = (): Shared => useContext(Context);

/** Draws again with every change of the store. */
export function useStore(store: Store): void {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => store.subscribe(() => draw(0)), [store]);
}

export type Level = 'good' | 'warn' | 'bad' | 'note' | 'unknown' | 'later';
const SIGNS: Record<Level, string> = { good: '✓', warn: '!', bad: '✕', note: 'i', unknown: '?', later: '○' };

/** Colour never stands alone: a sign and a word stand beside it. */
export function Badge({ level, children }: { level: Level; children: ComponentChildren }): VNode {
  return (
    <span class={`badge ${level}`}>
      <span aria-hidden="true">{SIGNS[level]} </span>
      {children}
    </span>
  );
}

export function levelOf(state: VmState): Level {
  if (state === 'running') return 'good';
  if (state === 'off') return 'note';
  return ['down', 'paused', 'frozen', 'crashed', 'unknown'].includes(state) ? 'bad' : 'warn';
}

export function StateBadge({ state }: { state: VmState }): VNode {
  return <Badge level={levelOf(state)}>{useShared().w.states[state]}</Badge>;
}

/** A reason that a host gave is hostd's own sentence. */
export function tongue(who: Who): 'en' | undefined {
  return who.role === 'host' ? 'en' : undefined;
}

export function Heading({ children }: { children: ComponentChildren }): VNode {
  // The focus moves to the new page's heading, so that a screen reader says where one is.
  return <h1 tabIndex={-1} id="heading">{children}</h1>;
}

/** A table that scrolls by itself where the page is narrow; the keyboard can scroll it too. */
export function Table({ label, head, children }: { label: string; head: ComponentChildren[]; children: ComponentChildren }): VNode {
  return (
    <div class="scroll" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead><tr>{head.map((h) => <th scope="col">{h}</th>)}</tr></thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

export function Facts({ of }: { of: [string, ComponentChildren][] }): VNode {
  return <dl class="facts">{of.map(([name, value]) => <div><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}

/** `focus`: of what a person just did, who then hears and finds it. */
export function Failure({ error, focus }: { error: unknown; focus?: boolean }): VNode {
  const { w } = useShared();
  const place = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (focus) place.current?.focus();
  }, [error]);
  const e = error instanceof ApiError ? error : new ApiError(0, 'internal', '', String(error));
  return (
    <div class="problem" role="alert" ref={place} tabIndex={focus ? -1 : undefined}>
      {e.title && <strong lang="en">{e.title}. </strong>}
      {e.status === 0 && e.code === 'connection' ? w.noConnection : <span lang="en">{e.message}</span>}
    </div>
  );
}

export function Actions({ actions, empty }: { actions: Action[]; empty?: string }): VNode | null {
  const { w, ask } = useShared();
  if (actions.length === 0) return empty ? <p class="quiet">{empty}</p> : null;
  return (
    <div class="actions">
      {actions.map((a) => (
        <button key={a.name} type="button" class={a.danger ? 'danger' : ''} onClick={() => ask(a)}>{w.act[a.name]}</button>
      ))}
    </div>
  );
}

/** Something read again whenever `when` changes; what was shown stays until the new one is there. */
export function useRead<T>(read: () => Promise<T>, when: unknown[]): { value?: T; error?: unknown } {
  const [state, set] = useState<{ value?: T; error?: unknown }>({});
  useEffect(() => {
    let gone = false;
    read().then(
      (value) => gone || set({ value }),
      (error: unknown) => gone || set((old) => ({ ...old, error })),
    );
    return () => void (gone = true);
  }, when);
  return state;
}
