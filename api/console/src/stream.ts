// The event stream, read by fetch and not by EventSource: only so is the server's sign of life (a comment at least every
// 15 s) seen, and a connection that died without a word noticed.
import type { Event } from './types';

export interface Message { id?: string; event: string; data: string }

/** Server-sent events from pieces of text. A piece may end anywhere. */
export class EventParser {
  private rest = '';
  private id: string | undefined;
  private event = '';
  private data: string[] = [];

  /** The messages that are whole with this piece; `alive` for every comment. */
  push(piece: string, alive: () => void): Message[] {
    const out: Message[] = [];
    const lines = (this.rest + piece).split('\n');
    this.rest = lines.pop() ?? '';
    for (const raw of lines) this.line(raw.endsWith('\r') ? raw.slice(0, -1) : raw, out, alive);
    return out;
  }

  private line(line: string, out: Message[], alive: () => void): void {
    if (line === '') {
      if (this.data.length > 0) out.push({ id: this.id, event: this.event || 'message', data: this.data.join('\n') });
      this.event = '';
      this.data = [];
      return;
    }
    if (line.startsWith(':')) return alive();
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'id') this.id = value;
    else if (field === 'event') this.event = value;
    else if (field === 'data') this.data.push(value);
  }
}

const SILENCE_MS = 25_000; // the server speaks at least every 15 s
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;

export interface Listener {
  event(event: Event): void;
  alive(): void;
  lost(why: string): void;
  back(): void;
}

/** Follows the stream from `after` on until stop(); comes back by itself, with the last id. */
export class Follower {
  private stopped = false;
  private attempt: AbortController | undefined;
  private wake: (() => void) | undefined;

  constructor(public after: string, private readonly listener: Listener, private readonly fetcher: typeof fetch = (...a) => fetch(...a)) {}

  async run(): Promise<void> {
    let pause = FIRST_PAUSE_MS;
    while (!this.stopped) {
      let why = 'the stream ended';
      try {
        await this.once(() => (pause = FIRST_PAUSE_MS));
      } catch (e) {
        why = e instanceof Error ? e.message : String(e);
      }
      if (this.stopped) return;
      this.listener.lost(why);
      await new Promise<void>((done) => {
        this.wake = done;
        setTimeout(done, pause);
      });
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }

  /** Ends a pause between two tries now: the person, or the browser's network, says it may work again. */
  retry(): void {
    this.wake?.();
  }

  stop(): void {
    this.stopped = true;
    this.attempt?.abort();
    this.wake?.();
  }

  private async once(connected: () => void): Promise<void> {
    const attempt = new AbortController();
    this.attempt = attempt;
    const headers: Record<string, string> = { Accept: 'text/event-stream', 'Last-Event-ID': this.after };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const heard = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => attempt.abort(new Error('no sign of life')), SILENCE_MS);
    };
    heard();
    try {
      const answer = await this.fetcher('/v1/events', { headers, cache: 'no-store', signal: attempt.signal });
      if (!answer.ok || !answer.body) throw new Error(`HTTP ${answer.status}`);
      connected();
      this.listener.back();
      await this.read(answer.body.getReader(), heard);
    } finally {
      clearTimeout(timer);
    }
  }

  private async read(reader: ReadableStreamDefaultReader<Uint8Array>, heard: () => void): Promise<void> {
    const parser = new EventParser();
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      for (const m of parser.push(decoder.decode(value, { stream: true }), () => this.listener.alive())) {
        if (m.id) this.after = m.id;
        const data = JSON.parse(m.data) as Event;
        this.listener.event({ ...data, type: m.event });
      }
    }
  }
}
