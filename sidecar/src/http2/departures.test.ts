/** A client that leaves more streams than its server would bear: the resets wait, and the streams with them. */
import { describe, expect, it } from 'vitest';
import { ErrorCode } from './error-code.ts';
import { field } from './field.ts';
import { Flag, FrameType } from './frame-types.ts';
import { data, headers, RawPeer, RESPONSE } from './raw-peer.ts';
import type { Stream } from './stream.ts';
import { Ticker } from './ticker.ts';

const { RST_STREAM } = FrameType;
const HEAD = [field(':method', 'POST'), field(':scheme', 'http'), field(':path', '/a.B/C')];

function client(count: number) {
  const time = { nowMs: 0 };
  const ticker = new Ticker(() => time.nowMs);
  const peer = RawPeer.client({ ticker, resetsSent: { perSecond: 1, burst: 2 } });
  const streams = Array.from({ length: count }, () => {
    const stream = peer.connection.openStream(peer.recorder) as Stream;
    stream.sendHeaders(HEAD, false);
    return stream;
  });
  const gone: number[] = [];
  const atOnce = streams.map((stream) => stream.cancel(ErrorCode.CANCEL, () => gone.push(stream.id)));
  const pass = (ms: number): void => {
    time.nowMs += ms;
    ticker.tick();
  };
  return { peer, streams, gone, atOnce, pass };
}

describe('streams left over the rate', () => {
  it('are reset one after the other, as the rate allows', async () => {
    const { peer, gone, atOnce, pass } = client(5);
    expect(atOnce).toEqual([true, true, false, false, false]);
    await expect.poll(() => peer.written(RST_STREAM).map((f) => f.streamId)).toEqual([1, 3]);
    expect(peer.connection.activeStreams).toBe(3);
    pass(1000);
    expect(gone).toEqual([5]);
    pass(5000);
    expect(gone).toEqual([5, 7, 9]);
    await expect.poll(() => peer.written(RST_STREAM).map((f) => f.streamId)).toEqual([1, 3, 5, 7, 9]);
    expect(peer.connection.activeStreams).toBe(0);
  });

  it('need no reset when the server ends them first, and what it sends meanwhile is dropped', async () => {
    const { peer, gone, pass, streams } = client(3);
    peer.input(headers(5, Flag.END_HEADERS, RESPONSE), data(5, 0, Buffer.alloc(16_000)));
    expect(peer.recorder.lines).toEqual([]);
    expect(peer.written(FrameType.WINDOW_UPDATE, 5)).toEqual([]);
    peer.input(headers(5, Flag.END_HEADERS | Flag.END_STREAM, [['grpc-status', '0']]));
    // Its own end was never sent, so that it stays half open until its turn.
    expect(gone).toEqual([]);
    expect(streams[2]?.closed).toBe(false);
    pass(1000);
    expect(gone).toEqual([5]);
    await expect.poll(() => peer.resetCode(5)).toBe(ErrorCode.CANCEL);
  });

  it('end with the connection', () => {
    const { peer, gone } = client(4);
    peer.connection.destroy(ErrorCode.NO_ERROR, 'over');
    expect(gone).toEqual([5, 7]);
  });

  it('go at once when the server resets them', () => {
    const { peer, gone } = client(3);
    peer.input(Buffer.from([0, 0, 4, RST_STREAM, 0, 0, 0, 0, 5, 0, 0, 0, 8]));
    expect(gone).toEqual([5]);
    expect(peer.connection.activeStreams).toBe(0);
  });
});
