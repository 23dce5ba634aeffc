import { lookup } from 'node:dns/promises';
import { parseAddress } from '@gatehouse/sockets';
import type { SidecarConfig } from '../config/schema.ts';
import type { EndpointSource, SourceEvents } from './endpoint-source.ts';
import { followDns } from './follow-dns.ts';
import { followService } from './follow-service.ts';

type UpstreamConfig = SidecarConfig['upstreams'][number];

/** How the source of one upstream's endpoints is doing. */
export type EndpointSourceView = {
  readonly upstream: string;
  readonly source: 'dns' | 'kubernetes';
  /** Times that it had no answer. */
  readonly failures: number;
  /** Why it has no answer now; empty when it has. */
  readonly problem: string;
};

export type FollowOptions = {
  readonly config: SidecarConfig;
  /** Milliseconds, never going back. */
  readonly clock: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
  /** Another set of addresses than before. */
  readonly onEndpoints: (upstream: string, addresses: readonly string[]) => void;
  /** A source has no answer; told when that begins and when the reason changes, and with '' when it has one again. */
  readonly onProblem: (upstream: string, problem: string) => void;
};

/** The endpoints of all upstreams that are not listed in the configuration. */
export type FollowedEndpoints = {
  views(): readonly EndpointSourceView[];
  close(): void;
};

/** How long a start waits for first answers; calls find no endpoint until there is one. */
const FIRST_ANSWERS_MS_MAX = 2_000;
/** More endpoints of one upstream than this are left out, the last in order. */
const ENDPOINTS_MAX = 1_024;

/** Begins to follow, and returns once every source has answered, has failed, or has had its time. */
export async function followEndpoints(options: FollowOptions): Promise<FollowedEndpoints> {
  const followed = options.config.upstreams.flatMap((upstream) => {
    const each = follow(upstream, options);
    return each === null ? [] : [each];
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, FIRST_ANSWERS_MS_MAX);
  });
  await Promise.race([Promise.all(followed.map(({ source }) => source.firstAnswer)), late]);
  clearTimeout(timer);
  return {
    views: () => followed.map(({ view }) => view()),
    close: () => {
      for (const { source } of followed) source.close();
    },
  };
}

type Followed = { readonly source: EndpointSource; readonly view: () => EndpointSourceView };

function follow(upstream: UpstreamConfig, options: FollowOptions): Followed | null {
  const { name } = upstream;
  let problem = '';
  let failures = 0;
  let known = '';
  const tellProblem = (next: string): void => {
    if (next === problem) return;
    problem = next;
    options.onProblem(name, next);
  };
  const source = openSource(upstream, options, {
    onEndpoints: (addresses) => {
      tellProblem('');
      const taken = [...new Set(addresses)].sort().slice(0, ENDPOINTS_MAX);
      if (taken.join() === known) return;
      known = taken.join();
      options.onEndpoints(name, taken);
    },
    onProblem: (next) => {
      failures += 1;
      tellProblem(next);
    },
  });
  const kind = upstream.dns === undefined ? 'kubernetes' : 'dns';
  return source && { source, view: () => ({ upstream: name, source: kind, failures, problem }) };
}

function openSource(
  { dns, service, port }: UpstreamConfig,
  { config, clock, random }: FollowOptions,
  events: SourceEvents,
): EndpointSource | null {
  if (dns !== undefined) {
    const target = parseAddress(dns);
    if ('path' in target) return null;
    return followDns(target, {
      ...events,
      random,
      refreshMs: config.limits.endpointsRefreshMs,
      lookup: async (host) => (await lookup(host, { all: true })).map(({ address }) => address),
    });
  }
  if (service === undefined || port === undefined) return null;
  const [namespace = '', name = ''] = service.split('/');
  const { apiServer: url, caFile, tokenFile } = config.kubernetes;
  return followService(
    { namespace, name, port },
    { ...events, clock, random, api: { url, caFile, tokenFile } },
  );
}
