import { GenerateRequest, InferenceServiceClient } from '@gatehouse/contracts/inference';
import { credentials } from '@grpc/grpc-js';
import { expect, onTestFinished, test, vi } from 'vitest';
import { startInference } from '../test/inference-process.ts';
import { chunk, done, finish, startUpstream, stream } from '../test/scripted-upstream.ts';

test('metrics show what waits for a model and what it works on, and that nothing does when it is over', async () => {
  const answers: (() => void)[] = [];
  const upstream = await startUpstream((response) => {
    stream(response);
    answers.push(() => response.end(chunk('a') + finish + done));
  });
  const model = {
    name: 'm',
    engine: 'openai',
    baseUrl: upstream.baseUrl,
    upstreamModel: 'm',
    contextTokensMax: 64,
    requestsMax: 1,
  };
  const service = await startInference({ models: [model], telemetry: { metricsListen: '127.0.0.1:0' } });
  onTestFinished(async () => void (await service.end('SIGKILL')));
  const serving = service.lines.map((line) => JSON.parse(line) as Record<string, string>);
  const address = serving.find(({ msg }) => msg === 'serving')?.['metricsAddress'];
  const load = async (): Promise<(string | undefined)[]> => {
    const text = await (await fetch(`http://${address}/metrics`)).text();
    return ['queue_depth', 'calls_running'].map(
      (name) =>
        new RegExp(`^gatehouse_model_${name}\\{gen_ai_request_model="m"\\} (\\d+)`, 'm').exec(text)?.[1],
    );
  };
  expect(await load()).toEqual(['0', '0']);

  const client = new InferenceServiceClient(service.address, credentials.createInsecure());
  onTestFinished(() => client.close());
  const request = GenerateRequest.fromPartial({ model: 'm', input: { $case: 'prompt', value: 'hi' } });
  const calls = Array.from({ length: 3 }, () => {
    const call = client.streamGenerate(request);
    call.on('data', () => {});
    return new Promise((resolve) => call.on('status', ({ code }) => resolve(code)));
  });
  await vi.waitFor(async () => expect(await load()).toEqual(['2', '1']), 5_000);
  for (let ended = 0; ended < calls.length; ended++) {
    await vi.waitFor(() => expect(answers.length).toBe(ended + 1), 5_000);
    answers[ended]?.();
  }
  expect(await Promise.all(calls)).toEqual([0, 0, 0]);
  await vi.waitFor(async () => expect(await load()).toEqual(['0', '0']), 5_000);
}, 20_000);
