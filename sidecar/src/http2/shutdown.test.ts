import { describe, expect, it } from 'vitest';
import { ErrorCode } from './error-code.ts';
import { field } from './field.ts';
import { Flag, FrameType } from './frame-types.ts';
import { END, frame, headers, RawPeer, RESPONSE, uint32 } from './raw-peer.ts';

const { HEADERS, PING, GOAWAY } = FrameType;
const HEAD = [field(':status', '200')];

const goaways = (peer: RawPeer): number[][] =>
  peer.written(GOAWAY).map((f) => [f.payload.readUInt32BE(0), f.payload.readUInt32BE(4)]);

function goaway(lastStreamId: number, code: number, text = ''): Buffer {
  return frame(GOAWAY, 0, 0, Buffer.concat([uint32(lastStreamId), uint32(code), Buffer.from(text)]));
}

describe('a server that shuts down', () => {
  it('serves what comes until its PING is answered, ignores what comes later, and closes at the end', async () => {
    const peer = RawPeer.server();
    peer.input(headers(1, END));
    peer.connection.shutdown();
    peer.connection.shutdown();
    await expect.poll(() => peer.written(PING).length).toBe(1);
    expect(goaways(peer)).toEqual([[0x7fff_ffff, 0]]);
    peer.input(headers(3, END), frame(PING, Flag.ACK, 0, peer.written(PING)[0]?.payload), headers(5, END));
    await expect
      .poll(() => goaways(peer))
      .toEqual([
        [0x7fff_ffff, 0],
        [3, 0],
      ]);
    const [first, second, ...others] = peer.recorder.streams;
    expect(others).toEqual([]);
    first?.sendHeaders(HEAD, true);
    expect(peer.connection.closed).toBe(false);
    second?.sendHeaders(HEAD, true);
    expect(peer.recorder.close).toEqual({ code: ErrorCode.NO_ERROR, origin: 'local', detail: 'drained' });
    await expect.poll(() => peer.ended).toBe(true);
    expect(peer.written(HEADERS).map((f) => f.streamId)).toEqual([1, 3]);
  });

  it('closes at once when it is destroyed meanwhile, after telling every stream', async () => {
    const peer = RawPeer.server();
    peer.input(headers(1, END), headers(3, END));
    peer.connection.shutdown();
    peer.connection.destroy(ErrorCode.INTERNAL_ERROR, 'test');
    peer.connection.destroy(ErrorCode.NO_ERROR, '');
    expect(peer.recorder.lines.slice(-3)).toEqual([
      'reset 1 2 connection maybe',
      'reset 3 2 connection maybe',
      'close 2 local',
    ]);
    await expect.poll(() => peer.goawayCode).toBe(ErrorCode.INTERNAL_ERROR);
    expect(peer.written(GOAWAY).at(-1)?.payload.toString('latin1', 8)).toBe('test');
  });
});

describe('a client', () => {
  it('that shuts down opens no stream and closes when the last has ended', async () => {
    const peer = RawPeer.client();
    peer.connection.openStream(peer.recorder)?.sendHeaders([], true);
    peer.connection.shutdown();
    expect(peer.connection.openStream(peer.recorder)).toBeNull();
    peer.input(headers(1, END, RESPONSE));
    expect(peer.recorder.lines.slice(-2)).toEqual(['end 1', 'close 0 local']);
    await expect.poll(() => goaways(peer)).toEqual([[0, 0]]);
  });

  it('told to go away may send the streams above the last one again, and ends the others in peace', () => {
    const peer = RawPeer.client();
    for (let i = 0; i < 3; i++) peer.connection.openStream(peer.recorder)?.sendHeaders([], true);
    peer.input(goaway(3, ErrorCode.NO_ERROR, 'bye'));
    expect(peer.recorder.lines).toEqual(['goaway 0 bye', 'reset 5 7 peer no']);
    expect(peer.connection).toMatchObject({ draining: true, closed: false, availableStreams: 0 });
    peer.input(headers(1, END, RESPONSE), goaway(1, ErrorCode.NO_ERROR));
    expect(peer.recorder.lines.slice(-4)).toEqual([
      'end 1',
      'goaway 0 ',
      'reset 3 7 peer no',
      'close 0 peer',
    ]);
  });

  it('hears the code of a GOAWAY as the reason when the socket ends', async () => {
    const peer = RawPeer.client();
    peer.connection.openStream(peer.recorder)?.sendHeaders([], true);
    await expect.poll(() => peer.written(HEADERS).length).toBe(1);
    peer.input(goaway(1, ErrorCode.ENHANCE_YOUR_CALM, 'too_many_pings'));
    peer.socket.end();
    await expect.poll(() => peer.recorder.close).not.toBeNull();
    expect(peer.recorder.lines.slice(-2)).toEqual(['reset 1 11 connection maybe', 'close 11 peer']);
    expect(peer.recorder.close?.detail).toBe('too_many_pings');
  });

  it('may send again what was not written when the socket was lost', async () => {
    const peer = RawPeer.client();
    peer.connection.openStream(peer.recorder)?.sendHeaders([], true);
    await expect.poll(() => peer.written(HEADERS).length).toBe(1);
    peer.connection.openStream(peer.recorder)?.sendHeaders([], true);
    peer.connection.openStream(peer.recorder);
    peer.connection.socket.emit('end');
    expect(peer.recorder.lines).toEqual([
      'reset 1 0 connection maybe',
      'reset 3 0 connection no',
      'reset 5 0 connection no',
      'close 0 peer',
    ]);
  });

  it('gives its id up without a frame when a stream is reset before its head', async () => {
    const peer = RawPeer.client();
    peer.connection.openStream(peer.recorder)?.reset(ErrorCode.CANCEL);
    peer.connection.openStream(peer.recorder)?.sendHeaders([], true);
    await expect.poll(() => peer.written(HEADERS).map((f) => f.streamId)).toEqual([3]);
    expect(peer.written(FrameType.RST_STREAM)).toEqual([]);
  });
});
