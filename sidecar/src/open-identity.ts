import {
  type IdentityProblem,
  type IdentitySource,
  watchIdentity,
  watchWorkloadApi,
} from '@gatehouse/identity';
import type { Logger } from '@gatehouse/telemetry/logger';
import type { SidecarConfig } from './config/schema.ts';
import type { Clock } from './path/call.ts';

/** Opens the identity's source that the configuration names. */
export async function openIdentity(
  { identity }: SidecarConfig,
  clock: Clock,
  logger: Logger,
): Promise<{ readonly source: IdentitySource } | { readonly problems: readonly string[] }> {
  const events = {
    trustDomain: identity.trustDomain,
    clock,
    onChange: ({ spiffeId, notAfterMs }: { spiffeId: string; notAfterMs: number }) =>
      logger.info({ identity: spiffeId, expires: new Date(notAfterMs).toISOString() }, 'identity renewed'),
    onError: (problem: IdentityProblem) =>
      logger.error({ ...problem }, 'no new identity, the last good one stays'),
  };
  const { workloadApi, spiffeId, certificateFile = '', keyFile = '', bundleFile = '' } = identity;
  const opened =
    workloadApi === undefined
      ? await watchIdentity({ ...events, certificateFile, keyFile, bundleFile })
      : await watchWorkloadApi({ ...events, address: workloadApi, spiffeId, random: Math.random });
  if ('source' in opened) return opened;
  const { code, detail } = opened.problem;
  return { problems: [`${workloadApi ?? certificateFile}: ${code}: ${detail}`] };
}
