import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { OutputBuffer } from './output-buffer.ts';

/** A socket whose writes finish when the test says so. */
class SlowSocket extends Duplex {
  readonly chunks: string[] = [];
  finish: (() => void) | null = null;
  writes = 0;

  constructor() {
    super({ writableHighWaterMark: 1 });
  }

  override write(...args: unknown[]): boolean {
    this.writes++;
    return super.write(args[0], args[1] as (error?: Error | null) => void);
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk.toString());
    this.finish = done;
  }

  override _read(): void {}
}

function setUp(): { socket: SlowSocket; output: OutputBuffer; written: number[] } {
  const socket = new SlowSocket();
  const written: number[] = [];
  const output = new OutputBuffer(socket, { onOutputWritten: () => written.push(output.bufferedBytes) });
  return { socket, output, written };
}

function put(output: OutputBuffer, text: string): void {
  const bytes = Buffer.from(text);
  output.room(bytes.length);
  output.copy(bytes, 0, bytes.length);
  output.mark();
}

describe('an output buffer', () => {
  it('writes what one turn of the loop brought in one piece', async () => {
    const { socket, output } = setUp();
    put(output, 'a');
    put(output, 'b');
    expect(socket.writes).toBe(0);
    await turn();
    expect(socket.chunks).toEqual(['ab']);
  });

  it('has one write in flight and gathers the rest meanwhile', async () => {
    const { socket, output, written } = setUp();
    put(output, 'a');
    await turn();
    for (const text of ['b', 'c', 'd']) {
      put(output, text);
      await turn();
    }
    expect(socket.writes).toBe(1);
    expect(output.bufferedBytes).toBe(4);
    socket.finish?.();
    await expect.poll(() => socket.chunks).toEqual(['a', 'bcd']);
    socket.finish?.();
    await expect.poll(() => written).toEqual([3, 0]);
    expect(output).toMatchObject({ handedBytes: 4, writesDone: 2 });
  });

  it('grows its block and keeps the bytes in order', async () => {
    const { socket, output } = setUp();
    const parts = Array.from({ length: 20 }, (_, i) => String(i % 10).repeat(i * 200));
    for (const part of parts) put(output, part);
    await turn();
    expect(socket.chunks).toEqual([parts.join('')]);
  });

  it('writes what is more than a block in several writes, one after the other, and counts it throughout', async () => {
    const { socket, output } = setUp();
    const frames = Array.from({ length: 12 }, (_, i) => String.fromCharCode(97 + i).repeat(16_393));
    for (const frame of frames) put(output, frame);
    expect(output).toMatchObject({ bufferedBytes: 12 * 16_393, position: 12 * 16_393, handedBytes: 0 });
    await turn();
    expect(socket.writes).toBe(1);
    expect(output.bufferedBytes).toBe(12 * 16_393);
    for (let written = 1; socket.chunks.join('').length < 12 * 16_393; written++) {
      expect(socket.chunks).toHaveLength(written);
      socket.finish?.();
      await expect.poll(() => socket.chunks.length).toBe(written + 1);
    }
    expect(socket.chunks.join('')).toBe(frames.join(''));
    expect(output.handedBytes).toBe(output.position);
  });

  it('writes all blocks at its end', async () => {
    const { socket, output } = setUp();
    for (let i = 0; i < 12; i++) put(output, 'x'.repeat(16_393));
    output.end();
    while (!socket.writableFinished) {
      socket.finish?.();
      await turn();
    }
    expect(socket.chunks.join('')).toHaveLength(12 * 16_393);
  });

  it('hands nothing over while it is held', async () => {
    const { socket, output } = setUp();
    output.held = true;
    put(output, 'a');
    await turn();
    expect(socket.writes).toBe(0);
    output.release();
    await turn();
    expect(socket.chunks).toEqual(['a']);
  });

  it('writes the rest at its end, even behind a write in flight, and nothing after', async () => {
    const { socket, output } = setUp();
    put(output, 'a');
    await turn();
    put(output, 'b');
    output.end();
    socket.finish?.();
    await expect.poll(() => socket.chunks).toEqual(['a', 'b']);
    socket.finish?.();
    await expect.poll(() => socket.writableFinished).toBe(true);
  });
});
