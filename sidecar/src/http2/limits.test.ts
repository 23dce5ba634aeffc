/** Hostile peers: each class of abuse in relay terms has its cut-off here. */
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ErrorCode } from './error-code.ts';
import { field } from './field.ts';
import { Flag, FrameType } from './frame-types.ts';
import { data, END, frame, headers, literals, RawPeer, REQUEST, uint32 } from './raw-peer.ts';
import { Ticker } from './ticker.ts';

const { HEADERS, RST_STREAM, PING, SETTINGS, CONTINUATION, PRIORITY } = FrameType;
const CALM = ErrorCode.ENHANCE_YOUR_CALM;
const few = { perSecond: 10, burst: 5 };

/** A clock that a test moves, and the ticker that reads it. */
class ManualTime {
  nowMs = 0;
  readonly ticker = new Ticker(() => this.nowMs);

  /** Lets time pass in steps of a second. */
  pass(seconds: number): void {
    for (let i = 0; i < seconds; i++) {
      this.nowMs += 1_000;
      this.ticker.tick();
    }
  }
}

function cutOff(peer: RawPeer, piece: (i: number) => Buffer, most: number): number {
  for (let i = 0; i < most; i++) {
    peer.input(piece(i));
    if (peer.connection.closed) return i + 1;
  }
  return most;
}

const rapidReset = (i: number): Buffer =>
  Buffer.concat([headers(2 * i + 1, END), frame(RST_STREAM, 0, 2 * i + 1, uint32(8))]);
const provokedReset = (i: number): Buffer =>
  Buffer.concat([
    headers(2 * i + 1, Flag.END_HEADERS),
    frame(FrameType.WINDOW_UPDATE, 0, 2 * i + 1, uint32(0)),
  ]);
const OPEN = headers(1, Flag.END_HEADERS);

describe('a flood is cut off with ENHANCE_YOUR_CALM:', () => {
  it.each<[string, string, (i: number) => Buffer]>([
    ['rapid resets', 'reset-flood', rapidReset],
    ['resets that it is made to send', 'provoked-reset-flood', provokedReset],
    ['malformed requests', 'provoked-reset-flood', (i) => headers(2 * i + 1, END, [['a', 'b']])],
    ['PING', 'ping-flood', () => frame(PING, 0, 0, Buffer.alloc(8))],
    ['SETTINGS', 'settings-flood', () => frame(SETTINGS, 0, 0)],
    [
      'empty DATA',
      'empty-data-flood',
      (i) => (i === 0 ? Buffer.concat([OPEN, data(1, 0, '')]) : data(1, 0, '')),
    ],
    ['PRIORITY', 'idle-frame-flood', () => frame(PRIORITY, 0, 3, Buffer.alloc(5))],
    ['unknown frames', 'idle-frame-flood', () => frame(0x42, 0, 0)],
    ['WINDOW_UPDATE', 'idle-frame-flood', () => frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1))],
  ])('%s', async (_what, kind, piece) => {
    const time = new ManualTime();
    const peer = RawPeer.server({
      ticker: time.ticker,
      resetsReceived: few,
      resetsProvoked: few,
      pings: few,
      settingsFrames: few,
      emptyDataFrames: few,
      idleFrames: few,
    });
    // The SETTINGS of the greeting have taken a token of theirs, and the first PING is free.
    const free = kind === 'settings-flood' ? -1 : kind === 'ping-flood' ? 1 : 0;
    expect(cutOff(peer, piece, 100)).toBe(6 + free);
    expect(peer.recorder.lines).toContain(`violation ${kind}`);
    expect(peer.connection.socket.isPaused()).toBe(true);
    await expect.poll(() => peer.goawayCode).toBe(CALM);
  });

  it('but a PING for every DATA frame, as gRPC peers send to measure the bandwidth, is no flood', () => {
    const peer = RawPeer.server({ pings: few });
    peer.input(OPEN);
    const ping = frame(PING, 0, 0, Buffer.alloc(8));
    expect(cutOff(peer, () => Buffer.concat([data(1, 0, 'x'), ping]), 100)).toBe(100);
    expect(peer.connection.closed).toBe(false);
  });

  it('but the same at the allowed rate goes on for ever', () => {
    const time = new ManualTime();
    const peer = RawPeer.server({ ticker: time.ticker, resetsReceived: few });
    const slow = (i: number): Buffer => {
      time.nowMs += 100;
      return rapidReset(i);
    };
    expect(cutOff(peer, slow, 100)).toBe(100);
    expect(peer.connection.closed).toBe(false);
  });

  it('and resets by a server, which it may send for every call, are not counted', () => {
    const peer = RawPeer.client({ resetsReceived: few });
    for (let i = 0; i < 20; i++) {
      peer.connection.openStream(peer.recorder)?.sendHeaders([], false);
      peer.input(frame(RST_STREAM, 0, 2 * i + 1, uint32(ErrorCode.NO_ERROR)));
    }
    expect(peer.connection.closed).toBe(false);
  });
});

describe('a header block is limited', () => {
  it.each([
    ['of more frames', () => frame(CONTINUATION, 0, 1, [0x82]), 9],
    ['of more frames without content', () => frame(CONTINUATION, 0, 1), 9],
    ['of more bytes', () => frame(CONTINUATION, 0, 1, Buffer.alloc(16_000, 0x82)), 1],
  ])('%s than allowed, it ends the connection', async (_what, piece, count) => {
    const peer = RawPeer.server({ headerListBytesMax: 4_000 });
    peer.input(headers(1, 0));
    expect(cutOff(peer, piece, 100)).toBe(count);
    expect(peer.recorder.lines).toContain('violation continuation-flood');
    await expect.poll(() => peer.goawayCode).toBe(CALM);
  });

  it('in its decoded size, and costs the stream alone', async () => {
    const peer = RawPeer.server({ headerListBytesMax: 4_000 });
    const entry = Buffer.concat([Buffer.from([0x40, 1, 0x61, 100]), Buffer.alloc(100, 'b')]);
    const large = Buffer.concat([literals(REQUEST), entry, Buffer.alloc(100, 0xbe)]);
    peer.input(frame(HEADERS, END, 1, large), headers(3, END));
    await expect.poll(() => peer.resetCode(1)).toBe(CALM);
    expect(peer.recorder.lines[0]).toBe('violation header-list-too-large');
    expect(peer.recorder.lines[1]).toMatch(/^headers 3 /);
  });

  it('in its decoded size, and far over it the connection is lost (HPACK bomb)', async () => {
    const peer = RawPeer.server({ headerListBytesMax: 4_000 });
    const entry = Buffer.concat([Buffer.from([0x40, 1, 0x61, 100]), Buffer.alloc(100, 'b')]);
    peer.input(frame(HEADERS, END, 1, Buffer.concat([literals(REQUEST), entry, Buffer.alloc(3_000, 0xbe)])));
    expect(peer.recorder.lines).toEqual(['violation header-list-too-large', `close ${CALM} local`]);
    await expect.poll(() => peer.goawayCode).toBe(CALM);
  });

  it('in its fields, and far over their number the connection is lost', () => {
    const peer = RawPeer.server({ headerFieldsMax: 10 });
    const fields = (count: number) => Array.from({ length: count }, (): [string, string] => ['x', 'y']);
    peer.input(headers(1, END, [...REQUEST, ...fields(30)]));
    expect(peer.recorder.lines).toEqual(['violation header-list-too-large']);
    peer.input(headers(3, END, [...REQUEST, ...fields(40)]));
    expect(peer.connection.closed).toBe(true);
  });

  it('and ten lists over the limit in a row end the connection', () => {
    const time = new ManualTime();
    const peer = RawPeer.server({ headerFieldsMax: 10, ticker: time.ticker });
    const fields = Array.from({ length: 11 }, (): [string, string] => ['x', 'y']);
    const large = (i: number): Buffer => headers(2 * i + 1, END, [...REQUEST, ...fields]);
    expect(cutOff(peer, large, 100)).toBe(11);
    expect(peer.recorder.lines).toContain('violation provoked-reset-flood');
  });

  it('in its time', () => {
    const time = new ManualTime();
    const peer = RawPeer.server({ ticker: time.ticker, headerBlockTimeoutMs: 5_000 });
    peer.input(headers(1, 0));
    time.pass(4);
    expect(peer.connection.closed).toBe(false);
    // A byte now and then does not help.
    peer.input(frame(CONTINUATION, 0, 1, [0x82]).subarray(0, 3));
    time.pass(2);
    expect(peer.recorder.lines).toEqual(['violation slow-header-block', `close ${CALM} local`]);
  });
});

describe('a peer that does not read', () => {
  it('is cut off when answers pile up', async () => {
    const peer = RawPeer.server({ outputBufferedBytesMax: 10_000, pings: { perSecond: 1e6, burst: 1e6 } });
    peer.socket.pause();
    const ping = frame(PING, 0, 0, Buffer.alloc(8));
    let sent = 0;
    while (!peer.connection.closed && sent < 100_000) {
      peer.input(...Array.from({ length: 100 }, () => ping));
      sent += 100;
      await turn();
    }
    expect(sent).toBeLessThan(5_000);
    expect(peer.recorder.lines).toContain('violation slow-reader');
  });

  it('is cut off when a write takes too long', async () => {
    const time = new ManualTime();
    const peer = RawPeer.server({ ticker: time.ticker, writeTimeoutMs: 5_000, keepaliveIntervalMs: 0 });
    await expect.poll(() => peer.frames.length).toBeGreaterThan(2);
    peer.socket.pause();
    peer.input(frame(SETTINGS, 0, 0, [0, 4, ...uint32(1_000_000)]), headers(1, END));
    const [stream] = peer.recorder.streams;
    stream?.sendHeaders([field(':status', '200')], false);
    stream?.sendData(Buffer.alloc(65_535), 0, 65_535, true);
    await turn();
    await turn();
    time.pass(4);
    expect(peer.connection.closed).toBe(false);
    time.pass(3);
    expect(peer.recorder.lines).toContain('violation slow-reader');
  });

  it('loses the stream for which it opens no window, and no other', async () => {
    const time = new ManualTime();
    const peer = RawPeer.server({ ticker: time.ticker, streamStallTimeoutMs: 5_000 });
    const three = [1, 3, 5].map((id) => headers(id, END));
    peer.input(frame(SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]), ...three);
    const [stalled, slow, dribbling] = peer.recorder.streams;
    for (const stream of [stalled, slow, dribbling]) {
      stream?.sendHeaders([field(':status', '200')], false);
      stream?.sendData(Buffer.alloc(10_000), 0, 10_000, true);
    }
    for (let i = 0; i < 4; i++) {
      time.pass(2);
      peer.input(frame(FrameType.WINDOW_UPDATE, 0, 3, uint32(1024)));
      peer.input(frame(FrameType.WINDOW_UPDATE, 0, 5, uint32(1)));
    }
    await expect.poll(() => peer.resetCode(1)).toBe(CALM);
    expect(peer.resetCode(5)).toBe(CALM);
    expect(peer.recorder.lines).toContain(`reset 1 ${CALM} local maybe`);
    expect(slow?.queuedBytes).toBe(10_000 - 4 * 1024);
  });

  it('keeps no stream that was reset behind a shut connection window', () => {
    const peer = RawPeer.server({ resetsReceived: { perSecond: 1e6, burst: 1e6 } });
    const body = Buffer.alloc(70_000);
    peer.input(headers(1, END));
    const answer = (): void => {
      const stream = peer.recorder.streams.pop();
      stream?.sendHeaders([field(':status', '200')], false);
      stream?.sendData(body, 0, body.length, true);
    };
    answer();
    for (let id = 3; id < 2_003; id += 2) {
      peer.input(headers(id, END));
      answer();
      peer.input(frame(RST_STREAM, 0, id, uint32(8)));
    }
    expect(peer.connection.outbound.readyStreams).toBeLessThan(100);
  });

  it('costs no more memory than the queued bytes, whatever the pieces', () => {
    const peer = RawPeer.server();
    peer.input(frame(SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]), OPEN);
    const [stream] = peer.recorder.streams;
    stream?.sendHeaders([field(':status', '200')], false);
    const before = process.memoryUsage().arrayBuffers;
    const byte = Buffer.from('x');
    for (let i = 0; i < 200_000; i++) stream?.sendData(byte, 0, 1, false);
    expect(stream?.queuedBytes).toBe(200_000);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(300_000);
  });
});

describe('time-outs', () => {
  it('end a connection without a preface', () => {
    const time = new ManualTime();
    const peer = new RawPeer('server', { ticker: time.ticker, prefaceTimeoutMs: 5_000 });
    peer.input(Buffer.from('PRI * HT'));
    time.pass(4);
    expect(peer.connection.closed).toBe(false);
    time.pass(1);
    expect(peer.recorder.lines).toEqual([
      'violation preface-timeout',
      `close ${ErrorCode.SETTINGS_TIMEOUT} local`,
    ]);
  });

  it('end a connection that does not acknowledge SETTINGS', async () => {
    const time = new ManualTime();
    const peer = new RawPeer('client', { ticker: time.ticker, settingsAckTimeoutMs: 5_000 });
    peer.input(frame(SETTINGS, 0, 0));
    time.pass(5);
    await expect.poll(() => peer.goawayCode).toBe(ErrorCode.SETTINGS_TIMEOUT);
  });

  it('send a PING to a silent peer, and end the connection when nothing comes', async () => {
    const time = new ManualTime();
    const peer = RawPeer.client({
      ticker: time.ticker,
      keepaliveIntervalMs: 10_000,
      keepaliveTimeoutMs: 3_000,
    });
    time.pass(12);
    await expect.poll(() => peer.written(PING).length).toBe(1);
    peer.input(frame(PING, Flag.ACK, 0, peer.written(PING)[0]?.payload));
    time.pass(11);
    await expect.poll(() => peer.written(PING).length).toBe(2);
    expect(peer.connection.closed).toBe(false);
    time.pass(3);
    expect(peer.recorder.lines).toEqual(['violation keepalive-timeout', 'close 2 local']);
  });

  it('shut an idle connection down, and not one with a stream', () => {
    const time = new ManualTime();
    const settings = { ticker: time.ticker, idleTimeoutMs: 5_000, shutdownPingTimeoutMs: 1_000 };
    const idle = RawPeer.server(settings);
    const busy = RawPeer.server(settings);
    busy.input(OPEN);
    time.pass(10);
    expect(idle.recorder.lines).toEqual(['close 0 local']);
    expect(busy.connection.draining).toBe(false);
  });

  it('destroy the socket of a peer that does not close its side', async () => {
    const time = new ManualTime();
    const peer = RawPeer.server({ ticker: time.ticker, lingerMs: 2_000 });
    peer.connection.destroy(ErrorCode.NO_ERROR, '');
    await expect.poll(() => peer.ended).toBe(true);
    time.pass(4);
    expect(peer.connection.socket.destroyed).toBe(true);
  });
});
