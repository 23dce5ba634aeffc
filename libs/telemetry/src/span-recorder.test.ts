import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type RawCollector, startRawCollector } from '../test/raw-collector.ts';
import { createSpanRecorder, type FinishedSpan } from './span-recorder.ts';
import { createIdSource } from './trace-context.ts';

const ids = createIdSource();
const opened: RawCollector[] = [];

afterEach(() => {
  for (const collector of opened.splice(0)) collector.close();
});

function span(name: string): FinishedSpan {
  return {
    name,
    kind: 'server',
    traceId: ids.traceId(),
    spanId: ids.spanId(),
    startTimeMs: 1_700_000_000_000,
    endTimeMs: 1_700_000_000_012.5,
    attributes: { 'rpc.method': 'p.S/Echo' },
  };
}

describe('createSpanRecorder', () => {
  it('sends spans under the ids, the name and the service that it was given', async () => {
    const collector = await startRawCollector();
    opened.push(collector);
    const recorder = await createSpanRecorder({
      serviceName: 'relay',
      otlpEndpoint: collector.endpoint,
      batchDelayMsMax: 10,
    });
    const sent = span('p.S/Echo');
    recorder.record(sent);
    await collector.received(
      'relay',
      'p.S/Echo',
      Buffer.from(sent.traceId, 'hex'),
      Buffer.from(sent.spanId, 'hex'),
    );
    await recorder.shutdown();
    expect(recorder.totals).toEqual({ recorded: 1, exported: 1, dropped: 0 });
  });

  it('sends what waits when it is shut down, in batches no larger than its limit', async () => {
    const collector = await startRawCollector();
    opened.push(collector);
    const recorder = await createSpanRecorder({
      serviceName: 'relay',
      otlpEndpoint: collector.endpoint,
      batchSpansMax: 4,
      batchDelayMsMax: 60_000,
    });
    for (let made = 0; made < 10; made += 1) recorder.record(span(`span-${made}`));
    await recorder.shutdown();
    await collector.received('span-0', 'span-9');
    expect(collector.exports.length).toBe(3);
    expect(recorder.totals).toEqual({ recorded: 10, exported: 10, dropped: 0 });
  });

  it('counts every span as dropped while the collector is away, reports that once and keeps taking spans', async () => {
    const collector = await startRawCollector();
    collector.close();
    const failures: Error[] = [];
    const recorder = await createSpanRecorder({
      serviceName: 'relay',
      otlpEndpoint: collector.endpoint,
      queueSpansMax: 8,
      batchSpansMax: 4,
      batchDelayMsMax: 60_000,
      onExportFailure: (error) => failures.push(error),
    });
    for (let made = 0; made < 100; made += 1) recorder.record(span('lost'));
    expect(recorder.totals.dropped).toBeGreaterThanOrEqual(88);
    await recorder.shutdown();
    recorder.record(span('too late'));
    expect(recorder.totals).toEqual({ recorded: 101, exported: 0, dropped: 101 });
    expect(failures.length).toBe(1);
  });

  it('does not let a collector that never answers hold up the end of a process', async () => {
    const silent = createServer();
    await once(silent.listen(0, '127.0.0.1'), 'listening');
    const recorder = await createSpanRecorder({
      serviceName: 'relay',
      otlpEndpoint: `http://127.0.0.1:${(silent.address() as AddressInfo).port}`,
      batchSpansMax: 1,
      shutdownMsMax: 50,
    });
    try {
      for (let made = 0; made < 3; made += 1) recorder.record(span('unheard'));
      const startedMs = performance.now();
      await recorder.shutdown();
      expect(performance.now() - startedMs).toBeLessThan(5000);
      expect(recorder.totals).toMatchObject({ recorded: 3, exported: 0 });
    } finally {
      silent.close();
    }
  });

  it('ignores every span without a collector', async () => {
    const recorder = await createSpanRecorder({ serviceName: 'relay' });
    recorder.record(span('nowhere'));
    expect(recorder.enabled).toBe(false);
    expect(recorder.totals.recorded).toBe(0);
    await recorder.shutdown();
  });
});
