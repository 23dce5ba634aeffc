import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddingsServiceService } from '@gatehouse/contracts/embeddings';
import { type GenerateRequest, InferenceServiceService } from '@gatehouse/contracts/inference';
import { createLogger } from '@gatehouse/telemetry';
import { status } from '@grpc/grpc-js';
import { onTestFinished } from 'vitest';
import { defineService, type EgressChannel, egressChannel, RpcError, startService } from '../src/index.ts';

export interface Fixture {
  readonly address: string;
  readonly channel: EgressChannel;
  readonly server: Awaited<ReturnType<typeof startService>>;
  readonly logLines: string[];
  /** Handlers that wait, and those that have seen their signal abort, by its reason. */
  readonly waiting: Set<string>;
  readonly aborted: string[];
  /** Responses that the endless stream has made. */
  made: number;
}

/** A server with real contracts and small handlers, which do what the request's model names, on a Unix socket that is removed with the test. */
export async function startFixture(drainMsMax = 5000): Promise<Fixture> {
  const folder = await mkdtemp(join(tmpdir(), 'kit-'));
  const logLines: string[] = [];
  const log = createLogger({
    name: 'kit',
    level: 'info',
    destination: { write: (line) => void logLines.push(line) },
  });
  const state = { waiting: new Set<string>(), aborted: [] as string[], made: 0 };
  const server = await startService({
    config: { listen: `unix:${join(folder, 'a', 'app.sock')}`, drainMsMax },
    services: services(state),
    log,
    now: Date.now,
  });
  const channel = egressChannel({ address: server.address, authority: 'kit' });
  onTestFinished(async () => {
    channel.close();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });
  return Object.assign(state, { address: server.address, channel, server, logLines });
}

function services(state: Pick<Fixture, 'waiting' | 'aborted' | 'made'>) {
  const untilAborted = (name: string, signal: AbortSignal) => {
    state.waiting.add(name);
    return new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        state.aborted.push((signal.reason as RpcError).details.errorInfo?.reason ?? 'none');
        state.waiting.delete(name);
        reject(signal.reason as Error);
      });
    });
  };
  return [
    defineService(InferenceServiceService, {
      async generate(request, ctx) {
        if (request.model === 'bug') throw new TypeError('the prompt was: secret');
        if (request.model === 'wait') return await untilAborted('unary', ctx.signal);
        if (request.model === 'refuse') {
          throw new RpcError(status.RESOURCE_EXHAUSTED, 'Too much.', {
            errorInfo: { reason: 'TOO_MUCH', metadata: { limit: '1' } },
            retryDelayMs: 1500,
            quotaFailure: [{ subject: 'x', description: 'y' }],
          });
        }
        return { text: ctx.metadata.get('authorization').join(), completion: undefined };
      },
      async *streamGenerate(request, ctx) {
        if (request.model === 'bug') throw new TypeError('the prompt was: secret');
        if (request.model === 'wait') await untilAborted('stream', ctx.signal);
        for (state.made = 0; state.made < 20_000; state.made += 1) {
          const text = request.model === 'endless' ? 'x'.repeat(10_000) : String(state.made);
          if (request.model === 'echo' && state.made === 3) return;
          yield { event: { $case: 'delta', value: { text, outputTokens: state.made } } };
        }
      },
      countTokens: async (_request, ctx) => ({ inputTokens: Math.round(ctx.deadlineMsLeft()) }),
    }),
    defineService(EmbeddingsServiceService, {
      embed: () => Promise.reject(new Error('not used')),
      async *streamEmbed(requests) {
        for await (const { id } of requests) yield { id, result: undefined, inputTokens: 0 };
      },
    }),
  ];
}

/** A valid request to `model`. */
export function request(model: string, more: Partial<GenerateRequest> = {}): GenerateRequest {
  return {
    model,
    input: { $case: 'prompt', value: 'secret' },
    stop: [],
    jsonSchema: '',
    priority: 0,
    ...more,
  } as GenerateRequest;
}

/** The error that a promise rejects with. */
export async function refusal(promise: Promise<unknown>): Promise<RpcError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof RpcError)) throw new Error(`not refused with an RpcError: ${String(error)}`);
  return error;
}
