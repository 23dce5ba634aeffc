import { randomBytes } from 'node:crypto';
import type { Logger } from '@gatehouse/telemetry/logger';
import type { SidecarConfig } from './config/schema.ts';
import type { Clock } from './path/call.ts';
import { connectRedis, Quotas, SharedStore } from './quota/index.ts';
import { StartFailure } from './start-failure.ts';

/**
 * Limits are counted in memory, and in the store of `sharedLimits` where there is one. A store that is not there yet keeps
 * no sidecar from starting.
 * @throws StartFailure when a file of the store's cannot be read
 */
export async function openQuotas(config: SidecarConfig, clock: Clock, logger: Logger): Promise<Quotas> {
  const { quotaAccountsMax, outputTokensDefault } = config.limits;
  return new Quotas({
    clock,
    accountsMax: quotaAccountsMax,
    outputTokensDefault,
    shared: await openStore(config, clock, logger),
  });
}

async function openStore(
  { sharedLimits, limits }: SidecarConfig,
  clock: Clock,
  logger: Logger,
): Promise<SharedStore | null> {
  if (sharedLimits === undefined) return null;
  const { redis, keyPrefix, answerMsMax, leaseMs } = sharedLimits;
  const runner = await connectRedis(redis, {
    answerMsMax,
    onChange: (problem) =>
      problem === null
        ? logger.info('the store of shared limits can be asked')
        : logger.error({ problem }, 'the store of shared limits cannot be asked'),
  }).catch((error: Error) => {
    throw new StartFailure([`sharedLimits.redis: ${error.message}`]);
  });
  return new SharedStore({
    runner,
    keyPrefix,
    leaseMs,
    outputTokensStep: limits.outputTokensDefault,
    instance: randomBytes(9).toString('base64url'),
    clock,
  });
}
