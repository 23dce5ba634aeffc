import { afterEach, expect, it } from 'vitest';
import { type RawCollector, startRawCollector } from '../test/raw-collector.ts';
import { createLogRecorder, type LogEvent } from './log-recorder.ts';

const opened: RawCollector[] = [];
afterEach(() => {
  for (const collector of opened.splice(0)) collector.close();
});

function event(name: string): LogEvent {
  return {
    name,
    timeMs: 1_700_000_000_000,
    body: { decision: 'd-1', tokens: 12, limits: ['per-tenant'] },
    attributes: { 'gatehouse.audit.sequence': 7 },
    traceId: '0af7651916cd43dd8448eb211c80319c',
  };
}

it('sends events with name, body, attributes and trace to the logs service', async () => {
  const collector = await startRawCollector('logs.v1.LogsService');
  opened.push(collector);
  const recorder = await createLogRecorder({
    serviceName: 'relay',
    otlpEndpoint: collector.endpoint,
    batchDelayMsMax: 10,
  });
  recorder.record(event('gatehouse.audit.record'));
  await collector.received(
    'relay',
    'gatehouse.audit.record',
    'per-tenant',
    'gatehouse.audit.sequence',
    Buffer.from('0af7651916cd43dd8448eb211c80319c', 'hex'),
  );
  await recorder.shutdown();
  expect(recorder.totals).toEqual({ recorded: 1, exported: 1, dropped: 0 });
});

it('drops and counts what a full queue cannot take, and what no collector takes', async () => {
  const failures: Error[] = [];
  const recorder = await createLogRecorder({
    serviceName: 'relay',
    otlpEndpoint: 'http://127.0.0.1:1',
    queueEventsMax: 4,
    batchDelayMsMax: 10,
    onExportFailure: (error) => failures.push(error),
  });
  for (let i = 0; i < 10; i++) recorder.record(event(`event-${i}`));
  expect(recorder.totals).toEqual({ recorded: 10, exported: 0, dropped: 6 });
  await recorder.shutdown();
  expect(recorder.totals).toEqual({ recorded: 10, exported: 0, dropped: 10 });
});

it('loads nothing and ignores events without a collector', async () => {
  const recorder = await createLogRecorder({ serviceName: 'relay' });
  recorder.record(event('ignored'));
  expect(recorder).toMatchObject({ enabled: false, totals: { recorded: 0 } });
  await recorder.shutdown();
});
