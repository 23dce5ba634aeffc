import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ErrorCode } from './error-code.ts';
import { Flag, FrameType, PREFACE } from './frame-types.ts';
import {
  data,
  END,
  type FieldPairs,
  frame,
  headers,
  literals,
  RawPeer,
  REQUEST,
  RESPONSE,
  SETTINGS,
  SETTINGS_ACK,
  uint32,
} from './raw-peer.ts';

const { DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION } =
  FrameType;
const OPEN = headers(1, Flag.END_HEADERS);
const ENDED = headers(1, END);
const E = ErrorCode;
const setting = (id: number, value: number): Buffer =>
  frame(FrameType.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), uint32(value)]));

const connectionErrors: [string, number, Buffer[]][] = [
  ['DATA on stream 0', E.PROTOCOL_ERROR, [data(0, 0, 'x')]],
  ['DATA on an idle stream', E.PROTOCOL_ERROR, [data(1, 0, 'x')]],
  [
    'DATA on a stream both sides ended',
    E.STREAM_CLOSED,
    [ENDED, frame(RST_STREAM, 0, 1, uint32(8)), data(1, 0, 'x')],
  ],
  ['DATA on a skipped stream', E.STREAM_CLOSED, [headers(5, END), data(3, 0, 'x')]],
  ['DATA padded over its size', E.PROTOCOL_ERROR, [OPEN, frame(DATA, Flag.PADDED, 1, [3, 0, 0])]],
  ['padded DATA without a pad length', E.FRAME_SIZE_ERROR, [OPEN, frame(DATA, Flag.PADDED, 1)]],
  ['HEADERS on stream 0', E.PROTOCOL_ERROR, [headers(0, END)]],
  ['HEADERS on an even stream', E.PROTOCOL_ERROR, [headers(2, END)]],
  ['HEADERS on a lower, unused stream', E.PROTOCOL_ERROR, [headers(5, END), headers(3, END)]],
  [
    'HEADERS on a closed stream',
    E.STREAM_CLOSED,
    [ENDED, frame(RST_STREAM, 0, 1, uint32(8)), headers(1, END)],
  ],
  ['HEADERS padded over their size', E.PROTOCOL_ERROR, [frame(HEADERS, END | Flag.PADDED, 1, [9, 0x82])]],
  [
    'HEADERS too short for their priority',
    E.FRAME_SIZE_ERROR,
    [frame(HEADERS, END | Flag.PRIORITY, 1, [0, 0, 0])],
  ],
  ['a header block that does not decode', E.COMPRESSION_ERROR, [frame(HEADERS, END, 1, [0x80])]],
  ['a header block interrupted by another stream', E.PROTOCOL_ERROR, [headers(1, 0), headers(3, END)]],
  [
    'a header block interrupted by PING',
    E.PROTOCOL_ERROR,
    [headers(1, 0), frame(PING, 0, 0, Buffer.alloc(8))],
  ],
  ['CONTINUATION without HEADERS', E.PROTOCOL_ERROR, [frame(CONTINUATION, Flag.END_HEADERS, 1)]],
  ['CONTINUATION after END_HEADERS', E.PROTOCOL_ERROR, [OPEN, frame(CONTINUATION, Flag.END_HEADERS, 1)]],
  [
    'CONTINUATION of another stream',
    E.PROTOCOL_ERROR,
    [headers(1, 0), frame(CONTINUATION, Flag.END_HEADERS, 3)],
  ],
  ['PRIORITY on stream 0', E.PROTOCOL_ERROR, [frame(PRIORITY, 0, 0, Buffer.alloc(5))]],
  ['PRIORITY of an idle stream on itself', E.PROTOCOL_ERROR, [frame(PRIORITY, 0, 7, [0, 0, 0, 7, 0])]],
  ['RST_STREAM on stream 0', E.PROTOCOL_ERROR, [frame(RST_STREAM, 0, 0, uint32(0))]],
  ['RST_STREAM on an idle stream', E.PROTOCOL_ERROR, [frame(RST_STREAM, 0, 1, uint32(0))]],
  ['RST_STREAM of three bytes', E.FRAME_SIZE_ERROR, [OPEN, frame(RST_STREAM, 0, 1, [0, 0, 0])]],
  ['SETTINGS on a stream', E.PROTOCOL_ERROR, [frame(FrameType.SETTINGS, 0, 1)]],
  ['ENABLE_CONNECT_PROTOCOL of 2', E.PROTOCOL_ERROR, [setting(8, 2)]],
  ['NO_RFC7540_PRIORITIES of 2', E.PROTOCOL_ERROR, [setting(9, 2)]],
  ['SETTINGS of five bytes', E.FRAME_SIZE_ERROR, [frame(FrameType.SETTINGS, 0, 0, Buffer.alloc(5))]],
  [
    'an acknowledgement of SETTINGS with values',
    E.FRAME_SIZE_ERROR,
    [frame(4, Flag.ACK, 0, Buffer.alloc(6))],
  ],
  ['ENABLE_PUSH of 2', E.PROTOCOL_ERROR, [setting(2, 2)]],
  ['INITIAL_WINDOW_SIZE of 2^31', E.FLOW_CONTROL_ERROR, [setting(4, 0x8000_0000)]],
  ['MAX_FRAME_SIZE below 16,384', E.PROTOCOL_ERROR, [setting(5, 16_383)]],
  ['MAX_FRAME_SIZE over 2^24-1', E.PROTOCOL_ERROR, [setting(5, 16_777_216)]],
  [
    'an INITIAL_WINDOW_SIZE that overflows a stream',
    E.FLOW_CONTROL_ERROR,
    [OPEN, frame(WINDOW_UPDATE, 0, 1, uint32(0x7fff_0000)), setting(4, 0x7fff_ffff)],
  ],
  ['PUSH_PROMISE', E.PROTOCOL_ERROR, [OPEN, frame(PUSH_PROMISE, Flag.END_HEADERS, 1, uint32(2))]],
  ['PING on a stream', E.PROTOCOL_ERROR, [frame(PING, 0, 1, Buffer.alloc(8))]],
  ['PING of seven bytes', E.FRAME_SIZE_ERROR, [frame(PING, 0, 0, Buffer.alloc(7))]],
  ['GOAWAY on a stream', E.PROTOCOL_ERROR, [frame(GOAWAY, 0, 1, Buffer.alloc(8))]],
  ['GOAWAY of seven bytes', E.FRAME_SIZE_ERROR, [frame(GOAWAY, 0, 0, Buffer.alloc(7))]],
  ['WINDOW_UPDATE of three bytes', E.FRAME_SIZE_ERROR, [frame(WINDOW_UPDATE, 0, 0, [0, 0, 1])]],
  ['WINDOW_UPDATE of 0 on the connection', E.PROTOCOL_ERROR, [frame(WINDOW_UPDATE, 0, 0, uint32(0))]],
  ['WINDOW_UPDATE on an idle stream', E.PROTOCOL_ERROR, [frame(WINDOW_UPDATE, 0, 1, uint32(1))]],
  [
    'a connection window over 2^31-1',
    E.FLOW_CONTROL_ERROR,
    [frame(WINDOW_UPDATE, 0, 0, uint32(0x7fff_ffff))],
  ],
  ['a frame over 16,384 bytes', E.FRAME_SIZE_ERROR, [OPEN, data(1, 0, Buffer.alloc(16_385))]],
];

const streamErrors: [string, number, Buffer[]][] = [
  ['DATA after END_STREAM', E.STREAM_CLOSED, [ENDED, data(1, 0, 'x')]],
  ['HEADERS after END_STREAM', E.STREAM_CLOSED, [ENDED, headers(1, END)]],
  ['trailers without END_STREAM', E.PROTOCOL_ERROR, [OPEN, headers(1, Flag.END_HEADERS, [['a', 'b']])]],
  ['trailers with a pseudo-header field', E.PROTOCOL_ERROR, [OPEN, headers(1, END)]],
  [
    'trailers with a connection-specific field',
    E.PROTOCOL_ERROR,
    [OPEN, headers(1, END, [['connection', 'x']])],
  ],
  ['HEADERS of a stream that depends on itself', E.PROTOCOL_ERROR, [selfDependent()]],
  ['PRIORITY of an open stream on itself', E.PROTOCOL_ERROR, [OPEN, frame(PRIORITY, 0, 1, [0, 0, 0, 1, 0])]],
  ['PRIORITY of four bytes', E.FRAME_SIZE_ERROR, [OPEN, frame(PRIORITY, 0, 1, Buffer.alloc(4))]],
  ['WINDOW_UPDATE of 0', E.PROTOCOL_ERROR, [OPEN, frame(WINDOW_UPDATE, 0, 1, uint32(0))]],
  ['a window over 2^31-1', E.FLOW_CONTROL_ERROR, [OPEN, frame(WINDOW_UPDATE, 0, 1, uint32(0x7fff_ffff))]],
];

function selfDependent(): Buffer {
  const payload = Buffer.concat([uint32(1), Buffer.from([0]), literals(REQUEST)]);
  return frame(HEADERS, END | Flag.PRIORITY, 1, payload);
}

const without = (name: string): FieldPairs => REQUEST.filter(([n]) => n !== name);
const plus = (...fields: FieldPairs): FieldPairs => [...REQUEST, ...fields];
const instead = (name: string, value: string): FieldPairs =>
  REQUEST.map(([n, v]) => [n, n === name ? value : v]);

const malformedRequests: [string, FieldPairs][] = [
  ['without :method', without(':method')],
  ['without :scheme', without(':scheme')],
  ['without :path', without(':path')],
  ['with an empty :path', instead(':path', '')],
  ['with a relative :path', instead(':path', 'a.B/C')],
  ['with an empty :method', instead(':method', '')],
  ['with :method twice', [...REQUEST.slice(0, 1), ...REQUEST]],
  ['with :status', [[':status', '200'], ...REQUEST]],
  ['with an unknown pseudo-header field', [[':protocol', 'x'], ...REQUEST]],
  ['with a pseudo-header field after a regular one', [['a', 'b'], ...REQUEST]],
  ['with an upper-case name', plus(['X-a', 'b'])],
  ['with an empty name', plus(['', 'b'])],
  ['with a blank in a name', plus(['a b', 'c'])],
  ['with a colon in a name', plus(['a:b', 'c'])],
  ['with CR in a value', plus(['a', 'b\rc'])],
  ['with LF in a value', plus(['a', 'b\nc'])],
  ['with NUL in a value', plus(['a', 'b\0c'])],
  ['with LF in :path', instead(':path', '/a\nb')],
  ['with a blank before a value', plus(['a', ' b'])],
  ['with a tab after a value', plus(['a', 'b\t'])],
  ['with connection', plus(['connection', 'close'])],
  ['with keep-alive', plus(['keep-alive', '1'])],
  ['with proxy-connection', plus(['proxy-connection', 'x'])],
  ['with transfer-encoding', plus(['transfer-encoding', 'chunked'])],
  ['with upgrade', plus(['upgrade', 'h2c'])],
  ['with te other than trailers', plus(['te', 'gzip'])],
  ['with a content-length of letters', plus(['content-length', '1a'])],
  ['with two content-lengths', plus(['content-length', '1'], ['content-length', '2'])],
  ['with a host other than :authority', plus(['host', 'y'])],
  ['with userinfo in :authority', instead(':authority', 'u@x')],
  ['with a :method that is no token', instead(':method', 'GE\xd4')],
  ['with a blank in :method', instead(':method', 'GET /x')],
  ['with a :scheme that is none', instead(':scheme', '1:')],
  ['with a blank in :path', instead(':path', '/a HTTP/1.1')],
  ['with a slash in :authority', instead(':authority', 'x/y')],
  ['with a byte over 127 in :authority', instead(':authority', 'x\xe9')],
  ['CONNECT with a path', instead(':method', 'CONNECT')],
];

const malformedResponses: [string, Buffer[]][] = [
  ['without :status', [headers(1, END, [['a', 'b']])]],
  ['with :status twice', [headers(1, END, [...RESPONSE, ...RESPONSE])]],
  ['with a :status of letters', [headers(1, END, [[':status', 'abc']])]],
  ['101', [headers(1, Flag.END_HEADERS, [[':status', '101']])]],
  ['informational and ended', [headers(1, END, [[':status', '103']])]],
  ['with a request field', [headers(1, END, [...RESPONSE, [':path', '/']])]],
  ['with DATA before its head', [data(1, 0, 'x')]],
  ['204 with a body', [headers(1, Flag.END_HEADERS, [[':status', '204']]), data(1, 0, 'x')]],
  ['304 with a body', [headers(1, Flag.END_HEADERS, [[':status', '304']]), data(1, Flag.END_STREAM, 'x')]],
  [
    'shorter than its content-length',
    [headers(1, Flag.END_HEADERS, [...RESPONSE, ['content-length', '3']]), data(1, Flag.END_STREAM, 'xy')],
  ],
];

describe('a server ends the connection for', () => {
  it.each(connectionErrors)('%s', async (_what, code, input) => {
    const peer = RawPeer.server();
    peer.input(...input);
    await turn();
    expect(peer.recorder.close).toMatchObject({ code, origin: 'local' });
    await expect.poll(() => peer.goawayCode).toBe(code);
    await expect.poll(() => peer.ended).toBe(true);
  });

  it.each([
    ['a wrong preface', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a first frame that is not SETTINGS', Buffer.concat([PREFACE, ENDED])],
    ['an acknowledgement as first frame', Buffer.concat([PREFACE, SETTINGS_ACK])],
  ])('%s', async (_what, input) => {
    const peer = new RawPeer('server');
    peer.input(input);
    await expect.poll(() => peer.goawayCode).toBe(E.PROTOCOL_ERROR);
  });
});

describe('a server resets the stream alone for', () => {
  it.each(streamErrors)('%s', async (_what, code, input) => {
    const peer = RawPeer.server();
    peer.input(...input, headers(9, END));
    await expect.poll(() => peer.resetCode(1)).toBe(code);
    expect(peer.connection.closed).toBe(false);
    expect(peer.recorder.lines.at(-1)).toMatch(/^headers 9 /);
  });

  it.each(malformedRequests)('a request %s', async (_what, fields) => {
    const peer = RawPeer.server();
    peer.input(headers(1, END, fields), headers(3, END));
    await expect.poll(() => peer.resetCode(1)).toBe(E.PROTOCOL_ERROR);
    expect(peer.recorder.lines.filter((line) => line.startsWith('headers'))).toHaveLength(1);
    expect(peer.recorder.lines).toContain('violation malformed-message');
  });

  it.each([
    ['shorter', 'xy'],
    ['longer', 'wxyz'],
  ])('a body %s than its content-length', async (_what, body) => {
    const peer = RawPeer.server();
    peer.input(headers(1, Flag.END_HEADERS, plus(['content-length', '3'])), data(1, Flag.END_STREAM, body));
    await expect.poll(() => peer.resetCode(1)).toBe(E.PROTOCOL_ERROR);
    expect(peer.recorder.lines).toContain('reset 1 1 local maybe');
  });
});

describe('a client resets the stream for a response', () => {
  it.each(malformedResponses)('%s', async (_what, input) => {
    const peer = RawPeer.client();
    peer.connection.openStream(peer.recorder)?.sendHeaders([], true);
    peer.input(...input);
    await expect.poll(() => peer.resetCode(1)).toBe(E.PROTOCOL_ERROR);
    expect(peer.recorder.lines).toContain('reset 1 1 local maybe');
    expect(peer.connection.closed).toBe(false);
  });
});

describe('a client ends the connection for', () => {
  it.each([
    ['a response on a stream it has not opened', headers(3, END, RESPONSE)],
    ['a stream opened by the server', headers(2, END, RESPONSE)],
    ['PUSH_PROMISE', frame(PUSH_PROMISE, Flag.END_HEADERS, 1, uint32(2))],
    ['ENABLE_PUSH of 1', setting(2, 1)],
  ])('%s', async (_what, input) => {
    const peer = RawPeer.client();
    peer.connection.openStream(peer.recorder)?.sendHeaders([], true);
    peer.input(input);
    await expect.poll(() => peer.goawayCode).toBe(E.PROTOCOL_ERROR);
  });
});

describe('legal input that looks odd is taken:', () => {
  it.each([
    ['an unknown frame type', frame(0xfa, 0xff, 9, Buffer.alloc(20))],
    ['an unknown setting', setting(0xaa, 1)],
    ['an acknowledged PING nobody sent', frame(PING, Flag.ACK, 0, Buffer.alloc(8))],
    ['PRIORITY of an idle stream', frame(PRIORITY, 0, 9, [0, 0, 0, 1, 5])],
    ['flags without a meaning', headers(1, END | 0xc2)],
    ['the reserved bit of a stream id', headers(0x8000_0001, END)],
    [
      'OPTIONS *',
      headers(
        1,
        END,
        instead(':path', '*').map(([n, v]) => [n, n === ':method' ? 'OPTIONS' : v]),
      ),
    ],
    [
      'CONNECT',
      headers(1, END, [
        [':method', 'CONNECT'],
        [':authority', 'x:1'],
      ]),
    ],
    ['te: trailers and a host like :authority', headers(1, END, plus(['te', 'trailers'], ['host', 'X']))],
  ])('%s', (_what, input) => {
    const peer = RawPeer.server();
    peer.input(input, headers(11, END));
    expect(peer.recorder.lines.at(-1)).toMatch(/^headers 11 /);
    expect(peer.recorder.lines.filter((line) => !line.startsWith('headers'))).toEqual([]);
  });

  it('frames on a stream that was reset here, even with its trailers', async () => {
    const peer = RawPeer.server();
    peer.input(OPEN);
    peer.recorder.streams[0]?.reset(E.CANCEL);
    peer.input(
      data(1, 0, 'late'),
      headers(1, END, [['a', 'b']]),
      frame(WINDOW_UPDATE, 0, 1, uint32(1)),
      headers(3, END),
    );
    await turn();
    expect(peer.recorder.lines.at(-1)).toMatch(/^headers 3 /);
    expect(peer.connection.closed).toBe(false);
  });

  it('SETTINGS in the same write as the preface', () => {
    const peer = new RawPeer('server');
    peer.input(PREFACE, SETTINGS, ENDED);
    expect(peer.recorder.lines).toHaveLength(1);
  });
});
