import type { IncomingMessage, ServerResponse } from 'node:http';
import { status } from '@grpc/grpc-js';
import { expect, test, vi } from 'vitest';
import { chunk, done, finish, startUpstream, stream, usage } from '../../../test/scripted-upstream.ts';
import type { GenerationEvent, GenerationRequest } from '../engine.ts';
import { OpenAiEngine } from './openai-engine.ts';

const never = new AbortController().signal;

function request(more: Partial<GenerationRequest> = {}): GenerationRequest {
  return {
    input: { kind: 'chat', messages: [{ role: 'user', content: 'the secret prompt' }] },
    maxTokens: 16,
    temperature: 0.5,
    topP: 0.9,
    seed: 7,
    stop: ['END'],
    jsonSchema: '',
    priority: 2,
    ...more,
  };
}

function engineAt(
  baseUrl: string,
  more: { requestsMax?: number; supportsJsonSchema?: boolean } = {},
): OpenAiEngine {
  return new OpenAiEngine(
    {
      name: 'm',
      engine: 'openai',
      baseUrl,
      upstreamModel: 'their-name',
      contextTokensMax: 2048,
      outputTokensDefault: 64,
      queueDepthMax: 0,
      requestsMax: more.requestsMax ?? 4,
      supportsJsonSchema: more.supportsJsonSchema ?? true,
    },
    { now: () => Date.parse('2026-01-01T00:00:00Z') },
  );
}

async function engineFor(answer: (response: ServerResponse, request: IncomingMessage) => void) {
  const upstream = await startUpstream(answer);
  return { upstream, engine: engineAt(upstream.baseUrl) };
}

async function collect(engine: OpenAiEngine, more: Partial<GenerationRequest> = {}, signal = never) {
  const events: GenerationEvent[] = [];
  for await (const event of engine.generate(request(more), signal)) events.push(event);
  return events;
}

test("streams pieces as they come, and takes the upstream's own counts at the end", async () => {
  const { engine, upstream } = await engineFor((response) => {
    stream(response);
    const whole = Buffer.from(chunk('wave 🌊') + chunk(' and sea') + finish + usage + done);
    for (const at of whole.keys()) response.write(whole.subarray(at, at + 1)); // Every border that there can be.
    response.end();
  });
  expect(await collect(engine)).toEqual([
    { kind: 'started', inputTokens: 0 },
    { kind: 'delta', text: 'wave 🌊', outputTokens: 1 },
    { kind: 'delta', text: ' and sea', outputTokens: 2 },
    { kind: 'completed', finishReason: 'stop', inputTokens: 11, outputTokens: 5 },
  ]);
  expect(upstream.requests[0]).toEqual({
    path: '/v1/chat/completions',
    body: {
      model: 'their-name',
      messages: [{ role: 'user', content: 'the secret prompt' }],
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 16,
      temperature: 0.5,
      top_p: 0.9,
      seed: 7,
      stop: ['END'],
    },
  });
});

test('sends a prompt to the completions path, and a schema as a strict response format', async () => {
  const { engine, upstream } = await engineFor((response) => {
    stream(response);
    const text = { choices: [{ index: 0, text: 'hi', finish_reason: 'stop', stop_reason: 'END' }] };
    response.end(`data: ${JSON.stringify(text)}\n\n${done}`);
  });
  const events = await collect(engine, {
    input: { kind: 'prompt', text: 'x' },
    jsonSchema: '{"type":"null"}',
  });
  expect(events.slice(1)).toEqual([
    { kind: 'delta', text: 'hi', outputTokens: 1 },
    { kind: 'completed', finishReason: 'stop_sequence', inputTokens: 0, outputTokens: 1 },
  ]);
  expect(upstream.requests[0]).toMatchObject({
    path: '/v1/completions',
    body: {
      prompt: 'x',
      response_format: { type: 'json_schema', json_schema: { strict: true, schema: { type: 'null' } } },
    },
  });
});

const faults: [string, (response: ServerResponse) => void, status, string][] = [
  [
    'cut in the middle',
    (r) => (stream(r), r.write(chunk('a') + chunk('b'), () => r.destroy())),
    status.UNAVAILABLE,
    'UPSTREAM_CUT',
  ],
  ['ended before it is whole', (r) => (stream(r), r.end(chunk('a'))), status.UNAVAILABLE, 'UPSTREAM_CUT'],
  [
    'with an event that is not JSON',
    (r) => (stream(r), r.end(`${chunk('a')}data: {"choices": [{\n\n`)),
    status.INTERNAL,
    'UPSTREAM_MALFORMED',
  ],
  [
    'with an event that is no chunk',
    (r) => (stream(r), r.end('data: {"choices": 3}\n\n')),
    status.INTERNAL,
    'UPSTREAM_MALFORMED',
  ],
  [
    'with an event that never ends',
    (r) => (stream(r), r.end(`data: ${'x'.repeat(1_200_000)}`)),
    status.INTERNAL,
    'UPSTREAM_MALFORMED',
  ],
  [
    'that is no event stream',
    (r) => (r.writeHead(200, { 'content-type': 'text/html' }), r.end('<p>')),
    status.INTERNAL,
    'UPSTREAM_MALFORMED',
  ],
  [
    'with an error event',
    (r) => (stream(r), r.end(`${chunk('a')}data: {"error":{"message":"the secret prompt"}}\n\n`)),
    status.UNAVAILABLE,
    'UPSTREAM_FAILED',
  ],
  [
    'of HTTP status 500',
    (r) => (r.writeHead(500), r.end('the secret prompt')),
    status.INTERNAL,
    'UPSTREAM_ERROR',
  ],
  ['of HTTP status 503', (r) => (r.writeHead(503), r.end()), status.UNAVAILABLE, 'UPSTREAM_UNAVAILABLE'],
  [
    'of HTTP status 400',
    (r) => (r.writeHead(400), r.end('the secret prompt')),
    status.INVALID_ARGUMENT,
    'UPSTREAM_REFUSED',
  ],
  ['of HTTP status 401', (r) => (r.writeHead(401), r.end()), status.INTERNAL, 'UPSTREAM_ERROR'],
];

test.each(faults)(
  'maps an answer %s, and never quotes the upstream',
  async (_title, answer, code, reason) => {
    const { engine } = await engineFor(answer);
    const error: unknown = await collect(engine).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, details: { errorInfo: { reason } } });
    expect(JSON.stringify(error) + String(error)).not.toContain('secret');
  },
);

test('says how far a cut answer had come', async () => {
  const { engine } = await engineFor((r) => (stream(r), r.write(chunk('a') + chunk('b'), () => r.destroy())));
  await expect(collect(engine)).rejects.toThrow('broke off its answer after 2 tokens');
});

test.each([
  ['17', 17_000],
  ['Thu, 01 Jan 2026 00:00:05 GMT', 5000],
  ['soon', 1000],
  ['99999999', 300_000],
])(
  'passes on a 429 with Retry-After %s as RESOURCE_EXHAUSTED with RetryInfo',
  async (retryAfter, retryDelayMs) => {
    const { engine } = await engineFor((r) => (r.writeHead(429, { 'retry-after': retryAfter }), r.end()));
    await expect(collect(engine)).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: {
        retryDelayMs,
        errorInfo: { reason: 'UPSTREAM_BUSY' },
        quotaFailure: [{ subject: 'model:m' }],
      },
    });
  },
);

test.each([
  ['before it answers', () => undefined],
  ['in the middle', (r: ServerResponse) => (stream(r), r.write(chunk('a')))],
])('hangs up on an upstream that is slow %s, with the reason that the call ended', async (_when, answer) => {
  const { engine, upstream } = await engineFor(answer);
  const reason = new Error('deadline');
  const abort = new AbortController();
  const collected = collect(engine, {}, abort.signal);
  await vi.waitFor(() => expect(upstream.requests.length).toBe(1));
  abort.abort(reason);
  await expect(collected).rejects.toBe(reason);
  await vi.waitFor(() => expect(upstream.hungUp).toBe(1));
});

test('hangs up when the caller leaves the stream, and frees its place', async () => {
  const upstream = await startUpstream((r) => (stream(r), r.write(chunk('a'))));
  const engine = engineAt(upstream.baseUrl, { requestsMax: 1 });
  for (let round = 1; round <= 2; round += 1) {
    for await (const event of engine.generate(request(), never)) if (event.kind === 'delta') break;
    await vi.waitFor(() => expect(upstream.hungUp).toBe(round));
  }
});

test('says that an upstream cannot be reached', async () => {
  await expect(collect(engineAt('http://127.0.0.1:1/v1'))).rejects.toMatchObject({
    code: status.UNAVAILABLE,
    details: { errorInfo: { reason: 'UPSTREAM_UNREACHABLE' } },
  });
});

test('counts tokens where the upstream has a tokenizer, and says so where it has none', async () => {
  const vllm = await engineFor((response, { url }) => {
    if (url === '/tokenize') response.end('{"count":9,"max_model_len":100,"tokens":[]}');
    else response.writeHead(404).end();
  });
  expect(await vllm.engine.countTokens(request().input, never)).toBe(9);
  const none = await engineFor((response) => response.writeHead(404).end('{}'));
  await expect(none.engine.countTokens(request().input, never)).rejects.toMatchObject({
    code: status.UNIMPLEMENTED,
    details: { errorInfo: { reason: 'UPSTREAM_HAS_NO_TOKENIZER' } },
  });
});
