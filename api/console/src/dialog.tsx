// Every change passes here: why, what it would do, then the change itself with a key that makes a repeat harmless.
import type { VNode } from 'preact';
import { useLayoutEffect, useReducer, useRef, useState } from 'preact/hooks';
import { bodyOf, type Action, type Field } from './actions';
import { newKey } from './api';
import { Flow } from './flow';
import type { Submitted } from './types';
import { Failure, useShared } from './ui';

function Input({ field, value, set }: { field: Field; value: string | boolean | undefined; set(v: string | boolean): void }): VNode {
  const { w } = useShared();
  const label = w.fields[field.name];
  if (field.kind === 'check') {
    return <label class="check"><input type="checkbox" checked={value === true} onChange={(e) => set(e.currentTarget.checked)} /> {label}</label>;
  }
  if (field.kind === 'number') {
    return <label>{label}<input type="number" min={field.least} required value={String(value ?? field.least)} onInput={(e) => set(e.currentTarget.value)} /></label>;
  }
  const options = field.kind === 'policy' ? ['gentle', 'standard', 'must-finish'] : (field.hosts ?? []);
  return (
    <label>
      {label}
      <select onChange={(e) => set(e.currentTarget.value)}>
        <option value="">{field.kind === 'policy' ? w.policyOwn : '—'}</option>
        {options.map((o) => <option value={o} selected={o === value}>{o}</option>)}
      </select>
    </label>
  );
}

function Plan({ plan, name }: { plan: Submitted | undefined; name: string }): VNode {
  const { w } = useShared();
  const heading = useRef<HTMLHeadingElement>(null);
  useLayoutEffect(() => heading.current?.focus(), []);
  const steps = plan?.plan ?? [];
  const text = plan === undefined ? (w.noDryRuns[name] ?? w.noDryRun) : plan.unchanged ? w.wouldNothing : steps.length === 0 ? w.wouldAtOnce : w.would;
  return (
    <>
      <h3 ref={heading} tabIndex={-1}>{w.plan}</h3>
      <p>{text}</p>
      {plan?.unchanged !== true && steps.length > 0 && <ol class="steps">{steps.map((s) => <li><code>{s.kind}</code> · {s.host}</li>)}</ol>}
    </>
  );
}

/** `busy` is true while a change is sent: its outcome must not be lost with the dialog. */
export function ChangeDialog({ action, close, busy }: { action: Action; close(operation?: string): void; busy(yes: boolean): void }): VNode {
  const { w } = useShared();
  const dialog = useRef<HTMLDialogElement>(null);
  const here = useRef(true);
  const [reason, setReason] = useState('');
  const [values, setValues] = useState<Record<string, string | boolean>>(() =>
    Object.fromEntries((action.fields ?? []).filter((f) => f.kind === 'number').map((f) => [f.name, String(f.least ?? '')])));
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const [flow] = useState<Flow>(() => new Flow(newKey(), () => (draw(0), busy(flow.sending))));
  const { phase, error, unsettled, sending } = flow;

  useLayoutEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => {
      here.current = false;
      flow.end();
      shown?.close(); // which gives the focus back to where it was
    };
  }, []);

  const show = (e: SubmitEvent): void => {
    e.preventDefault();
    void flow.ask({ change: { ...action.change, body: bodyOf(action, values) }, reason }, action.noDryRun === true);
  };
  const act = async (): Promise<void> => {
    const done = await flow.act();
    if (done) close(action.stays ? undefined : done.operation);
  };
  // A browser may close it whatever a page says, as Chromium does at the second Escape.
  const closed = (): void => {
    if (!here.current) return;
    if (flow.sending) dialog.current?.showModal();
    else close();
  };

  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onCancel={(e) => flow.sending && e.preventDefault()} onClose={closed}>
      <h2 id="dialog-title">{w.act[action.name]} <span lang={action.name === 'ack' ? 'en' : undefined}>{action.object}</span></h2>
      {w.warnAct[action.name] && <p class="warning">{w.warnAct[action.name]}</p>}
      <form onSubmit={show}>
        <fieldset disabled={phase.at !== 'ask'}>
          <label>
            {w.reasonAsk}
            <textarea required maxLength={500} rows={2} value={reason} onInput={(e) => setReason(e.currentTarget.value)} />
          </label>
          {(action.fields ?? []).map((f) => <Input key={f.name} field={f} value={values[f.name]} set={(v) => setValues({ ...values, [f.name]: v })} />)}
        </fieldset>
        {error !== undefined && <Failure error={error} focus />}
        {unsettled && <p class="warning">{w.unsettled}</p>}
        {(phase.at === 'ask' || phase.at === 'asking') && (
          <div class="actions">
            <button type="submit" class="first" disabled={phase.at === 'asking'}>{phase.at === 'asking' ? w.asking : action.noDryRun ? w.next : w.dryRun}</button>
            <button type="button" onClick={() => close()}>{w.close}</button>
          </div>
        )}
      </form>
      {(phase.at === 'plan' || phase.at === 'sending') && (
        <div aria-live="polite">
          <Plan plan={phase.plan} name={action.name} />
          <div class="actions">
            {phase.plan?.unchanged !== true && (
              <button type="button" class={action.danger ? 'danger' : 'first'} disabled={sending} onClick={() => void act()}>
                {sending ? w.sending : unsettled ? w.askAgain : w.doIt}
              </button>
            )}
            <button type="button" disabled={sending} onClick={() => flow.back()}>{w.back}</button>
            <button type="button" disabled={sending} onClick={() => close()}>{w.close}</button>
          </div>
        </div>
      )}
    </dialog>
  );
}
