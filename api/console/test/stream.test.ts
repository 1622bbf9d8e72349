import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EventParser, Follower, type Listener } from '../src/stream';

const TEXT = ': events\nretry: 1000\n\nid: 7\nevent: vm.changed\ndata: {"type":"vm.changed","object":"web","revision":7}\n\n: still here\n\n';

describe('the parser', () => {
  it('finds the same events wherever the pieces end', () => {
    for (let size = 1; size < TEXT.length; ++size) {
      const parser = new EventParser();
      let signs = 0;
      const out = [];
      for (let i = 0; i < TEXT.length; i += size) out.push(...parser.push(TEXT.slice(i, i + size), () => ++signs));
      expect(out).toEqual([{ id: '7', event: 'vm.changed', data: '{"type":"vm.changed","object":"web","revision":7}' }]);
      expect(signs).toBe(2);
    }
  });
});

function answer(text: string, stays = false): Response {
  const body = new ReadableStream<Uint8Array>({
    start(c) {
      c.enqueue(new TextEncoder().encode(text));
      if (!stays) c.close();
    },
  });
  return new Response(body, { status: 200 });
}

describe('the follower', () => {
  const said: string[] = [];
  const listener: Listener = {
    event: (e) => said.push(`event ${e.object}`), alive: () => said.push('alive'), lost: (why) => said.push(`lost: ${why}`), back: () => said.push('back'),
  };
  beforeEach(() => {
    vi.useFakeTimers();
    said.length = 0;
  });
  afterEach(() => vi.useRealTimers());

  it('comes back by itself with the last id, and waits longer each time', async () => {
    const asked: string[] = [];
    const replies = [() => answer(TEXT), () => { throw new Error('refused'); }, () => { throw new Error('refused'); }, () => answer('', true)];
    const follower = new Follower('3', listener, ((_: string, init: RequestInit) => {
      asked.push((init.headers as Record<string, string>)['Last-Event-ID'] ?? '');
      return Promise.resolve().then(replies[asked.length - 1] ?? replies[3]);
    }) as unknown as typeof fetch);
    void follower.run();
    await vi.advanceTimersByTimeAsync(0);
    expect(said).toEqual(['back', 'alive', 'alive', 'event web', 'lost: the stream ended']);
    await vi.advanceTimersByTimeAsync(500);
    expect(said.at(-1)).toBe('lost: refused');
    await vi.advanceTimersByTimeAsync(999);
    expect(asked.length).toBe(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked).toEqual(['3', '7', '7']);
    follower.retry(); // not after two seconds: now
    await vi.advanceTimersByTimeAsync(0);
    expect(said.at(-1)).toBe('back');
    follower.stop();
  });

  it('takes a connection without a sign of life for lost', async () => {
    let gone: Error | undefined;
    const follower = new Follower('3', listener, ((_: string, init: RequestInit) => {
      const signal = init.signal as AbortSignal;
      const body = new ReadableStream({ start: (c) => signal.addEventListener('abort', () => c.error((gone = signal.reason as Error))) });
      return Promise.resolve(new Response(body, { status: 200 }));
    }) as unknown as typeof fetch);
    void follower.run();
    await vi.advanceTimersByTimeAsync(24_900);
    expect(said).toEqual(['back']);
    await vi.advanceTimersByTimeAsync(200);
    expect(gone?.message).toBe('no sign of life');
    expect(said.at(-1)).toBe('lost: no sign of life');
    follower.stop();
  });
});
