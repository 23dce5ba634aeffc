/** From a bucket of a latency histogram to the trace of a call in it, as a real Prometheus keeps it. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { DURATION_BUCKETS } from '../src/path/duration-histogram.ts';
import { run } from './support/calls.ts';
import { ensurePrometheus, type Prometheus, startPrometheus } from './support/prometheus.ts';
import { readMetrics } from './support/read-metrics.ts';
import { type SpanReceiver, startSpanReceiver } from './support/span-receiver.ts';
import { startTestMesh, type TestMesh } from './support/test-mesh.ts';

const SCRAPED_MS_MAX = 30_000;
const OPEN_METRICS = 'application/openmetrics-text';
/** What Prometheus 2 asks for. */
const ACCEPT = `${OPEN_METRICS};version=1.0.0,${OPEN_METRICS};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1`;
const program = await ensurePrometheus();

let receiver: SpanReceiver;
let mesh: TestMesh;
beforeAll(async () => {
  receiver = await startSpanReceiver();
  mesh = await startTestMesh({ otlpEndpoint: receiver.endpoint });
});
afterAll(async () => {
  await mesh.stop();
  receiver.close();
});

/** Makes a call within a trace of the caller's. @returns the trace's id */
async function call(flags: '00' | '01'): Promise<string> {
  const traceId = randomBytes(16).toString('hex');
  const metadata = { traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-${flags}` };
  await run(mesh.client(), 'unary', [{}], { metadata });
  return traceId;
}

const read = async (accept?: string): Promise<Response> =>
  fetch(
    `http://${mesh.inbound.telemetryAddress}/metrics`,
    accept === undefined ? {} : { headers: { accept } },
  );

test('whoever can read OpenMetrics gets it, with the traces of sampled calls alone; others get what they know', async () => {
  const unsampled = await call('00');
  const sampled = await call('01');
  const open = await read(ACCEPT);
  expect(open.headers.get('content-type')).toContain(OPEN_METRICS);
  const text = await open.text();
  expect(text).toMatch(
    new RegExp(
      `^rpc_server_call_duration_seconds_bucket\\{.*le="[^"]+"\\} \\d+ # \\{trace_id="${sampled}"\\} [\\d.e-]+ [\\d.]+$`,
      'm',
    ),
  );
  expect(text).not.toContain(unsampled);
  expect(text.endsWith('# EOF\n')).toBe(true);

  for (const accept of [undefined, '*/*', 'text/plain;version=0.0.4']) {
    const plain = await read(accept);
    expect(plain.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    // Strict: an exemplar would be an error. The names are the same as before somebody asked for the other format.
    const metrics = readMetrics(await plain.text());
    expect(metrics.value('gatehouse_calls_started_total', { direction: 'inbound' })).toBeGreaterThan(1);
  }
});

test('however many calls are sampled, a histogram keeps one trace a bucket', async () => {
  for (let calls = 0; calls < 30; calls++) await call('01');
  const text = await (await read(ACCEPT)).text();
  const marked = text.split('\n').filter((line) => line.includes('trace_id'));
  expect(marked.length).toBeGreaterThan(0);
  // One method with one status, which has so many buckets.
  expect(marked.length).toBeLessThanOrEqual(DURATION_BUCKETS.length + 1);
});

describe.skipIf(program === null)('Prometheus', () => {
  let prometheus: Prometheus;
  beforeAll(async () => {
    prometheus = await startPrometheus(program ?? '', { 'gatehouse-echo': mesh.inbound.telemetryAddress });
  }, 30_000);
  afterAll(() => prometheus.stop());

  test('stores exemplars from which the trace is found at the collector', async () => {
    const traceId = await call('01');
    await vi.waitFor(
      async () => {
        const found = await prometheus.exemplars(
          'rpc_server_call_duration_seconds_bucket{job="gatehouse-echo"}',
        );
        expect(found.map(({ labels }) => labels['trace_id'])).toContain(traceId);
        const kept = found.find(({ labels }) => labels['trace_id'] === traceId);
        expect(Math.abs((kept?.timestamp ?? 0) - Date.now() / 1000)).toBeLessThan(60);
      },
      { timeout: SCRAPED_MS_MAX, interval: 250 },
    );
    const [span] = await receiver.received(traceId, 2);
    expect(span?.attributes['rpc.method']).toBe('testing.echo.v1.EchoService/Unary');
  }, 60_000);
});
