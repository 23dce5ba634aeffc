import type { Cell } from './load/cell.ts';

/** A ratio that our sidecar's CPU per call must not exceed, to a peer or to the best of several. */
type Target = { readonly against: readonly string[]; readonly ratioMax: number };

export type Scenario = {
  readonly id: string;
  readonly title: string;
  readonly load: Pick<Cell, 'connections' | 'loop' | 'answer'> & {
    readonly path: string;
    readonly payloadBytes: number;
  };
  /** What a result is divided by: calls, or the messages of all calls. */
  readonly per: 'call' | 'message';
  readonly targets: readonly Target[];
  /** p50 and p99 must be no worse than the best of these. */
  readonly latencyAgainst?: readonly string[];
  /** Left out where they can't keep up, or where another row says enough of them. */
  readonly without?: readonly string[];
  /** End-user tokens that calls to a candidate bring. */
  readonly tokens?: Readonly<Record<string, string>>;
};

const UNARY = '/testing.echo.v1.EchoService/Unary';
const STREAM = '/testing.echo.v1.EchoService/ServerStream';
const PAYLOAD = 100;
const small = { messages: 1, payloadBytes: PAYLOAD, everyMs: 0 };
const large = { messages: 1, payloadBytes: 65_536, everyMs: 0 };
const burst = { messages: 200, payloadBytes: 30, everyMs: 0 };
const paced = { messages: 200, payloadBytes: 30, everyMs: 5 };
const unary = { path: UNARY, payloadBytes: PAYLOAD, answer: small };
const BEST = ['nginx', 'haproxy', 'Envoy'];

const against = (peer: string, ratioMax: number): Target => ({ against: [peer], ratioMax });

export const SCENARIOS: readonly Scenario[] = [
  {
    id: 'unary-4x8',
    title: 'unary 100 B, 4 connections × 8 in flight',
    load: { ...unary, connections: 4, loop: { closed: 8 } },
    per: 'call',
    targets: [
      against('nginx', 0.28),
      against('haproxy', 0.65),
      against('nghttpx', 1.05),
      against('Envoy', 0.5),
    ],
  },
  {
    id: 'unary-4x100',
    title: 'unary 100 B, 4 × 100',
    load: { ...unary, connections: 4, loop: { closed: 100 } },
    per: 'call',
    without: ['grpc-js'],
    targets: [against('nginx', 0.2), against('Envoy', 0.5)],
  },
  {
    id: 'unary-200x1',
    title: 'unary 100 B, 200 × 1',
    load: { ...unary, connections: 200, loop: { closed: 1 } },
    per: 'call',
    targets: [against('nginx', 0.5), against('Envoy', 0.5)],
  },
  {
    id: 'large-4x8',
    title: '64 KiB responses, 4 × 8',
    load: { ...unary, answer: large, connections: 4, loop: { closed: 8 } },
    per: 'call',
    without: ['grpc-js'],
    targets: [against('nginx', 0.85), against('Envoy', 0.9)],
  },
  {
    id: 'open-1000',
    title: '1,000 rps, open loop, 16 connections',
    load: { ...unary, connections: 16, loop: { openRps: 1000 } },
    per: 'call',
    without: ['grpc-js'],
    targets: [{ against: BEST, ratioMax: 1.05 }],
    latencyAgainst: BEST,
  },
  {
    id: 'open-5000',
    title: '5,000 rps, open loop, 16 connections',
    load: { ...unary, connections: 16, loop: { openRps: 5000 } },
    per: 'call',
    without: ['grpc-js'],
    targets: [{ against: BEST, ratioMax: 0.95 }],
    latencyAgainst: BEST,
  },
  {
    id: 'burst',
    title: 'stream of 200 × 30 B in a burst, 4 × 4',
    load: { path: STREAM, payloadBytes: PAYLOAD, answer: burst, connections: 4, loop: { closed: 4 } },
    per: 'call',
    targets: [against('nginx', 0.75), against('haproxy', 1.1), against('Envoy', 0.7)],
  },
  {
    id: 'paced',
    title: 'stream paced 5 ms, 4 × 25, per message',
    load: { path: STREAM, payloadBytes: PAYLOAD, answer: paced, connections: 4, loop: { closed: 25 } },
    per: 'message',
    without: ['grpc-js'],
    targets: [against('haproxy', 1), against('Envoy', 0.7)],
  },
];

/** The first scenario's call on other connections or in another loop. */
export function unaryScenario(id: string, connections: number, loop: Cell['loop']): Scenario {
  return { id, title: id, load: { ...unary, connections, loop }, per: 'call', targets: [] };
}
