// A change on its way through its dialog. No page is needed for it; the dialog shows it.
import { ApiError, change, type Change } from './api';
import type { Submitted } from './types';

export interface Asked { change: Change; reason: string }
/** From the plan on, what was asked is kept as it was shown: that is what is sent. */
export type Phase = { at: 'ask' } | { at: 'asking' } | { at: 'plan' | 'sending'; asked: Asked; plan: Submitted | undefined };

export class Flow {
  phase: Phase = { at: 'ask' };
  error: unknown;

  /** `key`: one for the whole dialog, so that asking again cannot do it twice. */
  constructor(private readonly key: string, private readonly moved: () => void, private readonly call: typeof change = change) {}

  get sending(): boolean {
    return this.phase.at === 'sending';
  }
  /** It was sent, and may have been done. */
  get unsettled(): boolean {
    return this.phase.at === 'plan' && this.error instanceof ApiError && this.error.unsettled;
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
      return await this.call(asked.change, asked.reason, { key: this.key, dryRun: false });
    } catch (e) {
      this.move({ at: 'plan', asked, plan }, e);
      return undefined;
    }
  }

  back(): void {
    if (this.phase.at === 'plan') this.move({ at: 'ask' });
  }

  private move(to: Phase, error?: unknown): void {
    this.phase = to;
    this.error = error;
    this.moved();
  }
}
