import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ErrorCode } from './error-code.ts';
import { Flag, FrameType, PREFACE } from './frame-types.ts';
import { data, END, frame, headers, literals, RawPeer, REQUEST, SETTINGS_ACK, uint32 } from './raw-peer.ts';

const { DATA, HEADERS, RST_STREAM, PING, GOAWAY, CONTINUATION } = FrameType;
const setting = (id: number, value: number): Buffer =>
  frame(FrameType.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), uint32(value)]));

describe('whatever bytes come', () => {
  const legal = [
    headers(1, Flag.END_HEADERS),
    headers(3, END),
    data(1, 0, 'abc'),
    headers(5, 0),
    frame(CONTINUATION, Flag.END_HEADERS, 5, literals([['a', 'b']])),
    headers(1, END, [['t', 'u']]),
    setting(4, 5),
    setting(1, 0),
    frame(PING, 0, 0, Buffer.alloc(8)),
    frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(9)),
    frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(9)),
    frame(RST_STREAM, 0, 3, uint32(8)),
    frame(GOAWAY, 0, 0, Buffer.alloc(8)),
    frame(HEADERS, END, 7, [0x40, 0x81, 0x1f, 0x81, 0x1f, 0xbe, 0x82]),
  ];
  const anyFrame = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...legal) },
    fc
      .tuple(fc.nat(10), fc.nat(255), fc.nat(9), fc.uint8Array({ maxLength: 30 }))
      .map(([type, flags, id, payload]) => frame(type, flags, id, Buffer.from(payload))),
    fc
      .tuple(fc.constantFrom(...legal), fc.nat(40), fc.nat(255))
      .map(([bytes, at, value]) => Buffer.from(bytes.map((b, i) => (i === at ? value : b)))),
  );

  it.each(['server', 'client'] as const)('a %s neither throws nor loses count of its streams', (role) => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 25 }), fc.nat(60), (frames, step) => {
        const peer = role === 'server' ? RawPeer.server() : RawPeer.client();
        for (let i = 0; role === 'client' && i < 4; i++)
          peer.connection.openStream(peer.recorder)?.sendHeaders([], i > 1);
        const bytes = Buffer.concat(frames);
        for (let at = 0; at < bytes.length; at += step + 1) {
          const piece = bytes.subarray(at, at + step + 1);
          peer.connection.receive(piece, piece.length);
        }
        peer.connection.destroy(ErrorCode.NO_ERROR, 'over');
        expect(peer.recorder.close?.cause).toBeUndefined();
        expect(peer.connection.activeStreams).toBe(0);
        const closes = peer.recorder.lines.filter((line) => line.startsWith('close'));
        expect([closes.length, peer.recorder.lines.at(-1)]).toEqual([1, closes[0]]);
      }),
      { numRuns: 500 },
    );
  });
});

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
    data(7, 0, 'one '),
    data(7, 0, 'two '),
    data(7, 0, ''),
    data(7, 0, 'three'),
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
        'data 7 one two three',
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

  it('and small DATA frames in a row are handed on as one piece, up to another stream or the end', () => {
    const peer = RawPeer.server();
    peer.input(headers(1, Flag.END_HEADERS), headers(3, Flag.END_HEADERS));
    const pieces: string[] = [];
    peer.recorder.onData = (stream, chunk, start, end, endStream) => {
      pieces.push(`${stream.id} ${chunk.toString('latin1', start, end)}${endStream ? ' end' : ''}`);
    };
    const [large, padded] = ['L'.repeat(2000), frame(DATA, Flag.PADDED, 3, [1, 80, 0])];
    const first = [data(1, 0, 'a'), data(1, 0, 'b'), data(3, 0, 'c'), padded, data(3, 0, 'd')];
    const then = [data(3, 0, large), data(1, 0, 'e'), data(1, Flag.END_STREAM, 'f'), data(3, 0, 'g')];
    peer.input(...first, ...then);
    expect(pieces).toEqual(['1 ab', '3 c', '3 P', '3 d', `3 ${large}`, '1 ef end', '3 g']);
    expect(peer.connection.progress).toBe(2 + 9);
  });

  it('and DATA is handed on before its frame is whole', () => {
    const peer = RawPeer.server();
    peer.input(headers(1, Flag.END_HEADERS), data(1, Flag.END_STREAM, 'abcdef').subarray(0, 12));
    expect(peer.recorder.lines.at(-1)).toBe('data 1 abc');
    expect(peer.recorder.streams[0]?.remoteEnded).toBe(false);
  });
});
