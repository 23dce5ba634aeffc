import { homedir } from 'node:os';
import { join } from 'node:path';
import type { LlamaConfig } from '../src/config.ts';

const { GATEHOUSE_MODELS_DIR, XDG_CACHE_HOME } = process.env;
const modelsDir =
  GATEHOUSE_MODELS_DIR || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'gatehouse', 'models');

/** The model that `npm test` has fetched. Opening it fails with a sentence where it is missing. */
export const modelName = 'smollm2-135m-instruct';
export const modelFile = join(modelsDir, modelName, 'model.gguf');

/** A small configuration of it; one thread, because tests share the machine. */
export const llamaConfig: LlamaConfig = {
  name: modelName,
  engine: 'llama.cpp',
  modelFile,
  contextTokensMax: 256,
  outputTokensDefault: 32,
  queueDepthMax: 2,
  sequencesMax: 2,
  batchTokensMax: 64,
  threadsMax: 1,
  kvCacheType: 'q8_0',
};
