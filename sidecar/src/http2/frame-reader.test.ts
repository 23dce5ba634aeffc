import { describe, expect, it } from 'vitest';
import { ErrorCode } from './error-code.ts';
import { Flag, FrameType, PREFACE } from './frame-types.ts';
import { data, END, frame, headers, literals, RawPeer, REQUEST, SETTINGS_ACK, uint32 } from './raw-peer.ts';

const { DATA, HEADERS, RST_STREAM, PING, GOAWAY, CONTINUATION } = FrameType;
const setting = (id: number, value: number): Buffer =>
  frame(FrameType.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), uint32(value)]));

describe('the same bytes mean the same', () => {
  const session = Buffer.concat([
    PREFACE,
    setting(4, 100_000),
    SETTINGS_ACK,
    headers(1, Flag.END_HEADERS),
    data(1, 0, 'hello'),
    frame(DATA, Flag.PADDED, 1, [2, ...Buffer.from('world'), 0, 0]),
    frame(PING, 0, 0, Buffer.alloc(8)),
    data(1, 0, ''),
    headers(3, END),
    frame(DATA, Flag.PADDED | Flag.END_STREAM, 1, [3, 33, 0, 0, 0]),
    frame(HEADERS, Flag.END_STREAM | Flag.PADDED | Flag.PRIORITY, 5, [
      1,
      0,
      0,
      0,
      0,
      7,
      ...literals(REQUEST),
      0,
    ]),
    frame(CONTINUATION, 0, 5, literals([['a', 'b']])),
    frame(CONTINUATION, Flag.END_HEADERS, 5, literals([['c', 'd']])),
    headers(7, Flag.END_HEADERS),
    headers(7, END, [['x-trailer', 'y']]),
    frame(0xbb, 0, 0, Buffer.alloc(11)),
    frame(RST_STREAM, 0, 3, uint32(ErrorCode.CANCEL)),
    frame(FrameType.PRIORITY, 0, 5, Buffer.alloc(4)),
    frame(GOAWAY, 0, 0, [...Buffer.alloc(8), ...Buffer.from('bye')]),
    headers(9, END, [['bad', 'request']]),
    frame(HEADERS, END, 11, [0xff, 0xff]),
  ]);

  function outcome(pieces: Buffer[]): string[] {
    const peer = new RawPeer('server');
    for (const piece of pieces) {
      peer.input(piece);
      // The piece's memory is used again at once, as `onread` does.
      piece.fill(0xee);
    }
    return peer.recorder.lines;
  }

  it('whether they come whole, byte by byte, or cut in two anywhere', () => {
    const whole = outcome([Buffer.from(session)]);
    expect(whole).toEqual(
      expect.arrayContaining([
        'data 1 helloworld',
        'data 1 !',
        'headers 5 :method=POST :scheme=http :path=/a.B/C :authority=x a=b c=d end',
      ]),
    );
    expect(whole.at(-1)).toBe(`close ${ErrorCode.COMPRESSION_ERROR} local`);
    expect(outcome([...session].map((byte) => Buffer.from([byte])))).toEqual(whole);
    for (let cut = 1; cut < session.length; cut++) {
      const pieces = [Buffer.from(session.subarray(0, cut)), Buffer.from(session.subarray(cut))];
      expect(outcome(pieces), `cut at ${cut}`).toEqual(whole);
    }
  });

  it('and DATA is handed on before its frame is whole', () => {
    const peer = RawPeer.server();
    peer.input(headers(1, Flag.END_HEADERS), data(1, Flag.END_STREAM, 'abcdef').subarray(0, 12));
    expect(peer.recorder.lines.at(-1)).toBe('data 1 abc');
    expect(peer.recorder.streams[0]?.remoteEnded).toBe(false);
  });
});
