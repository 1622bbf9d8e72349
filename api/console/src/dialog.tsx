// Every change passes here: why, what it would do, then the change itself with a key that makes a repeat harmless.
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { bodyOf, type Action, type Field } from './actions';
import { ApiError, change, newKey } from './api';
import type { Submitted } from './types';
import { Failure, useShared } from './ui';

type Phase = { at: 'ask' } | { at: 'plan'; plan: Submitted | undefined } | { at: 'sending'; plan: Submitted | undefined };

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
  if (plan === undefined) return <p>{w.noDryRuns[name] ?? w.noDryRun}</p>;
  if (plan.unchanged) return <p>{w.wouldNothing}</p>;
  if (plan.plan.length === 0) return <p>{w.wouldAtOnce}</p>;
  return (
    <>
      <p>{w.would}</p>
      <ol class="steps">{plan.plan.map((s) => <li><code>{s.kind}</code> · {s.host}</li>)}</ol>
    </>
  );
}

export function ChangeDialog({ action, close }: { action: Action; close(operation?: string): void }): VNode {
  const { w } = useShared();
  const dialog = useRef<HTMLDialogElement>(null);
  const [reason, setReason] = useState('');
  const [values, setValues] = useState<Record<string, string | boolean>>(() =>
    Object.fromEntries((action.fields ?? []).filter((f) => f.kind === 'number').map((f) => [f.name, String(f.least ?? '')])));
  const [phase, setPhase] = useState<Phase>({ at: 'ask' });
  const [error, setError] = useState<unknown>();
  const [key] = useState(newKey); // one for the whole dialog: asking again cannot do it twice

  useEffect(() => dialog.current?.showModal(), []);

  const request = { ...action.change, body: bodyOf(action, values) };
  const step = async (work: () => Promise<void>, back: Phase): Promise<void> => {
    setError(undefined);
    try {
      await work();
    } catch (e) {
      setError(e);
      setPhase(back);
    }
  };
  const show = (e: SubmitEvent): void => {
    e.preventDefault();
    if (action.noDryRun) return setPhase({ at: 'plan', plan: undefined });
    void step(async () => setPhase({ at: 'plan', plan: await change(request, reason, { key, dryRun: true }) }), { at: 'ask' });
  };
  const act = (plan: Submitted | undefined): void => {
    setPhase({ at: 'sending', plan });
    void step(async () => {
      const done = await change(request, reason, { key, dryRun: false });
      close(action.stays ? undefined : done.operation);
    }, { at: 'plan', plan });
  };
  const unsettled = error instanceof ApiError && error.unsettled && phase.at === 'plan';

  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onCancel={(e) => (phase.at === 'sending' ? e.preventDefault() : close())}>
      <h2 id="dialog-title">{w.act[action.name]} {action.object}</h2>
      {w.warnAct[action.name] && <p class="warning">{w.warnAct[action.name]}</p>}
      <form onSubmit={show}>
        <fieldset disabled={phase.at !== 'ask'}>
          <label>
            {w.reasonAsk}
            <textarea required maxLength={500} rows={2} value={reason} onInput={(e) => setReason(e.currentTarget.value)} />
          </label>
          {(action.fields ?? []).map((f) => <Input field={f} value={values[f.name]} set={(v) => setValues({ ...values, [f.name]: v })} />)}
        </fieldset>
        {error !== undefined && <Failure error={error} />}
        {unsettled && <p class="warning">{w.unsettled}</p>}
        {phase.at === 'ask' && (
          <div class="actions">
            <button type="submit" class="first">{action.noDryRun ? w.next : w.dryRun}</button>
            <button type="button" onClick={() => close()}>{w.close}</button>
          </div>
        )}
      </form>
      {phase.at !== 'ask' && (
        <div aria-live="polite">
          <Plan plan={phase.plan} name={action.name} />
          <div class="actions">
            {phase.plan?.unchanged !== true && (
              <button type="button" class={action.danger ? 'danger' : 'first'} disabled={phase.at === 'sending'} onClick={() => act(phase.plan)}>
                {phase.at === 'sending' ? w.sending : unsettled ? w.askAgain : w.doIt}
              </button>
            )}
            <button type="button" disabled={phase.at === 'sending'} onClick={() => setPhase({ at: 'ask' })}>{w.back}</button>
            <button type="button" disabled={phase.at === 'sending'} onClick={() => close()}>{w.close}</button>
          </div>
        </div>
      )}
    </dialog>
  );
}
