import { RpcError } from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { AdmissionQueue } from './admission-queue.ts';

const never = new AbortController().signal;
const queue = (runningMax: number, queueDepthMax: number) =>
  new AdmissionQueue('m', { runningMax, queueDepthMax }, () => 0);

test('lets the higher priority go first, and within one the first that came', async () => {
  const line = queue(1, 10);
  const leave = await line.enter(2, never);
  const order: string[] = [];
  const waiting = (
    [
      ['normal 1', 2],
      ['low', 1],
      ['high 1', 3],
      ['normal 2', 2],
      ['high 2', 3],
    ] as const
  ).map(async ([name, priority]) => {
    const done = await line.enter(priority, never);
    order.push(name);
    done();
  });
  leave();
  await Promise.all(waiting);
  expect(order).toEqual(['high 1', 'high 2', 'normal 1', 'normal 2', 'low']);
  expect([line.running, line.waiting]).toEqual([0, 0]);
});

test('refuses at once what is beyond its depth, and says when to come again', async () => {
  const line = queue(1, 1);
  const leave = await line.enter(2, never);
  const second = line.enter(2, never);
  const refused = await line.enter(3, never).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(RpcError);
  expect(refused).toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
    details: {
      errorInfo: { reason: 'QUEUE_FULL' },
      quotaFailure: [{ subject: 'model:m' }],
      retryDelayMs: expect.toSatisfy((ms: number) => ms >= 100 && ms <= 30_000) as number,
    },
  });
  leave();
  (await second)();
  expect([line.running, line.waiting]).toEqual([0, 0]);
});

test('forgets who gives up waiting', async () => {
  const line = queue(1, 1);
  const leave = await line.enter(2, never);
  const abort = new AbortController();
  const given = line.enter(2, abort.signal);
  abort.abort(new Error('gone'));
  await expect(given).rejects.toThrow('gone');
  expect(line.waiting).toBe(0);
  leave();
  expect(line.running).toBe(0);
});
