import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { listDecisions } from './support/admin.ts';
import { run, startCall } from './support/calls.ts';
import { type RawApp, startRawApp } from './support/raw-app.ts';
import {
  echoMessage,
  openRawCaller,
  type RawAnswer,
  type RawCaller,
  readEcho,
  sendRaw,
  UNARY,
} from './support/raw-caller.ts';
import { readMetrics } from './support/read-metrics.ts';
import { spiffe, startTestMesh, type TestMesh } from './support/test-mesh.ts';

let mesh: TestMesh;
let caller: RawCaller;
beforeAll(async () => {
  mesh = await startTestMesh();
});
afterAll(async () => {
  await mesh.stop();
});
beforeEach(async () => {
  caller = await openRawCaller(mesh);
});
afterEach(async () => {
  // Whatever it was told, the connection and the sidecar serve on.
  expect(statusOf(await caller.call())).toBe('OK');
  caller.close();
});

function statusOf({ fields }: RawAnswer): string | undefined {
  return status[Number(fields['grpc-status'])];
}

function metadataOf(answer: RawAnswer): Record<string, string> {
  return Object.fromEntries(
    readEcho(answer).metadata.map((each) => each.split(/=(.*)/s).slice(0, 2) as [string, string]),
  );
}

describe('paths', () => {
  test.each([
    ['two slashes', `/${UNARY}`],
    ['a slash at the end', `${UNARY}/`],
    ['upper case', UNARY.toUpperCase()],
    ['lower case', UNARY.toLowerCase()],
    ['a percent-encoded letter', UNARY.replace('Unary', '%55nary')],
    ['a percent-encoded slash', UNARY.replace('/Unary', '%2FUnary')],
    ['a dot segment', UNARY.replace('/Unary', '/./Unary')],
    ['a parent segment', `/x/..${UNARY}`],
    ['a query', `${UNARY}?x=1`],
    ['a fragment', `${UNARY}#x`],
    ['a space', `${UNARY} `],
    ['a name of the object prototype', '/constructor'],
    ['no service', '/Unary'],
    ['no slash', 'Unary'],
  ])('with %s are no method, before policy is asked', async (_what, path) => {
    const before = await listDecisions(mesh.inbound, { limit: 1 });
    const answer = await caller.call({ ':path': path });
    if (answer.resetCode === 0) {
      expect(statusOf(answer)).toBe('UNIMPLEMENTED');
      expect(answer.details.errorInfo).toMatchObject({ reason: 'UNKNOWN_METHOD' });
      expect(answer.details.errorInfo?.metadata).not.toHaveProperty('decision_id');
    } else {
      // RFC 9113 §8.3.1: such a path is no path.
      expect(answer.resetCode).toBe(1);
    }
    expect(await listDecisions(mesh.inbound, { limit: 1 })).toEqual(before);
  });
});

describe('heads', () => {
  test.each(['GET', 'PUT', 'OPTIONS', 'post'])('with the method %s are answered with 405', async (method) => {
    const answer = await caller.call({ ':method': method });
    expect([answer.fields[':status'], answer.fields['grpc-status']]).toEqual([405, undefined]);
  });

  test.each(['application/json', 'application/grpcx', 'application/grpc-web', 'text/plain', ''])(
    'with the content type %j are answered with 415',
    async (type) => {
      const answer = await caller.call({ 'content-type': type });
      expect([answer.fields[':status'], answer.fields['grpc-status']]).toEqual([415, undefined]);
    },
  );

  test.each(['application/grpc+proto', 'application/grpc;charset=utf-8'])(
    'may have the content type %s',
    async (type) => {
      expect(statusOf(await caller.call({ 'content-type': type }))).toBe('OK');
    },
  );

  test.each(['', '5', '5s', '-5S', '5.5S', '123456789m', 'S5'])(
    'with the grpc-timeout %j are refused by its name',
    async (timeout) => {
      const answer = await caller.call({ 'grpc-timeout': timeout });
      expect(statusOf(answer)).toBe('INVALID_ARGUMENT');
      expect(answer.details.badRequest).toMatchObject([{ field: 'grpc-timeout' }]);
    },
  );

  test('larger than the header list may be lose their stream, and no more', async () => {
    const answer = await caller.call({ 'x-large': 'x'.repeat(40_000) });
    expect(answer.fields['grpc-status']).not.toBe('0');
    expect(caller.session.destroyed).toBe(false);
  });

  test('that claim to come from somebody else lose the claim', async () => {
    const claim = `By=x;Hash=y;URI=${spiffe('admin')}`;
    const seen = metadataOf(await caller.call({ 'x-forwarded-client-cert': claim }));
    expect(seen['x-forwarded-client-cert']).toMatch(
      new RegExp(`^By=${spiffe('callee')};Hash=[0-9a-f]{64};URI=${spiffe('caller')}$`),
    );
    const throughEgress = await run(mesh.client(), 'unary', [{}], {
      metadata: { 'x-forwarded-client-cert': claim },
    });
    expect(throughEgress.answers[0]?.metadata.join()).not.toContain(spiffe('admin'));
  });
});

describe('deadlines', () => {
  let app: RawApp;
  let bare: TestMesh;
  beforeAll(async () => {
    app = await startRawApp();
    bare = await startTestMesh({ app: app.address });
  });
  afterAll(async () => {
    await bare.stop();
    app.stop();
  });

  /** What the app is told of the time left, in milliseconds. */
  const toldMs = async (fields: Record<string, string>): Promise<number> => {
    const straight = await openRawCaller(bare);
    await straight.call(fields);
    straight.close();
    const told = String(app.heads.at(-1)?.['grpc-timeout']);
    expect(told).toMatch(/^\d+m$/);
    return Number.parseInt(told, 10);
  };

  test('reach the app no longer than they were, and not much shorter', async () => {
    const told = await toldMs({ 'grpc-timeout': '5S' });
    expect(told).toBeLessThanOrEqual(5_000);
    expect(told).toBeGreaterThan(4_000);
  });

  test('shrink by the time that the first message took to come', async () => {
    const picky = await bare.clientAs('picky');
    const call = startCall(picky, 'bidi', [], { timeoutMs: 5_000, keepOpen: true });
    const waitedMs = 300;
    const startedAtMs = performance.now();
    await vi.waitUntil(() => performance.now() - startedAtMs > waitedMs, { interval: 20 });
    call.send({ model: 'small-1' });
    await call.ended;
    expect(Number.parseInt(String(app.heads.at(-1)?.['grpc-timeout']), 10)).toBeLessThanOrEqual(
      5_000 - waitedMs,
    );
  });

  test('are capped by the contract, and set by it where the caller sets none', async () => {
    const capped = await toldMs({ 'grpc-timeout': '99999999H' });
    expect(capped).toBeLessThanOrEqual(60_000);
    expect(capped).toBeGreaterThan(55_000);
    const byDefault = await toldMs({});
    expect(byDefault).toBeLessThanOrEqual(10_000);
    expect(byDefault).toBeGreaterThan(5_000);
  });

  test('that are over when the call comes end it at once', async () => {
    const answer = await caller.call({ 'grpc-timeout': '0m' }, [echoMessage({ delayMs: 5_000 })]);
    expect(statusOf(answer)).toBe('DEADLINE_EXCEEDED');
  });
});

describe('messages', () => {
  const hello = echoMessage({ text: 'x', delayMs: 2_000 });

  test('of a unary call are one: a second is refused, in the same piece or a later one', async () => {
    for (const pieces of [[Buffer.concat([hello, hello])], [hello, hello], [hello, hello.subarray(0, 5)]]) {
      const answer = await caller.call({}, pieces);
      expect(statusOf(answer)).toBe('INVALID_ARGUMENT');
      expect(answer.details.badRequest).toMatchObject([{ field: 'message' }]);
    }
  });

  test('that stop in their middle are refused, and the app does not take them for whole', async () => {
    const endedBefore = mesh.echo?.counts.ended;
    for (const pieces of [[hello.subarray(0, 3)], [hello.subarray(0, -1)]])
      expect(statusOf(await caller.call({}, pieces))).toBe('INVALID_ARGUMENT');
    expect(mesh.echo?.counts.ended).toBe(endedBefore);
  });

  test('with a compression flag that is none are refused', async () => {
    const flagged = Buffer.from(hello);
    flagged[0] = 7;
    expect(statusOf(await caller.call({}, [flagged]))).toBe('INVALID_ARGUMENT');
  });

  test('that say they are larger than the method allows are refused by their head', async () => {
    const head = Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]);
    const answer = await caller.call({}, [head], true);
    expect(statusOf(answer)).toBe('RESOURCE_EXHAUSTED');
    expect(answer.details.errorInfo?.reason).toBe('MESSAGE_TOO_LARGE');
  });
});

describe('bytes that are no HTTP/2', () => {
  test.each([
    ['HTTP/1.1', Buffer.from('POST / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['zeros', Buffer.alloc(64)],
    ['a preface with a wrong letter', Buffer.from('PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n')],
    [
      'a preface and then noise',
      Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.alloc(64, 0xff)]),
    ],
  ])('%s end the connection and are counted', async (_what, bytes) => {
    const violations = async () => {
      const { samples } = readMetrics(await mesh.metrics(mesh.inbound));
      return samples
        .filter(({ name }) => name === 'gatehouse_http2_violations_total')
        .reduce((sum, { value }) => sum + value, 0);
    };
    const before = await violations();
    await sendRaw(mesh, bytes);
    expect(await violations()).toBeGreaterThan(before);
  });
});

describe('limits', () => {
  const quietMetrics = async (of: TestMesh) => {
    const metrics = await of.metrics(of.inbound);
    expect(metrics).toMatch(/^gatehouse_calls_active\{direction="inbound"\} 0$/m);
    expect(metrics).toMatch(/^gatehouse_held_bytes 0$/m);
  };

  test('on calls in progress refuse one more with the limit and when to come back, and the place is free again', async () => {
    const small = await startTestMesh({ limits: { callsActiveMax: 3 } });
    try {
      const client = await small.clientAs('caller');
      const long = Array.from({ length: 3 }, () =>
        startCall(client, 'serverStream', [{ count: 1_000, delayMs: 10 }]),
      );
      await Promise.all(long.map(({ firstAnswer }) => firstAnswer));
      const refused = await run(client, 'unary', [{}]);
      expect(refused.code).toBe(status.RESOURCE_EXHAUSTED);
      expect(refused.details).toMatchObject({
        errorInfo: { reason: 'OVERLOADED' },
        quotaFailure: [{ subject: 'callsActiveMax', description: 'at most 3' }],
      });
      expect(refused.details.retryDelayMs).toBeGreaterThan(0);
      long[0]?.cancel();
      await vi.waitFor(async () => expect((await run(client, 'unary', [{}])).code).toBe(status.OK));
      for (const call of long) call.cancel();
      await vi.waitFor(() => quietMetrics(small));
    } finally {
      await small.stop();
    }
  });

  test('on bytes that wait for policy refuse what does not fit, and are free again', async () => {
    const small = await startTestMesh({ limits: { heldBytesMax: 65_536 } });
    try {
      const client = await small.clientAs('picky');
      const refused = await run(client, 'unary', [{ payload: Buffer.alloc(200_000), model: 'small-1' }]);
      expect(refused.code).toBe(status.RESOURCE_EXHAUSTED);
      expect(refused.details.quotaFailure).toMatchObject([{ subject: 'heldBytesMax' }]);
      await quietMetrics(small);
      expect((await run(client, 'unary', [{ payload: Buffer.alloc(30_000), model: 'small-1' }])).code).toBe(
        status.OK,
      );
      // What policy need not read is not held: only what may be sent again is, and that is let go when there is no room.
      const caller = await small.clientAs('caller');
      await run(caller, 'unary', [{}]);
      const large = await run(caller, 'unary', [{ payload: Buffer.alloc(900_000) }]);
      expect(large.code).toBe(status.OK);
      await quietMetrics(small);
    } finally {
      await small.stop();
    }
  });

  test('on the wait for a first message that policy has to read end the call that sends none', async () => {
    const small = await startTestMesh({ limits: { firstMessageMsMax: 200 } });
    try {
      const client = await small.clientAs('picky');
      const late = await run(client, 'bidi', [], { keepOpen: true, timeoutMs: 5_000 });
      expect(late.code).toBe(status.DEADLINE_EXCEEDED);
      expect(late.details.errorInfo?.reason).toBe('FIRST_MESSAGE_LATE');
      // Later messages may take their time, and so may the first where policy does not read it.
      const patient = startCall(await small.clientAs('caller'), 'bidi', [], {
        keepOpen: true,
        timeoutMs: 600,
      });
      expect((await patient.ended).details.errorInfo?.reason).not.toBe('FIRST_MESSAGE_LATE');
      await vi.waitFor(() => quietMetrics(small));
    } finally {
      await small.stop();
    }
  });
});

test('a message that is no protobuf is refused where policy has to read it', async () => {
  const picky = await mesh.clientAs('picky');
  const ended = await new Promise<{ code?: number; details?: string }>((resolve) => {
    picky.makeUnaryRequest(
      UNARY,
      () => Buffer.from([0x3a, 0xff, 0xff]),
      (bytes: Buffer) => bytes,
      {},
      (error) => resolve(error ?? {}),
    );
  });
  expect(ended.code).toBe(status.INVALID_ARGUMENT);
});
