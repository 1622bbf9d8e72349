// The frame: who one is, where one is, whether what one sees is live.
import { render, type VNode } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Action } from './actions';
import { ChangeDialog } from './dialog';
import { unseen } from './alerts';
import { AlertsPage } from './pages/alerts';
import { AuditPage, EventsPage } from './pages/audit';
import { DrillsPage } from './pages/drills';
import { HostPage } from './pages/host';
import { OperationPage, OperationsPage } from './pages/operations';
import { Overview } from './pages/overview';
import { VmPage } from './pages/vm';
import { Store } from './store';
import './style.css';
import { Context, Failure, useShared, useStore, type Shared } from './ui';
import { firstLang, time, words, type Lang } from './words';

const NAME = '([a-z0-9-]{1,64})';
const store = new Store();

function remembered(key: string, allowed: string[], otherwise: string): string {
  const kept = localStorage.getItem(key) ?? '';
  return allowed.includes(kept) ? kept : otherwise;
}

function Page({ at }: { at: string }): VNode {
  const found = (kind: string): string | undefined => new RegExp(`^#/${kind}/${NAME}$`).exec(at)?.[1];
  const [vm, host, op] = ['vm', 'host', 'op'].map(found);
  if (vm) return <VmPage key={vm} name={vm} />;
  if (host) return <HostPage key={host} id={host} />;
  if (op) return <OperationPage key={op} id={op} />;
  if (at === '#/ops') return <OperationsPage />;
  if (at === '#/alerts' && store.staff) return <AlertsPage />;
  if (at === '#/drills') return <DrillsPage />;
  if (at === '#/audit') return <AuditPage />;
  if (at === '#/events') return <EventsPage />;
  return <Overview />;
}

function Choice({ label, value, options, set }: { label: string; value: string; options: [string, string][]; set(v: string): void }): VNode {
  return (
    <label class="choice">
      {label}
      <select value={value} onChange={(e) => set(e.currentTarget.value)}>{options.map(([v, text]) => <option value={v}>{text}</option>)}</select>
    </label>
  );
}

function Connection(): VNode {
  const { w, lang } = useShared();
  const { notLive, asOf, view } = store;
  const others = [...view.hosts.values()].filter((h) => h.id !== view.me.host && h.api_address);
  const calm = notLive?.because === 'asleep' || notLive?.because === 'missed';
  if (!notLive) return <p class="live" role="status">● {w.live(view.me.host)}</p>;
  return (
    <div class="lost" role={calm ? 'status' : 'alert'}>
      <p>{w[notLive.because](view.me.host, time(lang, asOf))} {notLive.why && <span lang="en">({notLive.why})</span>} <button type="button" onClick={() => store.retry()}>{w.again}</button></p>
      {!calm && others.length > 0 && <p>{w.otherHosts} {others.map((h) => <a href={`https://${h.api_address}/console/`}>{h.id}</a>)}</p>}
    </div>
  );
}

function Content({ at }: { at: string }): VNode {
  const { w } = useShared();
  if (store.stage.stage === 'loading') return <p role="status">{w.loading}</p>;
  if (store.stage.stage === 'failed') {
    return (
      <>
        <h1>{w.cannotLoad}</h1>
        <Failure error={store.stage.error} />
        <button type="button" onClick={() => store.retry()}>{w.again}</button>
      </>
    );
  }
  return <><Connection /><Page at={at} /></>;
}

function App(): VNode {
  useStore(store);
  const [at, setAt] = useState(location.hash || '#/');
  const [lang, setLang] = useState(remembered('lang', ['en', 'fr'], firstLang(navigator.languages)) as Lang);
  const [theme, setTheme] = useState(remembered('theme', ['auto', 'light', 'dark'], 'auto'));
  const [asked, ask] = useState<Action>();
  const sending = useRef(false);
  const w = words[lang];

  useEffect(() => {
    const moved = (): void => {
      setAt(location.hash || '#/');
      if (!sending.current) ask(undefined); // else its outcome would be lost
      requestAnimationFrame(() => document.getElementById('heading')?.focus());
    };
    addEventListener('hashchange', moved);
    const online = (): void => store.retry();
    addEventListener('online', online);
    const seen = (): void => store.visible(!document.hidden);
    document.addEventListener('visibilitychange', seen);
    seen();
    return () => (removeEventListener('hashchange', moved), removeEventListener('online', online), document.removeEventListener('visibilitychange', seen));
  }, []);
  useLayoutEffect(() => {
    document.documentElement.lang = lang;
    localStorage.setItem('lang', lang);
  }, [lang]);
  useLayoutEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem('theme', theme);
  }, [theme]);

  const ready = store.stage.stage === 'ready';
  const shared: Shared = { store, w, lang, ask };
  const links: [string, string][] = [['#/', w.overview], ['#/ops', w.operations], ['#/drills', w.drills], ['#/audit', w.audit], ['#/events', w.events]];
  const open = ready ? unseen(store.alerts.values()) : 0;
  if (ready && store.staff) links.splice(1, 0, ['#/alerts', w.alerts + (open > 0 ? w.alertsUnseen(open) : '')]);
  const close = (operation?: string): void => {
    sending.current = false;
    ask(undefined);
    if (operation) location.hash = `#/op/${operation}`;
  };
  return (
    <Context.Provider value={shared}>
      <a class="skip" href="#heading" onClick={(e) => (e.preventDefault(), document.getElementById('heading')?.focus())}>{w.skip}</a>
      <header>
        <strong class="brand">{w.title}</strong>
        <nav aria-label={w.title}>{links.map(([href, text]) => <a href={href} aria-current={at === href ? 'page' : undefined}>{text}</a>)}</nav>
        <div class="choices">
          {ready && <span class="me">{w.signed(store.view.me.name, w.roles[store.view.me.role] ?? '')}</span>}
          <Choice label={w.language} value={lang} options={[['en', 'English'], ['fr', 'Français']]} set={(v) => setLang(v as Lang)} />
          <Choice label={w.theme} value={theme} options={['auto', 'light', 'dark'].map((t) => [t, w.themes[t] ?? t])} set={setTheme} />
        </div>
      </header>
      <main><Content at={at} /></main>
      {asked && <ChangeDialog key={asked.change.path} action={asked} close={close} busy={(yes) => (sending.current = yes)} />}
    </Context.Provider>
  );
}

void store.start();
render(<App />, document.getElementById('app') as HTMLElement);
