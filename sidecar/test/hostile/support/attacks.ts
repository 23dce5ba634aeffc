import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { ErrorCode } from '../../../src/http2/error-code.ts';
import {
  Flag,
  FrameType,
  PREFACE,
  SettingId,
  STREAM_ID_LARGEST,
  WINDOW_BYTES_LARGEST,
} from '../../../src/http2/frame-types.ts';
import {
  data,
  END,
  type FieldPairs,
  frame,
  headers,
  literals,
  SETTINGS,
  uint32,
} from '../../../src/http2/raw-peer.ts';
import { echoMessage } from '../../support/raw-caller.ts';
import type { RawAttacker } from './raw-attacker.ts';

/** Goes on until the peer is over or it has done what it can; it is left when its time is up. */
type Attack = (peer: RawAttacker) => Promise<void>;

const { HEADERS, CONTINUATION, PING, PRIORITY, RST_STREAM, WINDOW_UPDATE } = FrameType;
const FRAMES_PER_WRITE = 64;
const SERVICE = '/testing.echo.v1.EchoService';

function callOf(method: string, more: FieldPairs = []): FieldPairs {
  return [
    [':method', 'POST'],
    [':scheme', 'https'],
    [':path', `${SERVICE}/${method}`],
    [':authority', 'callee'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...more,
  ];
}
const UNARY = callOf('Unary');
const id = (i: number): number => 2 * i + 1;
/** A call that has begun and waits for its message. */
const begun = (i: number): Buffer => headers(id(i), Flag.END_HEADERS, callOf('Bidi'));
const rst = (streamId: number): Buffer => frame(RST_STREAM, 0, streamId, uint32(ErrorCode.CANCEL));
const windowUpdate = (streamId: number, by: number): Buffer => frame(WINDOW_UPDATE, 0, streamId, uint32(by));

/** Writes pieces as fast as they are taken. */
function flood(piece: (i: number) => Buffer, settings: Buffer = SETTINGS): Attack {
  return async (peer) => {
    await peer.begin(settings);
    for (let i = 0; !peer.over; i += FRAMES_PER_WRITE) {
      await peer.write(...Array.from({ length: FRAMES_PER_WRITE }, (_, k) => piece(i + k)));
      await turn();
    }
  };
}

/** One call is opened, and then the pieces come. */
const floodAfter = (first: Buffer, piece: (i: number) => Buffer): Attack =>
  flood((i) => (i === 0 ? Buffer.concat([first, piece(0)]) : piece(i)));

const settingsFrame = (key: number, value: number): Buffer =>
  frame(FrameType.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, key]), uint32(value)]));

/** A field with incremental indexing whose value is of this length, over 127 bytes. */
function largeField(name: string, valueBytes: number): Buffer {
  const left = valueBytes - 127;
  return Buffer.concat([
    Buffer.from([0x40, name.length]),
    Buffer.from(name),
    Buffer.from([0x7f, (left & 0x7f) | 0x80, left >> 7]),
    Buffer.alloc(valueBytes, 0x61),
  ]);
}

/** A header block in as few frames as it takes. */
function block(streamId: number, bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 16_384) {
    const last = at + 16_384 >= bytes.length ? Flag.END_HEADERS : 0;
    parts.push(frame(at === 0 ? HEADERS : CONTINUATION, last, streamId, bytes.subarray(at, at + 16_384)));
  }
  return Buffer.concat(parts);
}

const BOMB = Buffer.concat([literals(UNARY), largeField('x-bomb', 3_900)]);
const BOMB_AGAIN = Buffer.concat([literals(UNARY), Buffer.alloc(16_000, 0x80 | 62)]);
const HUGE_LIST = Buffer.concat([
  literals(UNARY),
  ...Array.from({ length: 12 }, () => largeField('x-huge', 4_000)),
]);
const NAMELESS = Buffer.concat([literals(UNARY), Buffer.alloc(3 * 4_000)]);

/** Every way in which a reset can be provoked, one after the other. */
function provokedReset(i: number): Buffer {
  const open = begun(i);
  switch (i % 4) {
    case 0:
      return Buffer.concat([open, windowUpdate(id(i), 0)]);
    case 1:
      return Buffer.concat([open, windowUpdate(id(i), WINDOW_BYTES_LARGEST)]);
    case 2:
      return Buffer.concat([open, headers(id(i), Flag.END_HEADERS, [['x-trailer', 'without an end']])]);
    default:
      return Buffer.concat([
        open,
        frame(PRIORITY, 0, id(i), Buffer.concat([uint32(id(i)), Buffer.alloc(1)])),
      ]);
  }
}

/** Heads that two readers could take for different requests. */
const SMUGGLING: readonly FieldPairs[] = [
  [...UNARY, ['transfer-encoding', 'chunked']],
  [...UNARY, ['connection', 'close']],
  [...UNARY, ['upgrade', 'h2c']],
  [...UNARY, ['proxy-connection', 'keep-alive']],
  [...UNARY, ['keep-alive', 'timeout=5']],
  [...UNARY, ['te', 'gzip']],
  [...UNARY, ['host', 'elsewhere']],
  [...UNARY, ['content-length', '1'], ['content-length', '2']],
  [...UNARY, ['content-length', '-1']],
  [...UNARY, ['X-Upper', 'case']],
  [...UNARY, ['x-cr', 'a\rb']],
  [...UNARY, ['x-lf', 'a\nx-injected: b']],
  [...UNARY, ['x-nul', 'a\0b']],
  [...UNARY, ['x colon: y', 'z']],
  [...UNARY, [':path', '/late']],
  [...UNARY, [':unknown', 'x']],
  [[':path', '/a'], ...UNARY],
  UNARY.slice(1),
  UNARY.map(([name, value]) => (name === ':path' ? [name, ''] : [name, value])),
  UNARY.map(([name, value]) => (name === ':path' ? [name, `${value} HTTP/1.1\r\nx: y`] : [name, value])),
];

/** Answers that go on, for as long as somebody reads them. */
const download = (i: number, more: FieldPairs = []): Buffer =>
  Buffer.concat([
    headers(id(i), Flag.END_HEADERS, callOf('ServerStream', more)),
    data(id(i), Flag.END_STREAM, echoMessage({ count: 1_000, answerBytes: 60_000 })),
  ]);

/** Opens downloads and takes nothing of them, over and over, with the streams' own window wide open. */
function unreadDownloads(streams: number, more: FieldPairs = []): Attack {
  return async (peer) => {
    await peer.begin(settingsFrame(SettingId.INITIAL_WINDOW_SIZE, WINDOW_BYTES_LARGEST));
    peer.socket.pause();
    for (let i = 0; i < streams && !peer.over; i++) {
      await peer.write(download(i, more));
      if (i % 16 === 15) await delay(5);
    }
  };
}

const attackList = {
  'rapid reset': flood((i) => Buffer.concat([begun(i), rst(id(i))])),
  'rapid reset under the limit': async (peer) => {
    await peer.begin();
    for (let i = 0; !peer.over; i++) {
      await peer.write(begun(i), rst(id(i)));
      await delay(11);
    }
  },
  'opening and leaving': async (peer) => {
    await peer.begin();
    await peer.write(...Array.from({ length: 1_000 }, (_, i) => begun(i)));
    await delay(50);
    peer.destroy();
  },
  'provoked resets': flood(provokedReset),
  'continuations without end': flood((i) =>
    i === 0
      ? frame(HEADERS, 0, 1, literals(UNARY))
      : frame(CONTINUATION, 0, 1, Buffer.alloc(i % 2 === 0 ? 0 : 8)),
  ),
  'large continuations without end': flood((i) =>
    i === 0 ? frame(HEADERS, 0, 1, literals(UNARY)) : frame(CONTINUATION, 0, 1, BOMB_AGAIN),
  ),
  PING: flood(() => frame(PING, 0, 0, Buffer.alloc(8))),
  SETTINGS: flood(() => settingsFrame(SettingId.INITIAL_WINDOW_SIZE, 100_000)),
  'empty DATA': floodAfter(begun(0), () => data(1, 0, '')),
  'RST_STREAM on one stream': floodAfter(begun(0), () => rst(1)),
  PRIORITY: flood(() => frame(PRIORITY, 0, 1, Buffer.alloc(5))),
  'unknown frames': flood(() => frame(0x42, 0, 0)),
  'WINDOW_UPDATE on the connection': flood(() => windowUpdate(0, 1)),
  'WINDOW_UPDATE on a stream': floodAfter(begun(0), () => windowUpdate(1, 1)),
  'one byte of window at a time': async (peer) => {
    await peer.begin(settingsFrame(SettingId.INITIAL_WINDOW_SIZE, 0));
    const streams = 100;
    await peer.write(...Array.from({ length: streams }, (_, i) => download(i)));
    for (let i = 0; !peer.over; i += FRAMES_PER_WRITE) {
      const more = (k: number): Buffer => windowUpdate(id((i + k) % streams), 1);
      await peer.write(...Array.from({ length: FRAMES_PER_WRITE }, (_, k) => more(k)));
      await turn();
    }
  },
  'data in single bytes': async (peer) => {
    await peer.begin();
    const message = echoMessage({ text: 'x'.repeat(60_000) });
    for (let stream = 0; !peer.over; stream++) {
      await peer.write(begun(stream));
      for (let at = 0; at < message.length && !peer.over; at += 256) {
        await peer.write(
          ...Array.from(message.subarray(at, at + 256), (byte) => data(id(stream), 0, Buffer.from([byte]))),
        );
        await turn();
      }
    }
  },
  'downloads that are not read': unreadDownloads(1_000),
  'downloads that are not read, with deadlines': unreadDownloads(1_000, [['grpc-timeout', '150m']]),
  'fields without name and value': flood((i) => block(id(i), NAMELESS)),
  'HPACK bomb': flood((i) => block(id(i), i === 0 ? BOMB : BOMB_AGAIN)),
  'header lists over the limit': flood((i) => block(id(i), HUGE_LIST)),
  'an overflow of the connection’s window': flood(() => windowUpdate(0, WINDOW_BYTES_LARGEST)),
  'an overflow of a stream’s window': flood((i) =>
    Buffer.concat([begun(i), windowUpdate(id(i), WINDOW_BYTES_LARGEST)]),
  ),
  'more data than the window': async (peer) => {
    await peer.begin();
    const slow = headers(1, Flag.END_HEADERS, callOf('ClientStream'));
    await peer.write(slow, data(1, 0, echoMessage({ delayMs: 60_000 })));
    const message = echoMessage({ payload: Buffer.alloc(16_000) });
    while (!peer.over) {
      await peer.write(data(1, 0, message));
      await turn();
    }
  },
  'frames over the size': flood(() => frame(FrameType.DATA, 0, 1, Buffer.alloc(16_385))),
  'smuggling shapes': flood((i) => headers(id(i), END, SMUGGLING[i % SMUGGLING.length])),
  'more streams than allowed': flood(begun),
  'stream ids used up': flood((i) => headers(i === 0 ? STREAM_ID_LARGEST : id(i), END, UNARY)),
  'HTTP/1': async (peer) => peer.write(Buffer.from('POST / HTTP/1.1\r\nhost: callee\r\n\r\n')),
  'idle connections': async (peer) => peer.begin(),
  'no preface': () => Promise.resolve(),
  'a preface in single bytes': async (peer) => {
    for (const byte of PREFACE) {
      await peer.write(Buffer.from([byte]));
      await delay(1_000);
    }
  },
  'no acknowledgement of SETTINGS': (peer) => peer.write(PREFACE, SETTINGS),
  'half a header block': async (peer) => {
    await peer.begin();
    await peer.write(frame(HEADERS, 0, 1, literals(UNARY)));
  },
  'half a HEADERS frame': async (peer) => {
    await peer.begin();
    await peer.write(headers(1, END, UNARY).subarray(0, 30));
  },
} satisfies Record<string, Attack>;

export type AttackName = keyof typeof attackList;
export const attacks: Readonly<Record<string, Attack>> = attackList;
