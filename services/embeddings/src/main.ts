import { runMain } from '@gatehouse/service-kit/main';
import { embeddingsConfig } from './config.ts';

await runMain({ schema: embeddingsConfig, load: () => import('./start.ts') });
