import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EchoCounts } from '@gatehouse/testing';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { CALL_KINDS, run, startCall } from './support/calls.ts';
import { spiffe, startTestMesh, type TestMesh, TLS_OPTIONS } from './support/test-mesh.ts';

const ECHO_MAIN = fileURLToPath(import.meta.resolve('@gatehouse/testing/main'));

describe('through two sidecars', () => {
  let mesh: TestMesh;
  beforeAll(async () => {
    mesh = await startTestMesh();
  });
  afterAll(async () => {
    await mesh.stop();
  });

  describe.each(CALL_KINDS)('a %s call', (kind) => {
    const requests = [{ text: 'a', count: 3 }, { text: 'b' }, { text: 'c' }];

    test('is answered', async () => {
      const ended = await run(mesh.client(), kind, requests);
      expect(ended.code).toBe(status.OK);
      const texts = ended.answers.map(({ text }) => text);
      const expected = {
        unary: ['a'],
        clientStream: ['abc'],
        serverStream: ['a0', 'a1', 'a2'],
        bidi: ['a', 'b', 'c'],
      };
      expect(texts).toEqual(expected[kind]);
    });

    test('carries messages larger than every window', async () => {
      const payload = Buffer.alloc(900_000, 0x62);
      const ended = await run(mesh.client({ 'grpc.max_receive_message_length': -1 }), kind, [
        { payload, answerBytes: 2_000_000 },
      ]);
      expect(ended.code).toBe(status.OK);
      expect(ended.answers[0]?.receivedBytes).toBe(900_000);
      expect(ended.answers[0]?.payload.length).toBe(2_000_000);
    });

    test('brings the status that the app ended it with', async () => {
      const ended = await run(mesh.client(), kind, [{ failCode: status.FAILED_PRECONDITION }]);
      expect(ended).toMatchObject({ code: status.FAILED_PRECONDITION, message: 'asked to fail' });
    });

    test('is refused to a caller whom no rule allows, and never reaches the app', async () => {
      const startedBefore = mesh.echo?.counts.started;
      const ended = await run(await mesh.clientAs('stranger'), kind, requests);
      expect(ended.code).toBe(status.PERMISSION_DENIED);
      expect(ended.message).toContain(spiffe('stranger'));
      expect(ended.details.errorInfo).toMatchObject({ reason: 'NO_MATCHING_RULE', domain: 'gatehouse.dev' });
      expect(ended.details.errorInfo?.metadata?.['policy_version']).toMatch(/^test-1@/);
      expect(ended.details.errorInfo?.metadata?.['decision_id']).not.toBe('');
      expect(mesh.echo?.counts.started).toBe(startedBefore);
    });

    test('that its caller cancels is cancelled at the app', async () => {
      const cancelledBefore = mesh.echo?.counts.cancelled ?? 0;
      const startedBefore = mesh.echo?.counts.started ?? 0;
      const call = startCall(mesh.client(), kind, [{ delayMs: 5_000 }], { keepOpen: true });
      await vi.waitFor(() => expect(mesh.echo?.counts.started).toBe(startedBefore + 1));
      call.cancel();
      expect((await call.ended).code).toBe(status.CANCELLED);
      await vi.waitFor(() => expect(mesh.echo?.counts.cancelled).toBe(cancelledBefore + 1));
    });

    test('that runs past its deadline ends then, and is cancelled at the app', async () => {
      const cancelledBefore = mesh.echo?.counts.cancelled ?? 0;
      const startedAtMs = performance.now();
      const ended = await run(mesh.client(), kind, [{ delayMs: 5_000 }], { timeoutMs: 300, keepOpen: true });
      expect(ended.code).toBe(status.DEADLINE_EXCEEDED);
      expect(performance.now() - startedAtMs).toBeLessThan(1_500);
      await vi.waitFor(() => expect(mesh.echo?.counts.cancelled).toBe(cancelledBefore + 1));
    });
  });

  test('a stream whose reader stands still holds back its sender, and others go on', async () => {
    const call = startCall(mesh.client({ 'grpc.max_receive_message_length': -1 }), 'serverStream', [
      { count: 200, answerBytes: 100_000 },
    ]);
    await call.firstAnswer;
    call.pause();
    const { ended: endedBefore, answers: answersBefore } = { ...mesh.echo?.counts } as EchoCounts;
    for (let i = 0; i < 20; i++)
      expect((await run(mesh.client(), 'unary', [{ text: 'x' }])).code).toBe(status.OK);
    // The 20 calls have ended and the stream has not: the app waits with most of its 20 MB.
    expect(mesh.echo?.counts.ended).toBe(endedBefore + 20);
    expect((mesh.echo?.counts.answers ?? 0) - answersBefore).toBeLessThan(120);
    call.resume();
    const ended = await call.ended;
    expect(ended.code).toBe(status.OK);
    expect(ended.answers).toHaveLength(200);
  });

  test('a request larger than the method allows is refused with the limit', async () => {
    const ended = await run(mesh.client(), 'unary', [{ payload: Buffer.alloc(1_100_000) }]);
    expect(ended.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(ended.details.errorInfo?.reason).toBe('MESSAGE_TOO_LARGE');
    expect(ended.message).toContain('1048576');
  });

  test('a method that the contract does not classify does not exist', async () => {
    const ended = await new Promise<{ code: number; details: string }>((resolve) => {
      mesh.client().unclassified({}, (error: { code: number; details: string }) => resolve(error));
    });
    expect(ended.code).toBe(status.UNIMPLEMENTED);
    expect(ended.details).toContain('/testing.echo.v1.EchoService/Unclassified');
  });

  test('an authority that no upstream has is refused on egress', async () => {
    const ended = await run(mesh.client({ 'grpc.default_authority': 'nobody' }), 'unary', [{}]);
    expect(ended.code).toBe(status.PERMISSION_DENIED);
    expect(ended.details.errorInfo?.reason).toBe('UNKNOWN_UPSTREAM');
  });

  test('leaves nothing behind: no call in progress, no deadline waited for, no byte held', async () => {
    const metrics = await mesh.metrics(mesh.inbound);
    expect(metrics).toMatch(/gatehouse_calls_active\{direction="inbound"\} 0/);
    expect(metrics).toMatch(/gatehouse_held_bytes 0/);
    expect(await mesh.metrics(mesh.egress)).toMatch(/gatehouse_calls_active\{direction="egress"\} 0/);
  });
});

describe('rules about models', () => {
  let mesh: TestMesh;
  beforeAll(async () => {
    mesh = await startTestMesh();
  });
  afterAll(async () => {
    await mesh.stop();
  });

  test.each(CALL_KINDS)('a %s call is decided on by the model in its first message', async (kind) => {
    const client = await mesh.clientAs('picky');
    expect((await run(client, kind, [{ model: 'small-1', text: 'x' }])).code).toBe(status.OK);
    const refused = await run(client, kind, [{ model: 'large-1', text: 'x' }]);
    expect(refused.code).toBe(status.PERMISSION_DENIED);
    expect(refused.details.errorInfo?.reason).toBe('MODEL_NOT_ALLOWED');
    expect((await run(client, kind, [{ text: 'x' }])).details.errorInfo?.reason).toBe('MODEL_REQUIRED');
  });

  test.each(['clientStream', 'bidi'] as const)(
    'a later message of a %s call with another model ends it',
    async (kind) => {
      const client = await mesh.clientAs('picky');
      const refused = await run(client, kind, [
        { model: 'small-1' },
        { model: 'small-2' },
        { model: 'large-1' },
      ]);
      expect(refused.code).toBe(status.PERMISSION_DENIED);
      expect((await run(client, kind, [{ model: 'small-1' }, {}, { model: 'small-1' }])).code).toBe(
        status.OK,
      );
    },
  );

  test('a first message larger than every window is held whole', async () => {
    const client = await mesh.clientAs('picky');
    const ended = await run(client, 'unary', [{ payload: Buffer.alloc(900_000), model: 'small-1' }]);
    expect(ended).toMatchObject({ code: status.OK });
  });

  test('a compressed first message is read all the same', async () => {
    const client = await mesh.clientAs('picky');
    const gzip = 2;
    const compressed = new (client.constructor as new (...args: unknown[]) => typeof client)(
      mesh.inbound.inboundAddress,
      await mesh.credentialsOf('picky'),
      { ...TLS_OPTIONS, 'grpc.default_compression_algorithm': gzip },
    );
    try {
      expect((await run(compressed, 'unary', [{ model: 'small-1', text: 'y'.repeat(5000) }])).code).toBe(
        status.OK,
      );
      expect((await run(compressed, 'unary', [{ model: 'large-1', text: 'y'.repeat(5000) }])).code).toBe(
        status.PERMISSION_DENIED,
      );
    } finally {
      compressed.close();
    }
  });
});

describe('an app that is killed', () => {
  test.each(CALL_KINDS)(
    'ends a %s call in progress with UNAVAILABLE, and the next one is answered after a restart',
    async (kind) => {
      const folder = await mkdtemp(join(tmpdir(), 'gh-app-'));
      const address = `unix:${join(folder, 'app.sock')}`;
      const launch = async () => {
        const child = spawn(process.execPath, [ECHO_MAIN, address, 'child'], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        await once(child.stdout, 'data');
        return child;
      };
      let app = await launch();
      const mesh = await startTestMesh({ app: address });
      try {
        expect((await run(mesh.client(), kind, [{ text: 'x' }])).code).toBe(status.OK);
        const call = startCall(
          mesh.client(),
          kind,
          [{ text: 'x', count: 1000, delayMs: kind === 'serverStream' || kind === 'bidi' ? 20 : 3_000 }],
          { keepOpen: true },
        );
        if (kind === 'serverStream' || kind === 'bidi') await call.firstAnswer;
        else
          await vi.waitFor(async () =>
            expect(await mesh.metrics(mesh.inbound)).toMatch(
              /gatehouse_calls_active\{direction="inbound"\} 1/,
            ),
          );
        app.kill('SIGKILL');
        const ended = await call.ended;
        expect(ended.code).toBe(status.UNAVAILABLE);
        expect(ended.details.errorInfo?.reason).toMatch(/^UPSTREAM_/);
        app = await launch();
        await vi.waitFor(
          async () => expect((await run(mesh.client(), kind, [{ text: 'x' }])).code).toBe(status.OK),
          { timeout: 10_000 },
        );
      } finally {
        app.kill('SIGKILL');
        await mesh.stop();
      }
    },
  );
});
