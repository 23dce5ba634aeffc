import { EmbeddingsServiceService } from '@gatehouse/contracts/embeddings';
import { InferenceServiceService } from '@gatehouse/contracts/inference';
import { createLogger } from '@gatehouse/telemetry';
import { Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { expect, onTestFinished, test, vi } from 'vitest';
import { refusal, request, startFixture } from '../test/kit-fixture.ts';
import type { CallContext } from './edge.ts';
import { egressChannel } from './egress-channel.ts';
import { RpcError } from './errors.ts';

const { generate, streamGenerate, countTokens } = InferenceServiceService;

function parentCall(signal: AbortSignal, deadline: number): CallContext {
  const metadata = new Metadata();
  metadata.set('authorization', 'Bearer of-the-user');
  metadata.set('x-internal', 'stays');
  const log = createLogger({ name: 'kit', level: 'silent' });
  return { method: '/x/Y', signal, deadline, deadlineMsLeft: () => deadline, metadata, log };
}

test("names the upstream in :authority and carries on the caller's authorization alone", async () => {
  const seen: { host: string; metadata: Metadata }[] = [];
  const server = new Server();
  server.addService({ countTokens }, {
    countTokens: (
      call: { getHost(): string; metadata: Metadata },
      callback: (e: null, r: object) => void,
    ) => {
      seen.push({ host: call.getHost(), metadata: call.metadata });
      callback(null, { inputTokens: 1 });
    },
  } as never);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const channel = egressChannel({ address: `127.0.0.1:${port}`, authority: 'inference' });
  onTestFinished(() => {
    channel.close();
    server.forceShutdown();
  });
  const parent = parentCall(new AbortController().signal, Infinity);
  await channel.unary(countTokens, { model: 'm', input: { $case: 'prompt', value: 'x' } }, { parent });
  expect(seen[0]?.host).toBe('inference');
  expect(seen[0]?.metadata.get('authorization')).toEqual(['Bearer of-the-user']);
  expect(seen[0]?.metadata.get('x-internal')).toEqual([]);
});

test('a child call ends with its parent, for the reason of the parent', async () => {
  const fixture = await startFixture();
  const abort = new AbortController();
  const parent = parentCall(abort.signal, Infinity);
  const calls = Promise.all([
    refusal(fixture.channel.unary(generate, request('wait'), { parent })),
    refusal(fixture.channel.serverStream(streamGenerate, request('wait'), { parent }).next()),
  ]);
  await vi.waitFor(() => expect(fixture.waiting.size).toBe(2));
  const reason = new RpcError(status.DEADLINE_EXCEEDED, 'Over.');
  abort.abort(reason);
  expect(await calls).toEqual([reason, reason]);
  await vi.waitFor(() => expect(fixture.waiting.size).toBe(0));
});

test('the earlier of two deadlines holds', async () => {
  const { channel } = await startFixture();
  const count = { model: 'm', input: { $case: 'prompt', value: 'x' } } as const;
  const parent = parentCall(new AbortController().signal, Date.now() + 4000);
  const { inputTokens } = await channel.unary(countTokens, count, { parent, deadline: Date.now() + 60_000 });
  expect(inputTokens).toBeLessThanOrEqual(4000);
});

test('a source of requests that fails cancels the call and is what the reader gets', async () => {
  const { channel } = await startFixture();
  async function* requests() {
    yield { id: 'a', model: 'm', input: 'text', options: undefined };
    throw new Error('the source broke');
  }
  const read = async () => {
    for await (const _ of channel.bidiStream(EmbeddingsServiceService.streamEmbed, requests())) continue;
  };
  await expect(read()).rejects.toThrow('the source broke');
});
