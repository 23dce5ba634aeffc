import { defineConfig } from 'vitest/config';

const EVERYWHERE = { testTimeout: 30_000, hookTimeout: 60_000, pool: 'forks' } as const;
/** They tell how others fare beside an attack, so nothing else may run beside them. */
const ALONE = ['sidecar/test/hostile/*.test.ts'];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...EVERYWHERE,
          name: 'side by side',
          include: [
            'libs/*/{src,test}/**/*.test.ts',
            'services/*/{src,test}/**/*.test.ts',
            'sidecar/{src,test}/**/*.test.ts',
          ],
          exclude: ALONE,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: { ...EVERYWHERE, name: 'alone', include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
