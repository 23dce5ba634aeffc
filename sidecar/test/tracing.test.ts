import { randomBytes } from 'node:crypto';
import { Metadata, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listDecisions } from './support/admin.ts';
import { type EchoClientType, type Ended, run } from './support/calls.ts';
import { type ReceivedSpan, type SpanReceiver, startSpanReceiver } from './support/span-receiver.ts';
import { spiffe, startTestMesh, type TestMesh } from './support/test-mesh.ts';

const UNARY = 'testing.echo.v1.EchoService/Unary';
const CLIENT = '3';
const SERVER = '2';
/** Calls after which a breaker is open whatever its window. */
const CALLS_MAX = 100;

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

// Spans are exported once a second: tests that leave the circuit alone are concurrent and wait for theirs together.

/** What a caller that traces sends. */
function traceparent(flags: '00' | '01') {
  const traceId = randomBytes(16).toString('hex');
  const spanId = randomBytes(8).toString('hex');
  return { traceId, spanId, metadata: { traceparent: `00-${traceId}-${spanId}-${flags}` } };
}

/** The `traceparent` that the app was called with, in its parts. */
function seenByApp({ answers }: Ended): { traceId: string; spanId: string; flags: number } {
  const header =
    answers[0]?.metadata.find((each) => each.startsWith('traceparent='))?.slice('traceparent='.length) ?? '';
  const [, traceId = '', spanId = '', flags = ''] = header.split('-');
  return { traceId, spanId, flags: Number.parseInt(flags, 16) };
}

async function spansOf(traceId: string): Promise<{ egress: ReceivedSpan; inbound: ReceivedSpan }> {
  const spans = await receiver.received(traceId, 2);
  expect(spans).toHaveLength(2);
  const egress = spans.find(({ service }) => service === 'caller-sidecar');
  const inbound = spans.find(({ service }) => service === 'callee-sidecar');
  if (!egress || !inbound) throw new Error(`spans of ${spans.map(({ service }) => service).join()}`);
  return { egress, inbound };
}

/** Spans leave in the order in which calls end, so what ended before this and is not there was never recorded. */
async function untilLaterSpansArrived(): Promise<void> {
  const { traceId, metadata } = traceparent('01');
  await run(mesh.client(), 'unary', [{}], { metadata });
  await receiver.received(traceId, 2);
}

test.concurrent('the trace of a caller that samples goes on: caller → egress → inbound → app', async () => {
  const caller = traceparent('01');
  const ended = await run(mesh.client(), 'unary', [{ text: 'x' }], { metadata: caller.metadata });
  const { egress, inbound } = await spansOf(caller.traceId);
  expect(egress).toMatchObject({ kind: CLIENT, name: UNARY, parentSpanId: caller.spanId });
  expect(inbound).toMatchObject({ kind: SERVER, name: UNARY, parentSpanId: egress.spanId });
  expect(seenByApp(ended)).toMatchObject({ traceId: caller.traceId, spanId: inbound.spanId });
  expect(seenByApp(ended).flags & 1).toBe(1);
  expect(inbound.durationMs).toBeLessThanOrEqual(egress.durationMs);
});

test.concurrent('without a caller’s context a trace begins at the egress', async () => {
  const seen = seenByApp(await run(mesh.client(), 'unary', [{ text: 'x' }]));
  const { egress, inbound } = await spansOf(seen.traceId);
  expect(egress.parentSpanId).toBe('');
  expect(inbound.parentSpanId).toBe(egress.spanId);
  expect(seen.spanId).toBe(inbound.spanId);
});

test.concurrent('a malformed context is none: a trace of its own begins', async () => {
  const metadata = { traceparent: `00-${'0'.repeat(32)}-${'1'.repeat(16)}-01` };
  const seen = seenByApp(await run(mesh.client(), 'unary', [{}], { metadata }));
  expect(seen.traceId).not.toBe('0'.repeat(32));
  expect((await spansOf(seen.traceId)).egress.parentSpanId).toBe('');
});

test.concurrent('a caller that does not sample leaves no span, and its context reaches the app unsampled', async () => {
  const caller = traceparent('00');
  const seen = seenByApp(await run(mesh.client(), 'unary', [{}], { metadata: caller.metadata }));
  expect(seen).toMatchObject({ traceId: caller.traceId, spanId: caller.spanId });
  expect(seen.flags & 1).toBe(0);
  await untilLaterSpansArrived();
  expect(receiver.spans.filter(({ traceId }) => traceId === caller.traceId)).toEqual([]);
});

test.concurrent('a trace that begins here and falls out of the sample leaves no span, and is not sampled further on either', async () => {
  const quiet = await startTestMesh({ otlpEndpoint: receiver.endpoint, sampleRatio: 0 });
  try {
    const seen = seenByApp(await run(quiet.client(), 'unary', [{}]));
    expect(seen.traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(seen.flags & 1).toBe(0);
    const { traceId, metadata } = traceparent('01');
    await run(quiet.client(), 'unary', [{}], { metadata });
    await spansOf(traceId);
    expect(receiver.spans.filter((span) => span.traceId === seen.traceId)).toEqual([]);
  } finally {
    await quiet.stop();
  }
});

describe('attributes', () => {
  test.concurrent('say on both sides who called what, where it went and how it ended', async () => {
    const { traceId, metadata } = traceparent('01');
    await run(mesh.client(), 'unary', [{ text: 'x', model: 'small-1' }], { metadata });
    const { egress, inbound } = await spansOf(traceId);
    const common = { 'rpc.system.name': 'grpc', 'rpc.method': UNARY, 'rpc.status_code': 'OK' };
    expect(egress.attributes).toEqual({
      ...common,
      'gatehouse.direction': 'egress',
      'gatehouse.caller.identity': spiffe('caller'),
      'gatehouse.upstream.name': 'echo',
      'gatehouse.upstream.endpoint': mesh.inbound.inboundAddress,
      'gatehouse.breaker.state': 'closed',
      'gatehouse.retry.number': 0,
    });
    const [decision] = (await listDecisions(mesh.inbound)).filter((each) => each.traceId === traceId);
    expect(inbound.attributes).toEqual({
      ...common,
      'gatehouse.direction': 'inbound',
      'gatehouse.caller.identity': spiffe('caller'),
      'gatehouse.policy.decision': 'allow',
      'gatehouse.policy.rule': 'caller-may-echo',
      'gatehouse.policy.version': decision?.policyVersion,
      'gatehouse.policy.decision_id': decision?.decisionId,
    });
  });

  test.concurrent('carry the model where policy read it, and nothing of what was said', async () => {
    const { traceId, metadata } = traceparent('01');
    const request = { text: 'secret words', payload: Buffer.from('secret bytes'), model: 'small-1' };
    await run(await mesh.clientAs('picky'), 'unary', [request], { metadata });
    const [span] = await receiver.received(traceId, 1);
    expect(span?.attributes).toMatchObject({ 'gen_ai.request.model': 'small-1' });
    expect(JSON.stringify(receiver.spans)).not.toContain('secret');
  });

  test.concurrent('of a denial: the decision under the id that the caller and the decision list have, and no error', async () => {
    const { traceId, metadata } = traceparent('01');
    const ended = await run(await mesh.clientAs('stranger'), 'unary', [{}], { metadata });
    expect(ended.code).toBe(status.PERMISSION_DENIED);
    const details = ended.details.errorInfo?.metadata ?? {};
    const [span] = await receiver.received(traceId, 1);
    expect(span).toMatchObject({ isError: false, attributes: { 'rpc.status_code': 'PERMISSION_DENIED' } });
    expect(span?.attributes).not.toHaveProperty('error.type');
    expect(span?.attributes).toMatchObject({
      'gatehouse.policy.decision': 'deny',
      'gatehouse.policy.rule': '',
      'gatehouse.policy.decision_id': details['decision_id'],
      'gatehouse.refusal.reason': 'NO_MATCHING_RULE',
    });
    expect(details['trace_id']).toBe(traceId);
    const listed = (await listDecisions(mesh.inbound, { refusedOnly: true })).find(
      (each) => each.traceId === traceId,
    );
    expect(listed?.decisionId).toBe(details['decision_id']);
  });

  test('of a failure of the app: an error on both sides, with the status as its type', async () => {
    const { traceId, metadata } = traceparent('01');
    await run(mesh.client(), 'unary', [{ failCode: status.INTERNAL }], { metadata });
    const { egress, inbound } = await spansOf(traceId);
    for (const span of [egress, inbound])
      expect(span).toMatchObject({ isError: true, attributes: { 'error.type': 'INTERNAL' } });
  });

  test.concurrent('of a method that no contract has: a name that bounds the names there are', async () => {
    const { traceId, metadata } = traceparent('01');
    const client = mesh.client();
    await new Promise<void>((resolve) => {
      client.makeUnaryRequest(
        '/nobody.Knows/This',
        () => Buffer.alloc(0),
        () => null,
        {},
        Metadata.fromHttp2Headers(metadata),
        () => resolve(),
      );
    });
    const [span] = await receiver.received(traceId, 1);
    expect(span).toMatchObject({
      name: '_OTHER',
      attributes: { 'rpc.method': '_OTHER', 'rpc.status_code': 'UNIMPLEMENTED' },
    });
  });
});

test('a call that is tried again has an event for each further try, and a span below its own for every try with a link to the one before', async () => {
  const { traceId, metadata } = traceparent('01');
  await run(mesh.client(), 'repeatable', [{ failCode: status.UNAVAILABLE }], { metadata });
  const spans = await receiver.received(traceId, 7);
  const [egress, ...tries] = spans.filter(({ service }) => service === 'caller-sidecar');
  const endpoint = mesh.inbound.inboundAddress;
  expect(egress?.events.filter(({ name }) => name === 'gatehouse.retry')).toEqual(
    [2, 3].map((attempt) => ({
      name: 'gatehouse.retry',
      attributes: { attempt, reason: 'UNAVAILABLE', endpoint },
    })),
  );
  expect(egress?.attributes['gatehouse.retry.number']).toBe(2);
  expect(tries).toHaveLength(3);
  for (const [number, span] of tries.entries()) {
    const before = tries[number - 1];
    expect(span).toMatchObject({
      kind: CLIENT,
      name: 'testing.echo.v1.EchoService/Repeatable',
      parentSpanId: egress?.spanId,
      links: before === undefined ? [] : [{ traceId, spanId: before.spanId }],
      isError: true,
      attributes: {
        'error.type': 'UNAVAILABLE',
        'gatehouse.upstream.endpoint': endpoint,
        'gatehouse.retry.number': number,
      },
    });
  }
  const served = spans.filter(({ service }) => service === 'callee-sidecar');
  expect(served.map(({ parentSpanId }) => parentSpanId)).toEqual(
    [egress, tries[1], tries[2]].map((span) => span?.spanId),
  );
});

test('the call that opens a breaker says so on its span', async () => {
  const broken = await startTestMesh({ otlpEndpoint: receiver.endpoint });
  try {
    const client = broken.client();
    const traceIds: string[] = [];
    let isOpen = false;
    while (!isOpen && traceIds.length < CALLS_MAX) {
      const { traceId, metadata } = traceparent('01');
      traceIds.push(traceId);
      const ended = await run(client, 'unary', [{ failCode: status.UNAVAILABLE }], { metadata });
      isOpen = ended.details.errorInfo?.reason === 'CIRCUIT_OPEN';
    }
    await receiver.received(traceIds.at(-1) ?? '', 1);
    const states = receiver.spans
      .filter(({ traceId }) => traceIds.includes(traceId))
      .flatMap(({ events }) => events.filter(({ name }) => name === 'gatehouse.breaker.state_changed'));
    expect(states).toEqual([
      {
        name: 'gatehouse.breaker.state_changed',
        attributes: { from: 'closed', to: 'open', endpoint: broken.inbound.inboundAddress },
      },
    ]);
  } finally {
    await broken.stop();
  }
});

test('whatever refuses a call, the refusal and one log line have the id of its trace, sampled or not', async () => {
  const lines: string[] = [];
  const refusing = await startTestMesh({
    otlpEndpoint: receiver.endpoint,
    logs: { write: (line) => lines.push(line) },
  });
  try {
    const ask = async (client: EchoClientType, flags: '00' | '01', request: object) => {
      const { traceId, metadata } = traceparent(flags);
      const { details } = await run(client, 'unary', [request], { metadata });
      return { traceId, reason: details.errorInfo?.reason, told: details.errorInfo?.metadata?.['trace_id'] };
    };
    const refusals = [
      await ask(await refusing.clientAs('stranger'), '01', {}),
      await ask(await refusing.clientAs('stranger'), '00', {}),
      await ask(await refusing.clientAs('picky'), '01', { model: 'large-1' }),
      await ask(refusing.client({ 'grpc.default_authority': 'nobody' }), '01', {}),
    ];
    expect(refusals.map(({ reason }) => reason)).toEqual([
      'NO_MATCHING_RULE',
      'NO_MATCHING_RULE',
      'MODEL_NOT_ALLOWED',
      'UNKNOWN_UPSTREAM',
    ]);
    for (const { traceId, reason, told } of refusals) {
      expect(told).toBe(traceId);
      const about = lines
        .map((line) => JSON.parse(line) as { readonly traceId?: string })
        .filter((line) => line.traceId === traceId);
      expect(about).toEqual([expect.objectContaining({ msg: 'call', reason })]);
    }
  } finally {
    await refusing.stop();
  }
});
