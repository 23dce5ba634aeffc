import { Flag, FrameType } from '../../../src/http2/frame-types.ts';
import { frame, literals, REQUEST, uint32 } from '../../../src/http2/raw-peer.ts';
import type { Speaker } from './conversation.ts';

const BOTH = Flag.END_STREAM | Flag.END_HEADERS;

type Make = (talker: Speaker, open: number) => Buffer[];

const setting = (id: number, value: number): Buffer[] => [
  frame(FrameType.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), uint32(value)])),
];
const head = (id: number, flags: number = BOTH): Buffer =>
  frame(FrameType.HEADERS, flags, id, literals(REQUEST));
/** A frame on one of the last streams, of this conversation perhaps; nothing while there is none. */
const onPast =
  (make: (id: number) => Buffer): Make =>
  ({ random, nextId }) =>
    nextId === 1 ? [] : [make(Math.max(1, nextId - 2 - 2 * random.below(6)))];

/** Frames and sequences that RFC 9113 §4 to §6 and RFC 7541 forbid, and a few that only look so. */
const MAKES: Readonly<Record<string, Make>> = {
  'HEADERS on stream 0': () => [head(0)],
  'HEADERS on an even stream': ({ nextId }) => [head(nextId + 1)],
  'HEADERS on a past stream': onPast((id) => head(id)),
  'DATA on stream 0': () => [frame(FrameType.DATA, 0, 0, Buffer.from('x'))],
  'DATA on an idle stream': ({ nextId }) => [frame(FrameType.DATA, 0, nextId + 4, Buffer.from('x'))],
  'DATA on a past stream': onPast((id) => frame(FrameType.DATA, 0, id, Buffer.from('x'))),
  'padding about as long as DATA': ({ random, nextId }, open) => [
    frame(FrameType.DATA, Flag.PADDED, open || nextId, [random.below(6), 1, 1]),
  ],
  'padding longer than HEADERS': ({ nextId }) => [
    frame(FrameType.HEADERS, BOTH | Flag.PADDED, nextId, [200, ...literals(REQUEST)]),
  ],
  'HEADERS too short for a priority': ({ nextId }) => [
    frame(FrameType.HEADERS, BOTH | Flag.PRIORITY, nextId, [0, 0]),
  ],
  'block interrupted by PING': ({ nextId }) => [
    head(nextId, Flag.END_STREAM),
    frame(FrameType.PING, 0, 0, Buffer.alloc(8)),
  ],
  'block continued on another stream': ({ nextId }) => [
    head(nextId, Flag.END_STREAM),
    frame(FrameType.CONTINUATION, Flag.END_HEADERS, nextId + 2),
  ],
  'CONTINUATION alone': ({ nextId }, open) => [
    frame(FrameType.CONTINUATION, Flag.END_HEADERS, open || nextId),
  ],
  'PRIORITY of a wrong size': ({ nextId }) => [frame(FrameType.PRIORITY, 0, nextId, [0, 0, 0])],
  'PRIORITY on stream 0': () => [frame(FrameType.PRIORITY, 0, 0, [0, 0, 0, 0, 1])],
  'a stream that depends on itself': ({ nextId }) => [
    frame(FrameType.PRIORITY, 0, nextId, [...uint32(nextId), 1]),
  ],
  'RST_STREAM of a wrong size': ({ nextId }, open) => [
    frame(FrameType.RST_STREAM, 0, open || nextId, [0, 0, 0]),
  ],
  'RST_STREAM on stream 0': () => [frame(FrameType.RST_STREAM, 0, 0, uint32(8))],
  'RST_STREAM on an idle stream': ({ nextId }) => [frame(FrameType.RST_STREAM, 0, nextId + 4, uint32(8))],
  // Not of this conversation: what came before a cancel may be seen or not.
  'RST_STREAM on a past stream': ({ random, fromId }) =>
    fromId === 1
      ? []
      : [frame(FrameType.RST_STREAM, 0, Math.max(1, fromId - 2 - 2 * random.below(6)), uint32(8))],
  'SETTINGS on a stream': () => [frame(FrameType.SETTINGS, 0, 1)],
  'SETTINGS of a wrong size': () => [frame(FrameType.SETTINGS, 0, 0, [0, 1, 0])],
  'SETTINGS acknowledgement with values': () => [frame(FrameType.SETTINGS, Flag.ACK, 0, Buffer.alloc(6))],
  'ENABLE_PUSH of 2': () => setting(2, 2),
  'window of 2^31': () => setting(4, 0x8000_0000),
  'frame size of 16383': () => setting(5, 16_383),
  'frame size of 2^24': () => setting(5, 0x100_0000),
  'PING of a wrong size': () => [frame(FrameType.PING, 0, 0, Buffer.alloc(7))],
  'PING on a stream': () => [frame(FrameType.PING, 0, 1, Buffer.alloc(8))],
  'GOAWAY of a wrong size': () => [frame(FrameType.GOAWAY, 0, 0, Buffer.alloc(7))],
  'GOAWAY on a stream': () => [frame(FrameType.GOAWAY, 0, 1, Buffer.alloc(8))],
  'WINDOW_UPDATE of a wrong size': () => [frame(FrameType.WINDOW_UPDATE, 0, 0, Buffer.alloc(3))],
  'increment of 0 for the connection': () => [frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(0))],
  'increment of 0 for a stream': (_talker, open) => [frame(FrameType.WINDOW_UPDATE, 0, open, uint32(0))],
  'window of the connection over 2^31-1': () => [frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(0x7fff_ffff))],
  'window of a stream over 2^31-1': (_talker, open) => [
    frame(FrameType.WINDOW_UPDATE, 0, open, uint32(0x7fff_ffff)),
  ],
  'WINDOW_UPDATE on an idle stream': ({ nextId }) => [
    frame(FrameType.WINDOW_UPDATE, 0, nextId + 4, uint32(1)),
  ],
  'WINDOW_UPDATE on a past stream': onPast((id) => frame(FrameType.WINDOW_UPDATE, 0, id, uint32(1))),
  'PUSH_PROMISE from a client': ({ nextId }, open) => [
    frame(FrameType.PUSH_PROMISE, Flag.END_HEADERS, open || nextId, [0, 0, 0, 2, 0x82]),
  ],
  'frame over the largest size': ({ nextId }, open) => [
    frame(FrameType.DATA, 0, open || nextId, Buffer.alloc(16_385)),
  ],
  'HPACK index 0': (talker) => [frame(FrameType.HEADERS, BOTH, talker.takeId(), [0x80])],
  'HPACK index behind the table': (talker) => [
    frame(FrameType.HEADERS, BOTH, talker.takeId(), talker.writer.missingEntry()),
  ],
  'HPACK string cut off': (talker) => [frame(FrameType.HEADERS, BOTH, talker.takeId(), [0x00, 0x05, 0x61])],
  'HPACK integer too long': (talker) => [
    frame(FrameType.HEADERS, BOTH, talker.takeId(), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
  ],
  'HPACK size update over the limit': (talker) => [
    frame(FrameType.HEADERS, BOTH, talker.takeId(), [0x3f, 0xe2, 0xff, 0x03]),
  ],
  'HPACK size update after a field': (talker) => [
    frame(FrameType.HEADERS, BOTH, talker.takeId(), [0x82, 0x20]),
  ],
  'HPACK padding of zeros': (talker) => [
    frame(FrameType.HEADERS, BOTH, talker.takeId(), [0x00, 0x01, 0x61, 0x81, 0x18]),
  ],
  'trailers without an end': (talker, open) => (open > 0 ? talker.head(open, [['x-a', 'b']], false) : []),
  'trailers with a pseudo-header': (talker, open) =>
    open > 0 ? talker.head(open, [[':path', '/']], true) : [],
  'body longer than content-length': (talker) => lengthMismatch(talker, 3, 5),
  'body shorter than content-length': (talker) => lengthMismatch(talker, 9, 5),
};
const NAMES = Object.keys(MAKES);

/** Something illegal, and its name. @param open a stream that is open, or 0 */
export function illegalFrames(talker: Speaker, open: number): readonly [string, Buffer[]] {
  const name = talker.random.pick(NAMES);
  return [name, (MAKES[name] as Make)(talker, open)];
}

function lengthMismatch(talker: Speaker, declared: number, actual: number): Buffer[] {
  const id = talker.takeId();
  return [
    ...talker.head(id, [...talker.someFields(), ['content-length', String(declared)]], false),
    talker.data(id, 'b'.repeat(actual), true),
  ];
}
