import { createSpanRecorder, type FinishedSpan } from '@gatehouse/telemetry/span-recorder';
import { createIdSource } from '@gatehouse/telemetry/trace-context';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { receiveTraces, type TraceReceiver } from './otlp-receiver.ts';

const ids = createIdSource();
let receiver: TraceReceiver;

beforeEach(async () => {
  receiver = await receiveTraces({ tracesMax: 2 });
});

afterEach(() => receiver.close());

function span(traceId: string, changes: Partial<FinishedSpan> = {}): FinishedSpan {
  return {
    name: 'p.S/Echo',
    kind: 'server',
    traceId,
    spanId: ids.spanId(),
    startTimeMs: 1_700_000_000_000.25,
    endTimeMs: 1_700_000_000_012.5,
    attributes: {},
    ...changes,
  };
}

async function send(...spans: FinishedSpan[]): Promise<void> {
  const recorder = await createSpanRecorder({ serviceName: 'relay', otlpEndpoint: receiver.endpoint });
  for (const each of spans) recorder.record(each);
  await recorder.shutdown();
}

const anything = { isComplete: (spans: readonly unknown[]) => spans.length > 0, quietMs: 1, waitMsMax: 5000 };

describe('receiveTraces', () => {
  it('gives spans as the recorder was given them', async () => {
    const traceId = ids.traceId();
    const parentSpanId = ids.spanId();
    const linked = { traceId: ids.traceId(), spanId: ids.spanId() };
    const sent = span(traceId, {
      kind: 'client',
      parentSpanId,
      parentIsRemote: true,
      attributes: { text: 'a', whole: 7, part: 0.5, yes: true, list: ['a', 'b'] },
      events: [{ name: 'gatehouse.retry', timeMs: 1_700_000_000_001 }],
      links: [linked],
      status: 'error',
    });
    await send(sent);
    expect(await receiver.collect(traceId, anything)).toEqual([
      {
        traceId,
        spanId: sent.spanId,
        parentSpanId,
        service: 'relay',
        name: 'p.S/Echo',
        kind: 'client',
        startTimeMs: 1_700_000_000_000.25,
        endTimeMs: 1_700_000_000_012.5,
        attributes: { text: 'a', whole: 7, part: 0.5, yes: true, list: ['a', 'b'] },
        events: [{ name: 'gatehouse.retry', timeMs: 1_700_000_000_001, attributes: {} }],
        links: [linked],
        status: 'error',
      },
    ]);
  });

  it('waits for spans of one trace that arrive in several exports', async () => {
    const traceId = ids.traceId();
    const collected = receiver.collect(traceId, {
      isComplete: (spans) => spans.length === 2,
      quietMs: 1,
      waitMsMax: 10_000,
    });
    await send(span(traceId));
    await send(span(ids.traceId()), span(traceId));
    expect((await collected).length).toBe(2);
  });

  it('gives what has arrived when a trace never becomes complete', async () => {
    const traceId = ids.traceId();
    await send(span(traceId));
    const until = { isComplete: () => false, quietMs: 1, waitMsMax: 50 };
    expect((await receiver.collect(traceId, until)).length).toBe(1);
  });

  it('forgets the oldest trace when it holds as many as it may', async () => {
    const [first, second, third] = [ids.traceId(), ids.traceId(), ids.traceId()];
    await send(span(first), span(second), span(third));
    const until = { isComplete: () => true, quietMs: 1, waitMsMax: 50 };
    expect(await receiver.collect(first, until)).toEqual([]);
    expect((await receiver.collect(third, until)).length).toBe(1);
  });
});
