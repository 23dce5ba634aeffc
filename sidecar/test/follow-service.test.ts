import { readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type EndpointSource } from '../src/endpoints/endpoint-source.ts';
import { followService } from '../src/endpoints/follow-service.ts';
import { type ApiServer, type SliceEndpoint, startApiServer } from './support/api-server.ts';

const WAIT = { timeout: 5_000, interval: 5 };
const PORTS = [{ name: 'mtls', port: 8443 }];

let api: ApiServer;
let source: EndpointSource | undefined;
let known: readonly string[] | undefined;
let problems: string[];

beforeEach(async () => {
  api = await startApiServer();
  known = undefined;
  problems = [];
  api.put('embeddings', 'embeddings-a', { endpoints: [pod(1), pod(2)], ports: PORTS });
  api.put('other', 'other-a', { endpoints: [pod(99)], ports: PORTS });
});
afterEach(async () => {
  source?.close();
  await api.close();
});

const pod = (number: number, conditions: SliceEndpoint['conditions'] = { ready: true }): SliceEndpoint => ({
  addresses: [`10.0.0.${number}`],
  conditions,
});
const pods = (...numbers: number[]) => numbers.map((number) => `10.0.0.${number}:8443`);

function follow(): EndpointSource {
  source = followService(
    { namespace: 'prod', name: 'embeddings', port: 'mtls' },
    {
      api,
      clock: () => performance.now(),
      random: Math.random,
      backoffMs: 20,
      backoffMsMax: 100,
      onEndpoints: (addresses) => {
        known = addresses;
      },
      onProblem: (problem) => problems.push(problem),
    },
  );
  return source;
}

async function following(): Promise<void> {
  await follow().firstAnswer;
  await expect.poll(() => api.watches(), WAIT).toBe(1);
}
const lists = () => api.requests.filter((path) => !path.includes('watch=1')).length;
const watchedFrom = () => new URLSearchParams(api.requests.at(-1)).get('resourceVersion');

describe('followService', () => {
  it('lists the slices of its Service alone, and watches from there on', async () => {
    await following();
    expect(known).toEqual(pods(1, 2));
    expect(api.requests.map((path) => path.replace(/timeoutSeconds=\d+/, ''))).toEqual([
      '/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dembeddings',
      '/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dembeddings&watch=1&allowWatchBookmarks=true&resourceVersion=102&',
    ]);
  });

  it('has a change of readiness within a second', async () => {
    await following();
    const beganAtMs = performance.now();
    api.put('embeddings', 'embeddings-a', { endpoints: [pod(1, { ready: false }), pod(2)], ports: PORTS });
    await expect.poll(() => known, WAIT).toEqual(pods(2));
    expect(performance.now() - beganAtMs).toBeLessThan(1_000);
  });

  it('follows slices that come and go, and endpoints that move between them', async () => {
    await following();
    const seen: (readonly string[] | undefined)[] = [];
    api.put('embeddings', 'embeddings-b', { endpoints: [pod(3)], ports: PORTS });
    await expect.poll(() => known, WAIT).toEqual(pods(1, 2, 3));
    // Taken out of one slice and put into the other: at no time is the endpoint gone.
    api.put('embeddings', 'embeddings-a', { endpoints: [pod(1)], ports: PORTS });
    api.put('embeddings', 'embeddings-b', { endpoints: [pod(2), pod(3), pod(4)], ports: PORTS });
    await expect
      .poll(() => {
        seen.push(known);
        return known;
      }, WAIT)
      .toEqual(pods(1, 2, 3, 4));
    expect(seen.every((set) => set?.includes('10.0.0.2:8443'))).toBe(true);
    api.put('embeddings', 'embeddings-b', null);
    await expect.poll(() => known, WAIT).toEqual(pods(1));
  });

  it('goes on from where it was when a watch ends, a bookmark counted in, and lists no second time', async () => {
    await following();
    api.bookmark();
    api.endWatches();
    await expect.poll(() => api.requests.length, WAIT).toBe(3);
    expect(watchedFrom()).toBe('112');
    await expect.poll(() => api.watches(), WAIT).toBe(1);
    api.put('embeddings', 'embeddings-a', { endpoints: [pod(5)], ports: PORTS });
    await expect.poll(() => known, WAIT).toEqual(pods(5));
    expect(lists()).toBe(1);
    expect(problems).toEqual([]);
  });

  it('misses nothing that happens while it has no connection', async () => {
    await following();
    api.cut();
    api.put('embeddings', 'embeddings-a', { endpoints: [pod(6)], ports: PORTS });
    await expect.poll(() => known, WAIT).toEqual(pods(6));
    expect(lists()).toBe(1);
  });

  it.each([
    ['as the answer to a watch', () => api.cut()],
    ['as an event of a watch', () => api.failWatches(410)],
  ])('lists anew after 410 Gone %s', async (_, fail) => {
    await following();
    api.compact();
    api.put('embeddings', 'embeddings-a', null);
    api.put('embeddings', 'embeddings-c', { endpoints: [pod(7)], ports: PORTS });
    // What it has been told by the watch that still stood.
    await expect.poll(() => known, WAIT).toEqual(pods(7));
    api.compact();
    fail();
    await expect.poll(() => lists(), WAIT).toBe(2);
    await expect.poll(() => api.watches(), WAIT).toBe(1);
    expect(known).toEqual(pods(7));
  });

  it('keeps what it knows while the server is away, tells, asks with pauses, and is up to date once it is back', async () => {
    await following();
    await api.stop();
    await expect.poll(() => problems.length, WAIT).toBeGreaterThanOrEqual(3);
    expect(problems.at(-1)).toMatch(
      /^the Kubernetes API does not answer for prod\/embeddings: .*ECONNREFUSED/,
    );
    expect(known).toEqual(pods(1, 2));
    api.put('embeddings', 'embeddings-a', { endpoints: [pod(8)], ports: PORTS });
    await api.start();
    await expect.poll(() => known, WAIT).toEqual(pods(8));
  });

  it('starts without the server, and begins when it is there', async () => {
    await api.stop();
    await follow().firstAnswer;
    expect(known).toBeUndefined();
    expect(problems[0]).toContain('ECONNREFUSED');
    await api.start();
    await expect.poll(() => known, WAIT).toEqual(pods(1, 2));
  });

  it('brings the renewed token from its file, and says so while it is refused', async () => {
    await following();
    await api.rotateToken('second', false);
    api.cut();
    await expect
      .poll(() => problems.some((problem) => problem.endsWith('401 Unauthorized')), WAIT)
      .toBe(true);
    await api.rotateToken('second');
    await expect.poll(() => api.watches(), WAIT).toBe(1);
    expect(lists()).toBe(1);
  });

  it('takes no server that the CA has not signed for, and says what its files lack', async () => {
    const other = await startApiServer();
    try {
      const ca = await readFile(api.caFile, 'utf8');
      await writeFile(api.caFile, await readFile(other.caFile, 'utf8'));
      await follow().firstAnswer;
      expect(known).toBeUndefined();
      expect(api.requests).toEqual([]);
      expect(problems[0]).toMatch(/certificate/);
      await writeFile(api.caFile, ca);
      await expect.poll(() => known, WAIT).toEqual(pods(1, 2));
    } finally {
      await other.close();
    }
  });

  it.each([403, 429, 500])('goes on asking after %d', async (status) => {
    api.refuseWith(status);
    await follow().firstAnswer;
    expect(problems[0]).toContain(`${status} not now`);
    api.refuseWith(null);
    await expect.poll(() => known, WAIT).toEqual(pods(1, 2));
  });

  it('closes its connection, and asks no more, when it is closed', async () => {
    await following();
    source?.close();
    await expect.poll(() => api.watches(), WAIT).toBe(0);
    const asked = api.requests.length;
    api.put('embeddings', 'embeddings-a', { endpoints: [pod(9)], ports: PORTS });
    await expect.poll(() => api.watches(), WAIT).toBe(0);
    expect(api.requests.length).toBe(asked);
    expect(known).toEqual(pods(1, 2));
  });
});
