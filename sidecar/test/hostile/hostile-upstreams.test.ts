import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { ErrorCode } from '../../src/http2/error-code.ts';
import { Flag, FrameType, WINDOW_BYTES_LARGEST } from '../../src/http2/frame-types.ts';
import {
  data,
  END,
  type FieldPairs,
  frame,
  headers,
  SETTINGS,
  SETTINGS_ACK,
  uint32,
} from '../../src/http2/raw-peer.ts';
import { run } from '../support/calls.ts';
import { spiffe } from '../support/test-mesh.ts';
import { type HostileMesh, startHostileMesh } from './support/hostile-mesh.ts';
import { type Misbehaviour, type RawUpstream, startRawUpstream } from './support/raw-upstream.ts';
import { type SteadyClient, startSteadyClient } from './support/steady-client.ts';

const { HEADERS, RST_STREAM, GOAWAY, PUSH_PROMISE, PING, WINDOW_UPDATE, DATA } = FrameType;
const GREETING = Buffer.concat([SETTINGS, SETTINGS_ACK]);
const HEAD: FieldPairs = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
];
const OK: FieldPairs = [['grpc-status', '0']];
const many = (count: number, piece: Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => piece));
const head = (id: number, fields: FieldPairs = HEAD): Buffer => headers(id, Flag.END_HEADERS, fields);
const rst = (id: number, code: number): Buffer => frame(RST_STREAM, 0, id, uint32(code));
const goaway = (lastId: number, code: number): Buffer =>
  frame(GOAWAY, 0, 0, Buffer.concat([uint32(lastId), uint32(code)]));

const { UNAVAILABLE, INTERNAL, UNKNOWN, DEADLINE_EXCEEDED, CANCELLED } = status;
const CALL_MS = 2_500;
/** A handshake takes a while on a machine that has other work. */
const CONNECT_MS_MAX = 1_500;

/** What it does, what its callers get, and a part of the sentence. */
const MISBEHAVIOURS: readonly (readonly [string, Misbehaviour, status, RegExp])[] = [
  ['speaks no HTTP/2', { greeting: Buffer.alloc(100, 0xff) }, UNAVAILABLE, /./],
  ['speaks HTTP/1', { greeting: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') }, UNAVAILABLE, /./],
  ['closes at once', { greeting: Buffer.alloc(0), closes: true }, UNAVAILABLE, /clos/],
  ['says nothing', { greeting: Buffer.alloc(0) }, UNAVAILABLE, /./],
  ['answers no call', {}, DEADLINE_EXCEEDED, /./],
  ['sends GOAWAY for every call', { onRequest: () => goaway(0, ErrorCode.NO_ERROR) }, UNAVAILABLE, /./],
  [
    'sends GOAWAY and never answers the call that it has taken',
    { onRequest: (id) => goaway(id, 0) },
    DEADLINE_EXCEEDED,
    /./,
  ],
  ['greets with GOAWAY', { greeting: Buffer.concat([GREETING, goaway(0, 0)]) }, UNAVAILABLE, /./],
  [
    'refuses every stream',
    { onRequest: (id) => rst(id, ErrorCode.REFUSED_STREAM) },
    UNAVAILABLE,
    /RST_STREAM/,
  ],
  ['resets every stream', { onRequest: (id) => rst(id, ErrorCode.INTERNAL_ERROR) }, INTERNAL, /RST_STREAM/],
  ['cancels every stream', { onRequest: (id) => rst(id, ErrorCode.CANCEL) }, CANCELLED, /RST_STREAM/],
  [
    'sends frames over the size',
    { onRequest: () => frame(DATA, 0, 1, Buffer.alloc(16_385)) },
    UNAVAILABLE,
    /./,
  ],
  [
    'sends headers that do not decode',
    { onRequest: (id) => frame(HEADERS, END, id, [0xff, 0xff]) },
    UNAVAILABLE,
    /decode/,
  ],
  [
    'sends a header list over the limit',
    {
      onRequest: (id) =>
        head(id, [...HEAD, ...Array.from({ length: 200 }, (): [string, string] => ['x', 'y'])]),
    },
    UNAVAILABLE,
    /header list/,
  ],
  ['answers on a stream that is not there', { onRequest: () => head(99) }, UNAVAILABLE, /idle/],
  ['answers on a stream of its own', { onRequest: () => head(2) }, UNAVAILABLE, /./],
  [
    'pushes',
    { onRequest: (id) => frame(PUSH_PROMISE, Flag.END_HEADERS, id, [0, 0, 0, 2]) },
    UNAVAILABLE,
    /./,
  ],
  ['sends DATA before its head', { onRequest: (id) => data(id, 0, 'x') }, UNAVAILABLE, /before the head/],
  ['sends a head without a status', { onRequest: (id) => head(id, [['x', 'y']]) }, UNAVAILABLE, /./],
  [
    'answers as no gRPC',
    { onRequest: (id) => headers(id, END, [[':status', '200']]) },
    INTERNAL,
    /content-type/,
  ],
  [
    'answers with HTTP 503',
    { onRequest: (id) => headers(id, END, [[':status', '503']]) },
    UNAVAILABLE,
    /503/,
  ],
  ['answers with HTTP 500', { onRequest: (id) => headers(id, END, [[':status', '500']]) }, UNKNOWN, /500/],
  [
    'ends without trailers',
    { onRequest: (id) => Buffer.concat([head(id), data(id, Flag.END_STREAM, Buffer.alloc(5))]) },
    INTERNAL,
    /trailers/,
  ],
  [
    'sends two answers to one question',
    { onRequest: (id) => Buffer.concat([head(id), data(id, 0, Buffer.alloc(10)), headers(id, END, OK)]) },
    INTERNAL,
    /more than one message/,
  ],
  [
    'overflows the window',
    { onRequest: () => frame(WINDOW_UPDATE, 0, 0, uint32(WINDOW_BYTES_LARGEST)) },
    UNAVAILABLE,
    /window/,
  ],
  [
    'sends more than the window',
    { onRequest: (id) => Buffer.concat([head(id), many(2_000, data(id, 0, Buffer.alloc(16_384)))]) },
    INTERNAL,
    /./,
  ],
  [
    'floods with PING',
    { onRequest: () => many(10_000, frame(PING, 0, 0, Buffer.alloc(8))) },
    UNAVAILABLE,
    /ping/,
  ],
  ['floods with SETTINGS', { onRequest: () => many(10_000, SETTINGS) }, UNAVAILABLE, /settings/],
];

let mesh: HostileMesh;
let steady: SteadyClient;
const upstreams: RawUpstream[] = [];
const nameOf = (index: number): string => `bad-${index}`;

beforeAll(async () => {
  mesh = await startHostileMesh();
  const app = await mesh.startQuickApp('app');
  const inbound = await mesh.startInbound(app.address);
  const issued = await mesh.authority.issue({ spiffeId: spiffe('callee'), validForMs: 3_600_000 });
  for (const [, misbehaviour] of MISBEHAVIOURS)
    upstreams.push(await startRawUpstream(issued, mesh.authority.bundlePem, misbehaviour));
  const bad = Object.fromEntries(upstreams.map(({ address }, index) => [nameOf(index), [address]]));
  await mesh.startEgress({ good: [inbound.inboundAddress], ...bad }, { connectMsMax: CONNECT_MS_MAX });
  steady = startSteadyClient(mesh.egressClient('good'), 10);
  await vi.waitFor(() => expect(steady.report().calls).toBeGreaterThan(20), {
    timeout: 20_000,
    interval: 20,
  });
}, 60_000);

afterAll(async () => {
  const { failures } = await steady.stop();
  for (const upstream of upstreams) upstream.close();
  await mesh.stop();
  expect(failures).toEqual([]);
});

test.each(MISBEHAVIOURS.map(([title, , code, says], index) => ({ title, code, says, index })))(
  'an upstream that $title fails its own calls, with a status that names it, and no other upstream’s',
  async ({ code, says, index }) => {
    steady.reset();
    const client = mesh.egressClient(nameOf(index));
    const answers = [];
    for (let i = 0; i < 2; i++)
      answers.push(await run(client, 'unary', [{ text: 'x' }], { timeoutMs: CALL_MS }));
    const [first] = answers;
    expect([status[first?.code ?? 0], first?.message]).toEqual([status[code], expect.stringMatching(says)]);
    if (code !== DEADLINE_EXCEEDED) {
      const metadata = first?.details.errorInfo?.metadata;
      expect(metadata).toMatchObject({ upstream: nameOf(index), endpoint: upstreams[index]?.address });
    }
    expect(steady.report().failures).toEqual([]);
  },
);
