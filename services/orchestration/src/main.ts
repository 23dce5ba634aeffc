import { runMain } from '@gatehouse/service-kit/main';
import { orchestrationConfig } from './config.ts';

await runMain({ schema: orchestrationConfig, load: () => import('./start.ts') });
