/** What a sidecar's metrics say of models: tokens and times to the first one, by model and caller, with the trace to look at. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { generatorAs } from './support/generate-calls.ts';
import { type Metrics, readMetrics } from './support/read-metrics.ts';
import { spiffe, startTestMesh, type TestMesh, TRUST_DOMAIN } from './support/test-mesh.ts';
import { startTokenApp, type TokenApp } from './support/token-app.ts';

const STREAM = 'gatehouse.inference.v1.InferenceService/StreamGenerate';

/** @param models of the rule; without any nothing has to read the request */
function policyOf(models: readonly string[], limits: readonly object[] = []): string {
  return stringify({
    version: 'tokens-1',
    trustDomains: [TRUST_DOMAIN],
    rules: [
      {
        id: 'anyone-may-generate',
        effect: 'ALLOW',
        identities: [`spiffe://${TRUST_DOMAIN}/**`],
        permissions: ['inference.generate', 'inference.count'],
        ...(models.length > 0 ? { models } : {}),
      },
    ],
    limits,
  });
}

let app: TokenApp;
beforeAll(async () => {
  app = await startTokenApp();
});
afterAll(() => app.stop());

const metricsOf = async (mesh: TestMesh): Promise<Metrics> => readMetrics(await mesh.metrics(mesh.inbound));
const tokensOf = (metrics: Metrics, labels: Record<string, string>): number[] =>
  ['input', 'output'].map((kind) =>
    metrics.value(`gatehouse_${'identity' in labels ? 'caller' : 'model'}_tokens_total`, { ...labels, kind }),
  );

describe.each([
  ['where nothing else reads the answers', []],
  ['where a limit counts them', [{ id: 'much', per: ['identity'], tokensPerMinute: 1_000_000 }]],
])('tokens, %s', (_where, limits) => {
  let mesh: TestMesh;
  beforeAll(async () => {
    mesh = await startTestMesh({ contract: {}, app: app.address, policy: policyOf(['small-*'], limits) });
  });
  afterAll(() => mesh.stop());

  test('are counted by model and by caller, of streams and of single answers', async () => {
    const caller = await generatorAs(mesh, 'caller');
    const other = await generatorAs(mesh, 'other');
    await caller.run({ input: 5, deltas: [3, 4] });
    await other.run({ input: 2, deltas: 40 });
    await caller.unary({ input: 1, deltas: 2 });
    const metrics = await metricsOf(mesh);
    expect(tokensOf(metrics, { model: 'small-1' })).toEqual([8, 49]);
    expect(tokensOf(metrics, { identity: spiffe('caller') })).toEqual([6, 9]);
    expect(tokensOf(metrics, { identity: spiffe('other') })).toEqual([2, 40]);
    const labels = { rpc_method: STREAM, model: 'small-1' };
    expect(metrics.value('gatehouse_time_to_first_token_seconds_count', labels)).toBe(2);
    expect(metrics.value('gatehouse_model_call_duration_seconds_count', { model: 'small-1' })).toBe(3);
    expect(metrics.value('gatehouse_caller_call_duration_seconds_count', { identity: spiffe('other') })).toBe(
      1,
    );
  });

  test('the first one is timed from the call’s beginning to the token, not to what comes before it', async () => {
    const before = await metricsOf(mesh);
    const caller = await generatorAs(mesh, 'caller');
    // The message that says that generation has begun comes at once, the first token 300 ms later.
    await caller.run({ input: 5, deltas: 2, pauseMs: 300 });
    const after = await metricsOf(mesh);
    const grown = (name: string, more = {}): number =>
      after.value(`gatehouse_time_to_first_token_seconds_${name}`, { rpc_method: STREAM, ...more }) -
      before.value(`gatehouse_time_to_first_token_seconds_${name}`, { rpc_method: STREAM, ...more });
    expect(grown('count')).toBe(1);
    expect(grown('bucket', { le: '0.25' })).toBe(0);
    expect(grown('sum')).toBeGreaterThan(0.29);
  });
});

test('where policy does not look at models, tokens and first tokens are counted without a name', async () => {
  const mesh = await startTestMesh({ contract: {}, app: app.address, policy: policyOf([]) });
  try {
    const caller = await generatorAs(mesh, 'caller');
    await caller.run({ input: 5, deltas: 3 });
    const metrics = await metricsOf(mesh);
    expect(tokensOf(metrics, { model: '' })).toEqual([5, 3]);
    expect(metrics.value('gatehouse_time_to_first_token_seconds_count', { model: '' })).toBe(1);
    expect(metrics.samples.filter(({ name }) => name === 'gatehouse_model_calls_total')).toEqual([]);
  } finally {
    await mesh.stop();
  }
});
