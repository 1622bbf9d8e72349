// A change on its way through its dialog. No page is needed for it; the dialog shows it.
import { ApiError, change, type Change } from './api';
import type { Submitted } from './types';

export interface Asked { change: Change; reason: string }
/** From the plan on, what was asked is kept as it was shown: that is what is sent. */
export type Phase = { at: 'ask' } | { at: 'asking' } | { at: 'plan' | 'sending'; asked: Asked; plan: Submitted | undefined };

export class Flow {
  phase: Phase = { at: 'ask' };
  error: unknown;
  private doubt = false; // it was sent, and nothing since says whether it was done
  private ended = false;

  /** `key`: one for the whole dialog, so that asking again cannot do it twice. */
  constructor(private readonly key: string, private readonly moved: () => void, private readonly call: typeof change = change) {}

  get sending(): boolean {
    return this.phase.at === 'sending';
  }
  /** It was sent, and may have been done: also when a later try was not answered for certain, or could not begin. */
  get unsettled(): boolean {
    return this.phase.at === 'plan' && this.doubt;
  }

  /** What it would do. Only who is still being asked goes on from here. */
  async ask(asked: Asked, noDryRun: boolean): Promise<void> {
    if (this.phase.at !== 'ask') return;
    if (noDryRun) return this.move({ at: 'plan', asked, plan: undefined });
    this.move({ at: 'asking' });
    try {
      this.move({ at: 'plan', asked, plan: await this.call(asked.change, asked.reason, { key: this.key, dryRun: true }) });
    } catch (e) {
      this.move({ at: 'ask' }, e);
    }
  }

  /** Does what the plan was of; undefined when it failed, or was not to be done from here. */
  async act(): Promise<Submitted | undefined> {
    if (this.phase.at !== 'plan') return undefined;
    const { asked, plan } = this.phase;
    this.move({ at: 'sending', asked, plan });
    try {
      const done = await this.call(asked.change, asked.reason, { key: this.key, dryRun: false });
      this.doubt = false;
      return done;
    } catch (e) {
      if (e instanceof ApiError) this.doubt = e.unsettled || (this.doubt && !refused(e));
      this.move({ at: 'plan', asked, plan }, e);
      return undefined;
    }
  }

  back(): void {
    if (this.phase.at === 'plan') this.move({ at: 'ask' });
  }

  /** Its dialog is gone: what is still answered is told to nobody, the next dialog has its own. */
  end(): void {
    this.ended = true;
  }

  private move(to: Phase, error?: unknown): void {
    this.phase = to;
    this.error = error;
    if (!this.ended) this.moved();
  }
}

/** The API looked at it and said no; "too often" is no answer to it. */
function refused(e: ApiError): boolean {
  return e.status >= 400 && e.status < 500 && e.status !== 429;
}
