import { randomBytes } from 'node:crypto';
import type { Contract } from '@gatehouse/contracts';
import type { IdentitySource } from '@gatehouse/identity';
import type { Logger } from '@gatehouse/telemetry/logger';
import { createSpanRecorder, type SpanRecorder } from '@gatehouse/telemetry/span-recorder';
import { loadContractFiles } from './config/load-contract-files.ts';
import { loadProtectionKeys } from './config/load-protection-keys.ts';
import { followPolicy, type PolicySource } from './config/policy-source.ts';
import type { SidecarConfig } from './config/schema.ts';
import { type FollowedEndpoints, followEndpoints } from './endpoints/index.ts';
import { type ConnectionSettings, defaultSettings } from './http2/index.ts';
import { openIdentity } from './open-identity.ts';
import { openQuotas } from './open-quotas.ts';
import { ByteBudget } from './path/byte-budget.ts';
import type { Clock } from './path/call.ts';
import { DeadlineWheel } from './path/deadline-wheel.ts';
import { DecisionLog } from './path/decision-log.ts';
import { ResponseBacklog } from './path/response-backlog.ts';
import { Protectors, type Pseudonyms } from './protect/index.ts';
import type { Quotas } from './quota/index.ts';
import { type DecisionRecords, recordDecisions } from './record-decisions.ts';
import { StartFailure } from './start-failure.ts';
import { createTokenVerifier, type TokenVerifier } from './tokens/index.ts';
import { createUpstreams, type Upstreams } from './upstream/index.ts';

/** What both directions stand on. */
export type Foundations = {
  readonly config: SidecarConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly contract: Contract;
  readonly identity: IdentitySource;
  readonly policy: PolicySource | null;
  readonly protectors: Protectors;
  readonly tokens: TokenVerifier;
  readonly spans: SpanRecorder;
  readonly upstreams: Upstreams;
  readonly endpoints: FollowedEndpoints;
  readonly decisions: DecisionLog;
  /** Null without inbound calls. */
  readonly quotas: Quotas | null;
  /** Null: the configuration has no audit folder. */
  readonly records: DecisionRecords | null;
  readonly deadlines: DeadlineWheel;
  readonly held: ByteBudget;
  readonly backlog: ResponseBacklog;
};

/** A connection that many callers share has a wide window, and a stream no more than a response or two. */
export const UPSTREAM_SETTINGS: ConnectionSettings = {
  ...defaultSettings,
  connectionWindowBytes: 16 * 1024 * 1024,
  initialStreamWindowBytes: 128 * 1024,
};
/** A write that does not finish for as long has no reader at all. */
const WRITE_MS_MAX = 60_000;

/** @throws StartFailure when a file is missing or wrong */
export async function layFoundations(
  config: SidecarConfig,
  clock: Clock,
  logger: Logger,
): Promise<Foundations> {
  const [loaded, watched] = await Promise.all([
    loadContractFiles({
      descriptorSetFile: config.contract.descriptorSetFile,
      overlayFiles: config.contract.overlayFiles,
    }),
    openIdentity(config, clock, logger),
  ]);
  if ('problems' in loaded || 'problems' in watched) {
    const each = [loaded, watched].map((part) => ('problems' in part ? part.problems : []));
    throw new StartFailure(each.flat());
  }
  const { contract } = loaded;
  const protectors = new Protectors(contract, await loadKeys(config));
  const policy = await loadPolicy(config, contract, protectors, { clock, logger });
  const upstreams = openUpstreams(config, watched.source, clock, logger);
  return {
    config,
    clock,
    logger,
    contract,
    identity: watched.source,
    policy,
    protectors,
    tokens: createTokenVerifier({
      issuers: () => policy?.current().document.jwtIssuers ?? [],
      clock,
      onKeys: (issuer, outcome) => logger.info({ issuer, ...outcome }, 'token keys looked up'),
    }),
    spans: await createSpanRecorder({
      serviceName: `${config.name}-sidecar`,
      ...config.telemetry,
      onExportFailure: (error) => logger.warn({ error: error.message }, 'spans could not be exported'),
    }),
    upstreams,
    endpoints: await followEndpoints({
      config,
      clock,
      random: Math.random,
      onEndpoints: (upstream, addresses) => {
        logger.info({ upstream, endpoints: addresses.length }, 'endpoints changed');
        upstreams.setEndpoints(upstream, addresses);
      },
      onProblem: (upstream, problem) =>
        problem === ''
          ? logger.info({ upstream }, 'endpoints are known again')
          : logger.warn({ upstream, problem }, 'endpoints cannot be looked up, the last good ones stay'),
    }),
    quotas: config.inbound === undefined ? null : await openQuotas(config, clock, logger),
    records: await recordDecisions({ config, identity: watched.source, policy, clock, logger }),
    decisions: new DecisionLog(config.limits.decisionsKeptMax, randomBytes(5).toString('hex')),
    deadlines: new DeadlineWheel(clock),
    held: new ByteBudget(config.limits.heldBytesMax),
    backlog: new ResponseBacklog(config.limits.unreadBytesMax),
  };
}

function openUpstreams(
  config: SidecarConfig,
  identity: IdentitySource,
  clock: Clock,
  logger: Logger,
): Upstreams {
  const listed = config.upstreams.map(({ name, identity, endpoints = [] }) => ({
    name,
    identity,
    endpoints,
  }));
  return createUpstreams(listed, {
    identity,
    settings: { ...UPSTREAM_SETTINGS, ...patienceOf(config) },
    clock,
    random: Math.random,
    onBreakerChange: (upstream, endpoint, change) =>
      logger.warn({ upstream, endpoint, ...change }, 'circuit changed'),
  });
}

/** How long peers of the network may be silent or slow. */
export function patienceOf({ limits }: SidecarConfig): Partial<ConnectionSettings> {
  return {
    keepaliveIntervalMs: limits.keepaliveMs,
    keepaliveTimeoutMs: limits.keepaliveAnswerMsMax,
    streamStallTimeoutMs: limits.slowReaderMsMax,
    writeTimeoutMs: Math.min(WRITE_MS_MAX, limits.slowReaderMsMax),
  };
}

async function loadKeys({ protection }: SidecarConfig): Promise<ReadonlyMap<string, Pseudonyms>> {
  const loaded = await loadProtectionKeys(protection.keys);
  if ('problems' in loaded) throw new StartFailure(loaded.problems);
  return loaded.keys;
}

async function loadPolicy(
  { policyFile, shadowPolicyFile, policySigners: signersFile }: SidecarConfig,
  contract: Contract,
  protectors: Protectors,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<PolicySource | null> {
  if (policyFile === undefined) return null;
  const followed = await followPolicy({ policyFile, shadowPolicyFile, signersFile }, contract, {
    clock,
    protectors,
    onLoaded: (policy) => logger.info({ policyVersion: policy.version }, 'policy loaded'),
    onRefused: (problems) => logger.error({ problems }, 'new policy refused, the last good one stays'),
  });
  if ('problems' in followed) throw new StartFailure(followed.problems);
  return followed.source;
}
