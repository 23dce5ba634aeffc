/**
 * glibc keeps what loading a model frees (70 MB of 380 measured) unless it is told before the process starts: what
 * is larger than two megabytes goes back to the system at once. The nursery of the heap is kept small, because answers
 * full of numbers would touch all of a large one. So the process starts itself once more in its own place, with the
 * same pid. Where there is no glibc it starts once and is larger.
 */
const memorySettings = { MALLOC_MMAP_THRESHOLD_: '2097152', MALLOC_TRIM_THRESHOLD_: '8388608' };
const nurserySetting = '--max-semi-space-size=4';
if (process.platform === 'linux' && process.env['MALLOC_MMAP_THRESHOLD_'] === undefined) {
  const args = [process.execPath, nurserySetting, ...process.execArgv, ...process.argv.slice(1)];
  process.execve?.(process.execPath, args, { ...process.env, ...memorySettings });
}

const { runMain } = await import('@gatehouse/service-kit/main');
const { embeddingsConfig } = await import('./config.ts');
await runMain({ schema: embeddingsConfig, load: () => import('./start.ts') });
