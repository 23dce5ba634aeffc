import { EmbeddingsServiceService, type StreamEmbedRequest } from '@gatehouse/contracts/embeddings';
import { InferenceServiceService } from '@gatehouse/contracts/inference';
import { Metadata, type MethodDefinition, status } from '@grpc/grpc-js';
import { expect, test, vi } from 'vitest';
import { refusal, request, startFixture } from '../test/kit-fixture.ts';

const { generate, streamGenerate } = InferenceServiceService;
const { streamEmbed } = EmbeddingsServiceService;

/** A method that sends bytes as they are. */
function raw<Request, Response>(
  method: MethodDefinition<Request, Response>,
): MethodDefinition<Buffer, Response> {
  return { ...method, requestSerialize: (bytes: Buffer) => bytes } as never;
}

test('names each invalid field with its path', async () => {
  const { channel } = await startFixture();
  const messages = [
    { role: 2 as const, content: 'ok' },
    { role: 0 as const, content: '' },
  ];
  const error = await refusal(
    channel.unary(generate, request('', { input: { $case: 'chat', value: { messages } }, topP: 7 })),
  );
  expect(error.code).toBe(status.INVALID_ARGUMENT);
  expect(error.details.errorInfo?.reason).toBe('REQUEST_INVALID');
  expect(error.details.badRequest?.map(({ field }) => field)).toEqual(
    expect.arrayContaining(['model', 'chat.messages[1].role', 'chat.messages[1].content', 'top_p']),
  );
});

test.each([
  ['invalid UTF-8 in a prompt', [0x0a, 1, 0x61, 0x1a, 2, 0xc3, 0x28], 'prompt'],
  [
    'invalid UTF-8 deep inside',
    [0x0a, 1, 0x61, 0x12, 6, 0x0a, 4, 0x12, 2, 0xc3, 0x28],
    'chat.messages[0].content',
  ],
  ['a field that is cut short', [0x0a, 9, 0x61], ''],
  ['a group that is never closed', [0x0a, 1, 0x61, 0x1b], ''],
])('refuses %s as an invalid argument, and not as a fault of its own', async (_what, bytes, field) => {
  const { channel } = await startFixture();
  const error = await refusal(channel.unary(raw(generate), Buffer.from(bytes)));
  expect(error.code).toBe(status.INVALID_ARGUMENT);
  expect(error.details.badRequest?.map((violation) => violation.field)).toEqual([field]);
});

test("refuses a message over its method's own limit, below the server's largest", async () => {
  const { channel } = await startFixture();
  const big: StreamEmbedRequest = { id: 'x', model: 'm', input: 'x'.repeat(300_000), options: undefined };
  const error = await refusal(channel.bidiStream(streamEmbed, [big] as never).next());
  expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
  expect(error.details.errorInfo).toMatchObject({
    reason: 'MESSAGE_TOO_LARGE',
    metadata: { bytesMax: '262144' },
  });
});

test('validates every message of a stream, and answers those before the bad one', async () => {
  const { channel } = await startFixture();
  async function* requests() {
    for (const id of ['a', 'b', '', 'c']) {
      yield { id, model: 'm', input: 'text', options: undefined };
    }
  }
  const answered: string[] = [];
  const read = async () => {
    for await (const { id } of channel.bidiStream(streamEmbed, requests())) answered.push(id);
  };
  const error = await refusal(read());
  expect(answered).toEqual(['a', 'b']);
  expect(error.code).toBe(status.INVALID_ARGUMENT);
  expect(error.details.badRequest?.[0]?.field).toBe('id');
});

test('carries a refusal with all its details to the client', async () => {
  const { channel } = await startFixture();
  const error = await refusal(channel.unary(generate, request('refuse')));
  expect(error).toMatchObject({ code: status.RESOURCE_EXHAUSTED, message: 'Too much.' });
  expect(error.details).toMatchObject({
    errorInfo: { reason: 'TOO_MUCH', domain: 'gatehouse.dev', metadata: { limit: '1' } },
    retryDelayMs: 1500,
    quotaFailure: [{ subject: 'x', description: 'y' }],
  });
});

test.each([['unary'], ['stream']])(
  'answers a bug in a %s handler with INTERNAL, and keeps its message out of wire and log',
  async (kind) => {
    const { channel, logLines } = await startFixture();
    const call =
      kind === 'unary'
        ? channel.unary(generate, request('bug'))
        : channel.serverStream(streamGenerate, request('bug')).next();
    const error = await refusal(call);
    expect(error.code).toBe(status.INTERNAL);
    expect(error.message).not.toContain('secret');
    expect(logLines.join()).toContain('TypeError');
    expect(logLines.join()).toContain('kit-fixture.ts');
    expect(logLines.join()).not.toContain('secret');
  },
);

test.each([
  ['cancelled by the caller', 'CANCELLED_BY_CALLER', status.CANCELLED],
  ['past its deadline', 'DEADLINE_EXCEEDED', status.DEADLINE_EXCEEDED],
])('tells the handlers of every kind why a call is over: %s', async (_title, reason, code) => {
  const fixture = await startFixture();
  const abort = new AbortController();
  const call = code === status.CANCELLED ? { signal: abort.signal } : { deadline: Date.now() + 300 };
  const calls = Promise.all([
    refusal(fixture.channel.unary(generate, request('wait'), call)),
    refusal(fixture.channel.serverStream(streamGenerate, request('wait'), call).next()),
  ]);
  await vi.waitFor(() => expect(fixture.waiting.size).toBe(2));
  abort.abort();
  expect((await calls).map((error) => error.code)).toEqual([code, code]);
  await vi.waitFor(() => expect(fixture.aborted).toEqual([reason, reason]));
});

test('makes stream responses no faster than the client reads them', async () => {
  const fixture = await startFixture();
  const stream = fixture.channel.serverStream(streamGenerate, request('endless'));
  await stream.next();
  let made = -1;
  await vi.waitFor(
    () => {
      const before = made;
      made = fixture.made;
      expect(made).toBe(before);
    },
    { interval: 100 },
  );
  expect(made).toBeGreaterThan(0);
  expect(made).toBeLessThan(2000); // 20,000 are there; flow-control windows and buffers hold some.
  await stream.return();
});

test('ends the handler when a client leaves a stream in the middle', async () => {
  const fixture = await startFixture();
  const stream = fixture.channel.serverStream(streamGenerate, request('endless'));
  await stream.next();
  await stream.return();
  const made = await vi.waitFor(async () => {
    const before = fixture.made;
    await new Promise((resolve) => setImmediate(resolve));
    expect(fixture.made).toBe(before);
    return before;
  });
  expect(made).toBeLessThan(20_000);
});

test('gives a handler the metadata and the time that is left', async () => {
  const { channel } = await startFixture();
  const metadata = new Metadata();
  metadata.set('authorization', 'Bearer t');
  expect((await channel.unary(generate, request('echo'), { metadata })).text).toBe('Bearer t');
  const count = { model: 'm', input: { $case: 'prompt', value: 'x' } } as const;
  const { inputTokens } = await channel.unary(InferenceServiceService.countTokens, count, {
    deadline: Date.now() + 5000,
  });
  expect(inputTokens).toBeGreaterThan(3000);
  expect(inputTokens).toBeLessThanOrEqual(5000);
});
