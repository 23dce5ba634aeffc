import { homedir } from 'node:os';
import { join } from 'node:path';

const { GATEHOUSE_MODELS_DIR, XDG_CACHE_HOME } = process.env;
const modelsDir =
  GATEHOUSE_MODELS_DIR || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'gatehouse', 'models');

/** The model that `npm test` has fetched. */
export const MODEL = 'all-minilm-l6-v2';
export const modelFiles = {
  modelFile: join(modelsDir, MODEL, 'model.onnx'),
  tokenizerFile: join(modelsDir, MODEL, 'tokenizer.json'),
};
