import { runMain } from '@gatehouse/service-kit/main';
import { inferenceConfig } from './config.ts';

await runMain({ schema: inferenceConfig, load: () => import('./start.ts') });
