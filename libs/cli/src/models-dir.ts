import { join, resolve } from 'node:path';

/** The folder with one folder per model, as the set-up of `npm start` fills it. */
export function modelsDir(env: Readonly<Record<string, string | undefined>>): string {
  const given = env['GATEHOUSE_MODELS_DIR'];
  if (given !== undefined && given !== '') return resolve(given);
  const cache = env['XDG_CACHE_HOME'] || join(env['HOME'] || env['USERPROFILE'] || '.', '.cache');
  return resolve(cache, 'gatehouse', 'models');
}
