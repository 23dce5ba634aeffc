import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ErrorCode } from './error-code.ts';
import { field } from './field.ts';
import { Flag, FrameType, PREFACE } from './frame-types.ts';
import {
  data,
  decodeBlock,
  END,
  frame,
  headers,
  RawPeer,
  RESPONSE,
  SETTINGS,
  SETTINGS_ACK,
  uint32,
} from './raw-peer.ts';
import type { Stream } from './stream.ts';

const { DATA, HEADERS, RST_STREAM, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION } = FrameType;
const OPEN = headers(1, Flag.END_HEADERS);
const HEAD = [field(':status', '200')];
const TRAILERS = [field('grpc-status', '0')];
const setting = (id: number, value: number): Buffer =>
  frame(FrameType.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), uint32(value)]));

function opened(peer: RawPeer): Stream {
  const stream = peer.recorder.streams.at(-1);
  if (stream === undefined) throw new Error('no stream was opened');
  return stream;
}

function send(stream: Stream, text: string | Buffer, endStream = false): number {
  const bytes = Buffer.from(text);
  return stream.sendData(bytes, 0, bytes.length, endStream);
}

const sizes = (peer: RawPeer): number[] => peer.written(DATA).map((f) => f.payload.length);

describe('sending', () => {
  it('writes head, data and trailers of one turn together, and releases the stream', async () => {
    const peer = RawPeer.server();
    peer.input(headers(1, END));
    const stream = opened(peer);
    stream.sendHeaders(HEAD, false);
    expect(send(stream, 'hello')).toBe(5);
    stream.sendTrailers(TRAILERS);
    expect(stream).toMatchObject({ localEnded: true, remoteEnded: true, closed: true });
    expect(peer.connection.activeStreams).toBe(0);
    await expect.poll(() => peer.written(HEADERS).length).toBe(2);
    expect(decodeBlock(peer.written(HEADERS)[0]?.payload ?? Buffer.alloc(0))).toEqual([':status=200']);
    expect(peer.frames.slice(-3).map((f) => [f.type, f.flags])).toEqual([
      [HEADERS, Flag.END_HEADERS],
      [DATA, 0],
      [HEADERS, END],
    ]);
    expect(peer.recorder.lines.at(-1)).toBe('end 1');
  });

  it('keeps within the stream window, queues the rest and reports it when it leaves', async () => {
    const peer = RawPeer.server();
    peer.input(setting(4, 10), headers(1, END));
    const stream = opened(peer);
    stream.sendHeaders(HEAD, false);
    expect(send(stream, 'abcdefghijklmno')).toBe(10);
    expect(send(stream, 'pq', true)).toBe(0);
    expect(stream.queuedBytes).toBe(7);
    peer.input(frame(WINDOW_UPDATE, 0, 1, uint32(4)));
    expect(stream.queuedBytes).toBe(3);
    peer.input(frame(WINDOW_UPDATE, 0, 1, uint32(100)));
    // All of it leaves in one turn, so that it is one frame.
    await expect.poll(() => sizes(peer)).toEqual([17]);
    expect(peer.recorder.lines.slice(-3)).toEqual(['sent 1 4', 'sent 1 3', 'end 1']);
    expect(Buffer.concat(peer.written(DATA).map((f) => f.payload)).toString()).toBe('abcdefghijklmnopq');
  });

  it('sends trailers behind queued data', async () => {
    const peer = RawPeer.server();
    peer.input(setting(4, 0), headers(1, END));
    const stream = opened(peer);
    stream.sendHeaders(HEAD, false);
    send(stream, 'abc');
    stream.sendTrailers(TRAILERS);
    await turn();
    expect(peer.written(HEADERS)).toHaveLength(1);
    peer.input(frame(WINDOW_UPDATE, 0, 1, uint32(3)));
    await expect.poll(() => peer.frames.slice(-2).map((f) => f.type)).toEqual([DATA, HEADERS]);
    expect(stream.closed).toBe(true);
  });

  it('resets nothing when both sides have ended a stream, also from within the report of its last bytes', async () => {
    const peer = RawPeer.server();
    peer.recorder.onSent = (stream) => stream.reset(ErrorCode.NO_ERROR);
    peer.input(setting(4, 0), headers(1, END));
    const stream = opened(peer);
    stream.sendHeaders(HEAD, false);
    send(stream, 'abc');
    stream.sendTrailers(TRAILERS);
    peer.input(frame(WINDOW_UPDATE, 0, 1, uint32(3)));
    await expect.poll(() => peer.written(HEADERS, 1)).toHaveLength(2);
    expect(stream.closed).toBe(true);
    expect(peer.written(RST_STREAM)).toEqual([]);
  });

  it('ends a stream without window by an empty frame', async () => {
    const peer = RawPeer.server();
    peer.input(setting(4, 0), headers(1, END));
    opened(peer).sendHeaders(HEAD, false);
    send(opened(peer), '', true);
    await expect.poll(() => peer.written(DATA).map((f) => [f.flags, f.payload.length])).toEqual([[1, 0]]);
  });

  it('lets a window go below zero and waits until it is open again', async () => {
    const peer = RawPeer.server();
    peer.input(setting(4, 10), headers(1, END));
    const stream = opened(peer);
    stream.sendHeaders(HEAD, false);
    send(stream, '12345678');
    peer.input(setting(4, 3));
    expect(send(stream, 'ab')).toBe(0);
    peer.input(frame(WINDOW_UPDATE, 0, 1, uint32(5)));
    expect(stream.queuedBytes).toBe(2);
    peer.input(setting(4, 4));
    expect(stream.queuedBytes).toBe(1);
    await expect.poll(() => sizes(peer)).toEqual([8, 1]);
  });

  it('shares the connection window among streams by turns', async () => {
    const peer = RawPeer.server();
    peer.input(setting(4, 1_000_000), headers(1, END), headers(3, END));
    const body = Buffer.alloc(65_535 + 40_000);
    const [first, second] = peer.recorder.streams as [Stream, Stream];
    first.sendHeaders(HEAD, false);
    second.sendHeaders(HEAD, false);
    expect(first.sendData(body, 0, body.length, true)).toBe(65_535);
    expect(second.sendData(body, 0, 40_000, true)).toBe(0);
    peer.input(frame(WINDOW_UPDATE, 0, 0, uint32(32_768)));
    expect([first.queuedBytes, second.queuedBytes]).toEqual([40_000 - 16_384, 40_000 - 16_384]);
    peer.input(frame(WINDOW_UPDATE, 0, 0, uint32(100_000)));
    expect([first.closed, second.closed]).toEqual([true, true]);
  });

  it('holds DATA back while much output is unread, and goes on after', async () => {
    const peer = RawPeer.server({ outputDataBytesMax: 20_000 });
    peer.input(setting(4, 1_000_000), frame(WINDOW_UPDATE, 0, 0, uint32(1_000_000)), headers(1, END));
    const stream = opened(peer);
    stream.sendHeaders(HEAD, false);
    const body = Buffer.alloc(200_000);
    const written = stream.sendData(body, 0, body.length, true);
    expect(written).toBeLessThan(40_000);
    await expect.poll(() => stream.closed).toBe(true);
    expect(sizes(peer).reduce((a, b) => a + b)).toBe(200_000);
  });

  it('splits a header block over the frame size', async () => {
    const peer = RawPeer.server();
    peer.input(headers(1, END));
    const fields = [...HEAD, ...Array.from({ length: 50 }, (_, i) => field(`x-${i}`, 'v'.repeat(1_000)))];
    opened(peer).sendHeaders(fields, true);
    await expect.poll(() => peer.written(CONTINUATION).length).toBe(3);
    const blocks = peer.frames.filter((f) => f.type === HEADERS || f.type === CONTINUATION);
    expect(blocks.map((f) => f.flags)).toEqual([Flag.END_STREAM, 0, 0, Flag.END_HEADERS]);
    expect(blocks.slice(0, 3).map((f) => f.payload.length)).toEqual([16_384, 16_384, 16_384]);
    expect(decodeBlock(Buffer.concat(blocks.map((f) => f.payload)))[50]).toBe(`x-49=${'v'.repeat(1_000)}`);
  });

  it('throws on a second head, data before the head and data after the end', () => {
    const peer = RawPeer.server();
    peer.input(OPEN);
    const stream = opened(peer);
    expect(() => send(stream, 'x')).toThrow('no head');
    stream.sendHeaders(HEAD, false);
    expect(() => stream.sendHeaders(HEAD, false)).toThrow('already');
    stream.sendTrailers(TRAILERS);
    expect(() => send(stream, 'x')).toThrow('ended');
    expect(() => stream.consume(1)).toThrow(RangeError);
  });

  it('drops what is sent on a closed stream', async () => {
    const peer = RawPeer.server();
    peer.input(OPEN, frame(RST_STREAM, 0, 1, uint32(8)));
    const stream = opened(peer);
    stream.sendHeaders(HEAD, false);
    expect(send(stream, 'abc')).toBe(3);
    stream.sendTrailers(TRAILERS);
    stream.reset(ErrorCode.CANCEL);
    await turn();
    expect(peer.frames.filter((f) => f.streamId === 1)).toEqual([]);
  });

  it('drops queued data at a reset', async () => {
    const peer = RawPeer.server();
    peer.input(setting(4, 1), OPEN);
    const stream = opened(peer);
    stream.sendHeaders(HEAD, false);
    send(stream, 'abc');
    stream.reset(ErrorCode.INTERNAL_ERROR);
    peer.input(frame(WINDOW_UPDATE, 0, 1, uint32(10)));
    await expect.poll(() => peer.resetCode(1)).toBe(ErrorCode.INTERNAL_ERROR);
    expect(sizes(peer)).toEqual([1]);
    expect(peer.recorder.lines.filter((line) => line.startsWith('reset'))).toEqual([]);
  });
});

describe('receiving', () => {
  const updates = (peer: RawPeer, streamId: number): number[] =>
    peer.written(WINDOW_UPDATE, streamId).map((f) => f.payload.readUInt32BE(0));

  it('announces its limits', async () => {
    const peer = new RawPeer('server', { maxConcurrentStreams: 7, initialStreamWindowBytes: 70_000 });
    await expect.poll(() => peer.frames.length).toBe(2);
    const payload = peer.frames[0]?.payload ?? Buffer.alloc(0);
    const values = Array.from({ length: payload.length / 6 }, (_, i) => [
      payload.readUInt16BE(i * 6),
      payload.readUInt32BE(i * 6 + 2),
    ]);
    expect(values).toEqual([
      [4, 70_000],
      [6, 32_768],
      [3, 7],
    ]);
    expect(updates(peer, 0)).toEqual([4_194_304 - 65_535]);
  });

  it('gives credit in steps of half a window', async () => {
    const peer = RawPeer.server({ initialStreamWindowBytes: 100, connectionWindowBytes: 65_535 });
    peer.recorder.consumes = false;
    peer.input(OPEN, data(1, 0, Buffer.alloc(90)));
    opened(peer).consume(49);
    await turn();
    expect(updates(peer, 1)).toEqual([]);
    opened(peer).consume(1);
    await expect.poll(() => updates(peer, 1)).toEqual([50]);
  });

  it('gives padding back by itself', async () => {
    const peer = RawPeer.server({ initialStreamWindowBytes: 100 });
    peer.recorder.consumes = false;
    peer.input(OPEN, frame(DATA, Flag.PADDED, 1, [59, ...Buffer.alloc(59)]));
    await expect.poll(() => updates(peer, 1)).toEqual([60]);
  });

  it('refuses data over the stream window', async () => {
    const peer = RawPeer.server({ initialStreamWindowBytes: 100 });
    peer.recorder.consumes = false;
    peer.input(OPEN, data(1, 0, Buffer.alloc(100)), data(1, 0, 'x'));
    await expect.poll(() => peer.resetCode(1)).toBe(ErrorCode.FLOW_CONTROL_ERROR);
    expect(peer.connection.closed).toBe(false);
  });

  it('refuses data over the connection window', async () => {
    const peer = RawPeer.server({ connectionWindowBytes: 65_535, initialStreamWindowBytes: 1_000_000 });
    peer.recorder.consumes = false;
    const full = Array.from({ length: 4 }, () => data(1, 0, Buffer.alloc(16_384)));
    peer.input(OPEN, ...full);
    await expect.poll(() => peer.goawayCode).toBe(ErrorCode.FLOW_CONTROL_ERROR);
  });

  it('allows the initial window until its SETTINGS are acknowledged, and its own after', async () => {
    const peer = new RawPeer('server', { initialStreamWindowBytes: 100 });
    peer.recorder.consumes = false;
    peer.input(
      PREFACE,
      SETTINGS,
      OPEN,
      data(1, 0, Buffer.alloc(50)),
      SETTINGS_ACK,
      data(1, 0, Buffer.alloc(50)),
    );
    expect(peer.connection.activeStreams).toBe(1);
    peer.input(data(1, 0, 'x'));
    await expect.poll(() => peer.resetCode(1)).toBe(ErrorCode.FLOW_CONTROL_ERROR);
  });

  it('credits the connection for bytes of a stream that is gone', async () => {
    const peer = RawPeer.server({ connectionWindowBytes: 65_535 });
    peer.recorder.consumes = false;
    const body = data(1, 0, Buffer.alloc(16_384));
    peer.input(OPEN, body, body, frame(RST_STREAM, 0, 1, uint32(8)));
    await expect.poll(() => updates(peer, 0)).toEqual([32_768]);
    peer.input(headers(3, Flag.END_HEADERS), data(3, 0, Buffer.alloc(16_384)));
    opened(peer).reset(ErrorCode.CANCEL);
    peer.input(data(3, 0, Buffer.alloc(16_384)));
    await expect.poll(() => updates(peer, 0)).toEqual([32_768, 32_768]);
  });

  it('keeps the connection window closed for unread bytes of a stream that ended cleanly', async () => {
    const peer = RawPeer.server({ connectionWindowBytes: 65_535 });
    peer.recorder.consumes = false;
    const body = Buffer.alloc(16_384);
    peer.input(OPEN, data(1, 0, body), data(1, 0, body), data(1, Flag.END_STREAM, body));
    const stream = opened(peer);
    stream.sendHeaders(HEAD, true);
    await turn();
    expect([stream.closed, updates(peer, 0)]).toEqual([true, []]);
    stream.consume(40_000);
    await expect.poll(() => updates(peer, 0)).toEqual([40_000]);
    stream.reset(ErrorCode.CANCEL);
    stream.consume(1);
    await turn();
    expect(updates(peer, 0)).toEqual([40_000]);
  });

  it('drops informational responses', () => {
    const peer = RawPeer.client();
    peer.connection.openStream(peer.recorder)?.sendHeaders([field(':method', 'GET')], true);
    peer.input(headers(1, Flag.END_HEADERS, [[':status', '103']]), headers(1, END, RESPONSE));
    expect(peer.recorder.lines).toEqual(['headers 1 :status=200 end', 'end 1']);
  });

  it('takes the content-length of a response to HEAD as no promise', () => {
    const peer = RawPeer.client();
    peer.connection.openStream(peer.recorder)?.sendHeaders([field(':method', 'HEAD')], true);
    peer.input(headers(1, END, [...RESPONSE, ['content-length', '5']]));
    expect(peer.recorder.lines.at(-1)).toBe('end 1');
  });

  it('tells of a reset by the peer, and whether the call may be sent again', () => {
    const peer = RawPeer.client();
    for (let i = 0; i < 2; i++) peer.connection.openStream(peer.recorder)?.sendHeaders([], true);
    peer.input(frame(RST_STREAM, 0, 1, uint32(ErrorCode.REFUSED_STREAM)));
    peer.input(frame(RST_STREAM, 0, 3, uint32(ErrorCode.INTERNAL_ERROR)));
    expect(peer.recorder.lines).toEqual(['reset 1 7 peer no', 'reset 3 2 peer maybe']);
  });

  it('answers PING and SETTINGS', async () => {
    const peer = RawPeer.server();
    peer.input(frame(PING, 0, 0, Buffer.from('12345678')));
    await expect
      .poll(() => peer.written(PING).map((f) => [f.flags, String(f.payload)]))
      .toEqual([[1, '12345678']]);
    expect(peer.written(FrameType.SETTINGS).map((f) => f.flags)).toEqual([0, Flag.ACK]);
  });
});

describe('concurrency', () => {
  it('refuses streams over its own limit, so that they can be sent again', async () => {
    const peer = RawPeer.server({ maxConcurrentStreams: 2 });
    peer.input(OPEN, headers(3, END), headers(5, END));
    await expect.poll(() => peer.resetCode(5)).toBe(ErrorCode.REFUSED_STREAM);
    opened(peer).sendHeaders(HEAD, true);
    peer.input(headers(7, END));
    expect(peer.connection.activeStreams).toBe(2);
  });

  it('keeps to the limit of the server and tells when a slot is free', () => {
    const peer = new RawPeer('client');
    peer.input(setting(3, 2), SETTINGS_ACK);
    const { connection, recorder } = peer;
    expect(connection.availableStreams).toBe(2);
    for (let i = 0; i < 2; i++) connection.openStream(recorder)?.sendHeaders([], true);
    expect(connection.openStream(recorder)).toBeNull();
    peer.input(headers(1, END, RESPONSE));
    expect(recorder.lines.slice(-2)).toEqual(['end 1', 'writable']);
    connection.openStream(recorder)?.sendHeaders([], true);
    expect(connection.openStream(recorder)).toBeNull();
    peer.input(setting(3, 3));
    expect(recorder.lines.at(-1)).toBe('writable');
  });

  it('throws when heads are sent out of order', () => {
    const peer = RawPeer.client();
    const older = peer.connection.openStream(peer.recorder);
    peer.connection.openStream(peer.recorder)?.sendHeaders([], true);
    expect(() => older?.sendHeaders([], true)).toThrow('after a newer one');
  });

  it('ends a connection whose handler throws, and gives its owner the cause', async () => {
    const peer = RawPeer.server();
    const bug = new Error('bug');
    peer.recorder.onHeaders = () => {
      throw bug;
    };
    peer.input(OPEN);
    expect(peer.recorder.close).toMatchObject({
      code: ErrorCode.INTERNAL_ERROR,
      origin: 'local',
      cause: bug,
    });
    await expect.poll(() => peer.goawayCode).toBe(ErrorCode.INTERNAL_ERROR);
    expect(peer.written(GOAWAY).at(-1)?.payload).toHaveLength(8);
  });
});
