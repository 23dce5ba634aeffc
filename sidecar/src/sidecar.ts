import type { Logger } from '@gatehouse/telemetry/logger';
import { stringify } from 'yaml';
import { type AdminServer, serveAdmin } from './admin/admin-server.ts';
import { type AppHealth, watchAppHealth } from './admin/app-health.ts';
import { createMetrics, type MetricSources, OPEN_METRICS, TEXT_FORMAT } from './admin/metrics.ts';
import { serveTelemetry, type TelemetryParts, type TelemetryServer } from './admin/telemetry-server.ts';
import type { SidecarConfig } from './config/schema.ts';
import { type ContractState, contractNotes, contractNotReady } from './contract-state.ts';
import { Drain } from './drain.ts';
import { type Foundations, layFoundations } from './foundations.ts';
import { listenEgress } from './listen/egress-listener.ts';
import { listenInbound } from './listen/inbound-listener.ts';
import type { Clock } from './path/call.ts';
import { policyNotes, policyProblems } from './policy-state.ts';
import { makeSide, openAppPool, type Side } from './side.ts';
import type { AppPool } from './upstream/index.ts';

/** A sidecar that runs. Addresses are real, also where port 0 was asked for. */
export type Sidecar = {
  readonly inboundAddress: string | null;
  readonly egressAddress: string | null;
  readonly telemetryAddress: string;
  readonly adminAddress: string;
  /** Not ready → GOAWAY → calls in flight finish → closed, within limits.drainMsMax. Resolves when all is closed. */
  drain(): Promise<void>;
};

/**
 * Builds the parts and starts listening.
 * @throws StartFailure when a file is missing or wrong, ListenError when an address can't be had
 */
export async function startSidecar(config: SidecarConfig, clock: Clock, logger: Logger): Promise<Sidecar> {
  const base = await layFoundations(config, clock, logger);
  const { identity } = base;
  const app = config.inbound ? openAppPool(config.inbound.app, base) : null;
  const health = config.inbound ? watchAppHealth(config.inbound.app, clock) : null;
  const inbound = config.inbound ? makeSide('inbound', base, app) : null;
  const egress = config.egress ? makeSide('egress', base, null) : null;
  const contract = (): ContractState => ({
    enforced: base.contract.version,
    app: health?.contractVersion() ?? null,
  });
  const sides = [inbound, egress].filter((side) => side !== null);
  const drain = new Drain({ limits: config.limits, inbound, egress });

  const admin = await serveAdmin(config.admin.listen, {
    config: () => describeConfig(base, contract()),
    upstreams: () => base.upstreams.views(),
    decisions: base.decisions,
    clock,
    policy: () => base.policy?.current() ?? null,
    drainInbound: inbound && (() => drain.inbound()),
  });
  const telemetry = await serveTelemetry(config.telemetry.listen, {
    notReadyBecause: async () => {
      const reasons = await notReadyBecause(drain, health, inbound);
      return [...reasons, contractNotReady(contract())].filter((reason) => reason !== '');
    },
    drained: () => drain.inboundEnded,
    untilDrained: () => drain.untilInboundEnded(),
    notes: () => [
      ...(inbound?.audit?.notes() ?? []),
      ...quotaNotes(base),
      ...policyNotes(base),
      ...contractNotes(contract()),
    ],
    metrics: metricsOf(base, sides, contract),
  });
  const limits = config.limits;
  const egressListener =
    egress && config.egress
      ? await listenEgress(config.egress.listen, { identity, connections: egress.connections, limits })
      : null;
  const inboundListener =
    inbound && config.inbound
      ? await listenInbound(config.inbound.listen, {
          identity,
          connections: inbound.connections,
          pipeline: inbound.pipeline,
          clock,
          logger,
          limits,
        })
      : null;
  drain.listensOn({ inbound: inboundListener, egress: egressListener });

  return {
    inboundAddress: inboundListener?.address ?? null,
    egressAddress: egressListener?.address ?? null,
    telemetryAddress: telemetry.address,
    adminAddress: admin.address,
    drain: async () => {
      await drain.all();
      await stop({ base, app, health, admin, telemetry });
    },
  };
}

async function notReadyBecause(
  drain: Drain,
  health: AppHealth | null,
  inbound: Side | null,
): Promise<string[]> {
  if (drain.begun) return ['the sidecar is draining'];
  const unrecorded = inbound?.audit?.notReadyBecause() ?? '';
  const app = health === null ? '' : await health.check();
  return [unrecorded, app].filter((reason) => reason !== '');
}

/** What is wrong with limits although calls that they don't concern go on. */
function quotaNotes({ quotas, policy }: Foundations): string[] {
  if (quotas === null || policy === null) return [];
  const isShared = policy.current().limits.some(({ store }) => store === 'shared');
  if (isShared && !quotas.hasStore)
    return ['policy has limits in the shared store, and the configuration has no sharedLimits'];
  return quotas.storeProblem === null
    ? []
    : [`the store of shared limits cannot be asked: ${quotas.storeProblem}`];
}

function metricsOf(
  base: Foundations,
  sides: readonly Side[],
  contract: () => ContractState,
): TelemetryParts['metrics'] {
  const sources: MetricSources = {
    calls: sides.map(({ metrics }) => metrics),
    listeners: sides.map(({ direction, connections }) => ({
      direction,
      counts: connections.counts,
      open: () => connections.open.size,
    })),
    callsActive: (direction) =>
      sides.find((side) => side.direction === direction)?.admission.callsActive ?? 0,
    shedder: sides.find(({ direction }) => direction === 'inbound')?.shedder ?? null,
    upstreams: () => base.upstreams.views(),
    endpointSources: () => base.endpoints.views(),
    clock: base.clock,
    identityTimes: () => base.identity.current(),
    identityFails: () => base.identity.problem() !== null,
    contract,
    policy: () =>
      base.policy && {
        version: base.policy.current().version,
        loadedAtMs: base.policy.loadedAtMs(),
        refusedBecause: base.policy.refusal()?.reason ?? null,
        shadowVersion: base.policy.current().shadow?.version ?? null,
        shadowRefusedBecause: base.policy.shadowRefusal()?.reason ?? null,
      },
    records: base.records,
    quotas: base.quotas,
    protectionHits: base.protectors.hits,
    spans: base.spans,
    heldBytes: () => base.held.usedBytes,
  };
  const text = createMetrics(sources, TEXT_FORMAT);
  const openMetrics = createMetrics(sources, OPEN_METRICS);
  return async (asOpenMetrics) => {
    const registry = asOpenMetrics ? openMetrics : text;
    return { contentType: registry.contentType, body: await registry.metrics() };
  };
}

function describeConfig({ config, identity, policy, contract }: Foundations, state: ContractState) {
  const { spiffeId, notAfterMs } = identity.current();
  return {
    configYaml: stringify(config),
    identity: spiffeId,
    identityExpires: new Date(notAfterMs),
    policyVersion: policy?.current().version ?? '',
    policyError: policyProblems(policy).join('\n'),
    descriptorsDigest: contract.digest,
    contractVersion: state.enforced ?? '',
    appContractVersion: state.app ?? '',
  };
}

type Stopping = {
  readonly base: Foundations;
  readonly app: AppPool | null;
  readonly health: AppHealth | null;
  readonly admin: AdminServer;
  readonly telemetry: TelemetryServer;
};

async function stop({ base, app, health, admin, telemetry }: Stopping): Promise<void> {
  app?.close();
  base.endpoints.close();
  base.upstreams.close();
  health?.close();
  base.identity.close();
  base.policy?.close();
  base.tokens.close();
  await base.quotas?.close();
  admin.close();
  telemetry.close();
  await base.records?.close();
  await base.spans.shutdown();
}
