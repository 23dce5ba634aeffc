import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StartFailure } from '@gatehouse/service-kit/main';
import { expect, test } from 'vitest';
import { modelFiles } from '../test/model-files.ts';
import { startEmbeddings } from '../test/running-service.ts';
import { embeddingsConfig } from './config.ts';

const failureOf = (overrides: Parameters<typeof startEmbeddings>[0]) =>
  startEmbeddings(overrides).then(
    (service) => service.stop(),
    (error: unknown) => error,
  );

test('does not start with a model file that is missing or corrupt, and names it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'emb-'));
  try {
    const missing = join(folder, 'missing.onnx');
    const corrupt = join(folder, 'corrupt.onnx');
    await writeFile(corrupt, 'not a model');
    for (const modelFile of [missing, corrupt]) {
      const failure = await failureOf({ modelFile });
      expect(failure).toBeInstanceOf(StartFailure);
      expect(String(failure)).toContain(`${modelFile} cannot be used`);
    }
    expect(String(await failureOf({ tokenizerFile: corrupt }))).toContain(`${corrupt} cannot be used`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('refuses a batch that cannot hold the longest text, and two models of one name', () => {
  const model = { name: 'a', ...modelFiles };
  const common = { name: 'embeddings', listen: '127.0.0.1:0' };
  const problems = (models: object[]) =>
    embeddingsConfig.safeParse({ ...common, models }).error?.issues.map(({ path }) => path.join('.'));
  expect(problems([{ ...model, inputTokensMax: 256, batchTokensMax: 128 }])).toEqual([
    'models.0.batchTokensMax',
  ]);
  expect(problems([model, model])).toEqual(['models']);
});
