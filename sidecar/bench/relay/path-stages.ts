import type { Share } from './cpu-profile.ts';

/** Parts of the sidecar by the place that the profiler names: a file of its sources, or a word of V8's. The first that fits counts. */
const STAGES: readonly (readonly [title: string, place: RegExp])[] = [
  ['garbage collection', /^\(garbage collector\)$/],
  [
    'TLS, sockets and their system calls',
    /^native$|^node:(_tls|tls|net|events|buffer|internal\/(buffer|stream|streams|tls|js_stream|net))/,
  ],
  ['event loop, timers, other native code', /^\(|^node:/],
  ['HPACK', /^http2\/(hpack|huffman|field|static-table|header-block)/],
  ['HTTP/2 frames, streams and windows', /^http2\//],
  ['connections, pools, balancing, breaker', /^(listen|upstream)\//],
  ['accept and identify', /^path\/(1-|2-|connection-peer|grpc-timeout|deadline)/],
  ['authenticate', /^(path\/3-|tokens\/|libs\/identity)/],
  ['authorise', /^(path\/4-|policy\/)/],
  ['admit, quotas, shedding', /^(path\/(5-|quota)|quota\/|shed\/)/],
  [
    'observe: metrics, decisions, traces',
    /^(path\/(8-|call-|decision|duration|bounded|line|shadow|usage)|audit\/|libs\/telemetry)/,
  ],
  [
    'forward: heads and message framing',
    /^(path\/(6-|7-|message|passage|re|byte|later|protect)|protect\/|libs\/contracts)/,
  ],
  ['pipeline, from stage to stage', /^path\//],
  ['everything else', /^/],
];

/** What each part of the sidecar takes, in the order of a call's way; parts that take nothing are left out. */
export function byStage(places: readonly Share[]): Share[] {
  const sums = new Map(STAGES.map(([title]) => [title, 0]));
  for (const { name, share } of places) {
    const [title = ''] = STAGES.find(([, place]) => place.test(name)) ?? [];
    sums.set(title, (sums.get(title) ?? 0) + share);
  }
  return [...sums].filter(([, share]) => share > 0).map(([name, share]) => ({ name, share }));
}
