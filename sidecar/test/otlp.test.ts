/** Spans on their way to a collector: over TLS, and while it is away. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Authority, createAuthority } from '@gatehouse/identity';
import { status } from '@grpc/grpc-js';
import { expect, type TestContext, test } from 'vitest';
import { freePort } from './conformance/support/free-port.ts';
import { run } from './support/calls.ts';
import { type SpanReceiver, type SpanReceiverOptions, startSpanReceiver } from './support/span-receiver.ts';
import { clock, startTestMesh, type TestMesh } from './support/test-mesh.ts';

const SERVER_NAME = 'collector.example';
/** A port that nobody listens at. */
const NOBODY = 'http://127.0.0.1:1';
const HOUR_MS = 3_600_000;
const WAIT = { timeout: 40_000, interval: 100 };
const TEST_MS_MAX = 120_000;

// Most of the time goes into waiting for a queue to give up, so the tests wait together.

/** What one test opens; it is closed when the test has finished. */
async function openScene({ onTestFinished }: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'gh-otlp-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return {
    folder,
    collector: async (options: SpanReceiverOptions): Promise<SpanReceiver> => {
      const receiver = await startSpanReceiver(options);
      onTestFinished(() => receiver.close());
      return receiver;
    },
    mesh: async (telemetry: object, log: string[] = []): Promise<TestMesh> => {
      const started = await startTestMesh({ telemetry, logs: { write: (line) => log.push(line) } });
      onTestFinished(() => started.stop());
      return started;
    },
  };
}

function newAuthority(): Promise<Authority> {
  return createAuthority({ trustDomain: 'collectors.example', clock, validForMs: HOUR_MS });
}

/** What a collector of this authority shows, and whom it lets in. */
async function serverTls(authority: Authority): Promise<NonNullable<SpanReceiverOptions['tls']>> {
  const issued = await authority.issue({
    spiffeId: 'spiffe://collectors.example/collector',
    dnsNames: [SERVER_NAME],
    validForMs: HOUR_MS,
  });
  return { ca: authority.bundlePem, certificate: issued.certificatePem, key: issued.keyPem };
}

/** Writes what a client of that collector needs. @returns the files, as a configuration names them */
async function clientFiles(folder: string, authority: Authority, tenant: string): Promise<object> {
  const issued = await authority.issue({
    spiffeId: 'spiffe://collectors.example/sidecar',
    validForMs: HOUR_MS,
  });
  const file = (name: string): string => join(folder, name);
  // First, because an export with a header that is refused is not tried again, and one over TLS that fails is.
  await writeFile(file('headers'), `x-tenant: ${tenant}\n`);
  await Promise.all([
    writeFile(file('ca.pem'), authority.bundlePem),
    writeFile(file('tls.crt'), issued.certificatePem),
    writeFile(file('tls.key'), issued.keyPem),
  ]);
  return {
    otlpTls: {
      caFile: file('ca.pem'),
      certificateFile: file('tls.crt'),
      keyFile: file('tls.key'),
      serverName: SERVER_NAME,
    },
    otlpHeadersFile: file('headers'),
  };
}

/** A call with a trace of its own. @returns the trace's id */
async function tracedCall(of: TestMesh): Promise<string> {
  const traceId = randomBytes(16).toString('hex');
  const metadata = { traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-01` };
  expect((await run(of.client(), 'unary', [{ text: 'x' }], { metadata })).code).toBe(status.OK);
  return traceId;
}

function dropped(of: TestMesh): Promise<number> {
  return spans(of, 'dropped');
}

async function spans(of: TestMesh, result: 'dropped' | 'exported'): Promise<number> {
  const text = await of.metrics(of.egress);
  return Number(new RegExp(`^gatehouse_spans_total\\{result="${result}"\\} (\\d+)`, 'm').exec(text)?.[1]);
}

test.concurrent(
  'spans leave over TLS with a certificate and a header, and with the new ones once the files have changed',
  async (context) => {
    const { folder, collector, mesh } = await openScene(context);
    const [first, second] = [await newAuthority(), await newAuthority()];
    const port = await freePort();
    const before = await collector({ port, tls: await serverTls(first), header: ['x-tenant', 'one'] });
    const files = await clientFiles(folder, first, 'one');
    const traced = await mesh({ otlpEndpoint: before.endpoint, ...files });
    const traceId = await tracedCall(traced);
    expect(await before.received(traceId, 2)).toHaveLength(2);
    await expect.poll(() => spans(traced, 'exported'), WAIT).toBe(1);
    before.close();

    const after = await collector({ port, tls: await serverTls(second), header: ['x-tenant', 'two'] });
    const meanwhile = await tracedCall(traced);
    await clientFiles(folder, second, 'two');
    expect(await after.received(meanwhile, 2)).toHaveLength(2);
    expect(await dropped(traced)).toBe(0);
  },
  TEST_MS_MAX,
);

type Wrong = { readonly ca?: boolean; readonly tenant?: string; readonly missing?: boolean };

test.for<readonly [string, Wrong, RegExp]>([
  ['shows a certificate of another CA', { ca: true }, /certificate/],
  ['wants another header', { tenant: 'two' }, /UNAUTHENTICATED: no such tenant/],
  ['wants a certificate that is not there', { missing: true }, /tls\.crt cannot be used: ENOENT/],
])(
  'a collector that %s gets no span: calls go on, spans are counted as dropped, and the log says why once',
  { concurrent: true, timeout: TEST_MS_MAX },
  async ([_what, wrong, reason], context) => {
    const { folder, collector, mesh } = await openScene(context);
    const authority = await newAuthority();
    const receiver = await collector({ tls: await serverTls(authority), header: ['x-tenant', 'one'] });
    const files = await clientFiles(folder, authority, wrong.tenant ?? 'one');
    if (wrong.ca) await writeFile(join(folder, 'ca.pem'), (await newAuthority()).bundlePem);
    if (wrong.missing) await rm(join(folder, 'tls.crt'));
    const log: string[] = [];
    const traced = await mesh({ otlpEndpoint: receiver.endpoint, ...files }, log);
    await tracedCall(traced);
    await expect.poll(() => dropped(traced), WAIT).toBe(1);
    await tracedCall(traced);
    expect(receiver.spans).toEqual([]);
    const said = log.filter((line) => line.includes('spans could not be exported'));
    expect(said).toHaveLength(2);
    for (const line of said) expect(line).toMatch(reason);
  },
);

test.concurrent(
  'a collector that comes late, goes and comes back slows no call, and what waited for it arrives',
  async (context) => {
    const { collector, mesh } = await openScene(context);
    const port = await freePort();
    const alone = await mesh({ otlpEndpoint: `http://127.0.0.1:${port}` });
    const seen = await mesh({ otlpEndpoint: (await collector({})).endpoint });
    const [without, withCollector] = await callTimesMs(alone, seen);
    expect(without).toBeLessThan(2 * withCollector + 2);

    const early = await tracedCall(alone);
    const first = await collector({ port });
    expect(await first.received(early, 2)).toHaveLength(2);
    first.close();
    const between = await tracedCall(alone);
    const second = await collector({ port });
    expect(await second.received(between, 2)).toHaveLength(2);
    expect(await second.received(await tracedCall(alone), 2)).toHaveLength(2);
  },
  TEST_MS_MAX,
);

test.concurrent(
  'while the collector is away what waits for it is bounded: the rest is dropped and counted, and no call fails',
  async (context) => {
    const { mesh } = await openScene(context);
    const away = await mesh({ otlpEndpoint: NOBODY });
    const client = away.client();
    const calls = QUEUE_SPANS_MAX + BATCH_SPANS_MAX + 200;
    for (let made = 0; made < calls; made += 100) {
      const ended = await Promise.all(
        Array.from({ length: 100 }, () => run(client, 'unary', [{ text: 'x' }])),
      );
      expect(ended.filter(({ code }) => code !== status.OK)).toEqual([]);
    }
    expect(await dropped(away)).toBeGreaterThanOrEqual(calls - QUEUE_SPANS_MAX - BATCH_SPANS_MAX);
  },
  TEST_MS_MAX,
);

/** What may wait in a process, and what may be on its way. */
const QUEUE_SPANS_MAX = 2048;
const BATCH_SPANS_MAX = 512;
const COMPARED_CALLS = 200;

/** Medians of calls that are made in turns, so that both see the same machine. */
async function callTimesMs(...meshes: readonly TestMesh[]): Promise<readonly [number, number]> {
  const of = meshes.map((each) => ({ client: each.client(), tookMs: [] as number[] }));
  for (let made = 0; made < COMPARED_CALLS; made++) {
    for (const { client, tookMs } of of) {
      const beganMs = performance.now();
      expect((await run(client, 'unary', [{ text: 'x' }])).code).toBe(status.OK);
      tookMs.push(performance.now() - beganMs);
    }
  }
  const median = (list: number[]): number => list.sort((a, b) => a - b)[list.length / 2] ?? Number.NaN;
  return [median(of[0]?.tookMs ?? []), median(of[1]?.tookMs ?? [])];
}
