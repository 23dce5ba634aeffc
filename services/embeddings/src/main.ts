/**
 * glibc keeps what loading a model frees (75 MB of 380 measured) unless it is told before the process starts, so
 * the process starts itself once more in its own place, with the same pid. Other systems have no such setting.
 */
const allocatorSetting = 'MALLOC_TRIM_THRESHOLD_';
if (process.platform === 'linux' && process.env[allocatorSetting] === undefined) {
  const args = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  process.execve?.(process.execPath, args, { ...process.env, [allocatorSetting]: '131072' });
}

const { runMain } = await import('@gatehouse/service-kit/main');
const { embeddingsConfig } = await import('./config.ts');
await runMain({ schema: embeddingsConfig, load: () => import('./start.ts') });
