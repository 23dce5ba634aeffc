import { randomBytes } from 'node:crypto';
import type { Contract } from '@gatehouse/contracts';
import { type IdentitySource, watchIdentity } from '@gatehouse/identity';
import type { Logger } from '@gatehouse/telemetry/logger';
import { createSpanRecorder, type SpanRecorder } from '@gatehouse/telemetry/span-recorder';
import { createIdSource } from '@gatehouse/telemetry/trace-context';
import { stringify } from 'yaml';
import { type AdminServer, serveAdmin } from './admin/admin-server.ts';
import { type AppHealth, watchAppHealth } from './admin/app-health.ts';
import { createMetrics } from './admin/metrics.ts';
import { serveTelemetry, type TelemetryServer } from './admin/telemetry-server.ts';
import { loadContractFiles } from './config/load-contract-files.ts';
import { followPolicy, type PolicySource } from './config/policy-source.ts';
import type { SidecarConfig } from './config/schema.ts';
import { type ConnectionSettings, defaultSettings } from './http2/index.ts';
import { Connections } from './listen/connections.ts';
import { listenEgress } from './listen/egress-listener.ts';
import { type InboundListener, listenInbound } from './listen/inbound-listener.ts';
import { AdmissionControl } from './path/5-admit.ts';
import { Observer } from './path/8-observe.ts';
import { ByteBudget } from './path/byte-budget.ts';
import type { Clock, Direction } from './path/call.ts';
import { CallMetrics } from './path/call-metrics.ts';
import { DeadlineWheel } from './path/deadline-wheel.ts';
import { DecisionLog } from './path/decision-log.ts';
import { Pipeline } from './path/pipeline.ts';
import { ResponseBacklog } from './path/response-backlog.ts';
import { createTokenVerifier, type TokenVerifier } from './tokens/index.ts';
import { type AppPool, createAppPool, createUpstreams, type Upstreams } from './upstream/index.ts';

/** A sidecar that runs. Addresses are real, also where port 0 was asked for. */
export type Sidecar = {
  readonly inboundAddress: string | null;
  readonly egressAddress: string | null;
  readonly telemetryAddress: string;
  readonly adminAddress: string;
  /** Not ready → GOAWAY → calls in flight finish → closed, within limits.drainMsMax. Resolves when all is closed. */
  drain(): Promise<void>;
};

/** Why a sidecar can't start: one sentence a problem. */
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

type Foundations = {
  readonly config: SidecarConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly contract: Contract;
  readonly identity: IdentitySource;
  readonly policy: PolicySource | null;
  readonly tokens: TokenVerifier;
  readonly spans: SpanRecorder;
  readonly upstreams: Upstreams;
  readonly decisions: DecisionLog;
  readonly deadlines: DeadlineWheel;
  readonly held: ByteBudget;
  readonly backlog: ResponseBacklog;
};

/** A connection that many callers share has a wide window, and a stream no more than a response or two. */
const UPSTREAM_SETTINGS: ConnectionSettings = {
  ...defaultSettings,
  connectionWindowBytes: 16 * 1024 * 1024,
  initialStreamWindowBytes: 128 * 1024,
};
/** A write that does not finish for as long has no reader at all. */
const WRITE_MS_MAX = 60_000;

/** One direction: its listener's connections, the path they lead to, and what is counted of it. */
type Side = {
  readonly direction: Direction;
  readonly connections: Connections;
  readonly pipeline: Pipeline;
  readonly metrics: CallMetrics;
  readonly admission: AdmissionControl;
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
  const sides = [inbound, egress].filter((side) => side !== null);
  const state = { draining: false };

  const admin = await serveAdmin(config.admin.listen, {
    config: () => describeConfig(base),
    upstreams: () => base.upstreams.views(),
    decisions: base.decisions,
    policy: () => base.policy?.current() ?? null,
  });
  const telemetry = await serveTelemetry(config.telemetry.listen, {
    notReadyBecause: () => notReadyBecause(state, health),
    metrics: metricsOf(base, sides),
  });
  const listeners: InboundListener[] = [];
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
  for (const listener of [inboundListener, egressListener]) if (listener) listeners.push(listener);

  return {
    inboundAddress: inboundListener?.address ?? null,
    egressAddress: egressListener?.address ?? null,
    telemetryAddress: telemetry.address,
    adminAddress: admin.address,
    drain: async () => {
      state.draining = true;
      await drain({ base, inbound, egress, inboundListener, egressListener });
      await stop({ base, app, health, admin, telemetry });
    },
  };
}

async function layFoundations(config: SidecarConfig, clock: Clock, logger: Logger): Promise<Foundations> {
  const [loaded, watched] = await Promise.all([
    loadContractFiles({
      descriptorSetFile: config.contract.descriptorSetFile,
      overlayFiles: config.contract.overlayFiles,
    }),
    watchIdentity({
      ...config.identity,
      clock,
      onChange: (next) =>
        logger.info(
          { identity: next.spiffeId, expires: new Date(next.notAfterMs).toISOString() },
          'identity renewed',
        ),
      onError: (problem) => logger.error({ ...problem }, 'new identity refused, the last good one stays'),
    }),
  ]);
  const problems = [
    ...('problems' in loaded ? loaded.problems : []),
    ...('problem' in watched
      ? [`${config.identity.certificateFile}: ${watched.problem.code}: ${watched.problem.detail}`]
      : []),
  ];
  if ('problems' in loaded || 'problem' in watched) throw new StartFailure(problems);
  const { contract } = loaded;
  const policy =
    config.policyFile === undefined ? null : await loadPolicy(config.policyFile, contract, clock, logger);
  return {
    config,
    clock,
    logger,
    contract,
    identity: watched.source,
    policy,
    tokens: createTokenVerifier({
      issuers: () => policy?.current().document.jwtIssuers ?? [],
      clock,
      onKeys: (issuer, outcome) => logger.info({ issuer, ...outcome }, 'token keys looked up'),
    }),
    spans: await createSpanRecorder({
      serviceName: `${config.name}-sidecar`,
      otlpEndpoint: config.telemetry.otlpEndpoint,
      onExportFailure: (error) => logger.warn({ error: error.message }, 'spans could not be exported'),
    }),
    upstreams: createUpstreams(config.upstreams, {
      identity: watched.source,
      settings: { ...UPSTREAM_SETTINGS, ...patienceOf(config) },
      clock,
      random: Math.random,
      onBreakerChange: (upstream, endpoint, change) =>
        logger.warn({ upstream, endpoint, ...change }, 'circuit changed'),
    }),
    decisions: new DecisionLog(config.limits.decisionsKeptMax, randomBytes(5).toString('hex')),
    deadlines: new DeadlineWheel(clock),
    held: new ByteBudget(config.limits.heldBytesMax),
    backlog: new ResponseBacklog(config.limits.unreadBytesMax),
  };
}

/** How long peers of the network may be silent or slow. */
function patienceOf({ limits }: SidecarConfig): Partial<ConnectionSettings> {
  return {
    keepaliveIntervalMs: limits.keepaliveMs,
    keepaliveTimeoutMs: limits.keepaliveAnswerMsMax,
    streamStallTimeoutMs: limits.slowReaderMsMax,
    writeTimeoutMs: Math.min(WRITE_MS_MAX, limits.slowReaderMsMax),
  };
}

async function loadPolicy(
  file: string,
  contract: Contract,
  clock: Clock,
  logger: Logger,
): Promise<PolicySource> {
  const followed = await followPolicy(file, contract, {
    clock,
    onLoaded: (policy) => logger.info({ policyVersion: policy.version }, 'policy loaded'),
    onRefused: (problems) => logger.error({ problems }, 'new policy refused, the last good one stays'),
  });
  if ('problems' in followed) throw new StartFailure(followed.problems);
  return followed.source;
}

function openAppPool(address: string, { config, clock }: Foundations): AppPool {
  return createAppPool({
    address,
    connectionsMax: config.limits.appConnectionsMax,
    settings: UPSTREAM_SETTINGS,
    clock,
    random: Math.random,
  });
}

function makeSide(direction: Direction, base: Foundations, app: AppPool | null): Side {
  const { config, clock, logger, contract, policy } = base;
  const metrics = new CallMetrics(direction);
  const admission = new AdmissionControl(config.limits);
  const observer = new Observer({
    clock,
    ids: createIdSource(),
    sampleRatio: config.telemetry.sampleRatio,
    spans: base.spans,
    metrics,
    decisions: base.decisions,
    logger,
  });
  const pipeline = new Pipeline({
    direction,
    contract,
    clock,
    policy: direction === 'inbound' && policy !== null ? () => policy.current() : () => null,
    tokens: base.tokens,
    admission,
    app,
    upstreams: base.upstreams,
    observer,
    deadlines: base.deadlines,
    held: base.held,
    backlog: base.backlog,
    limits: config.limits,
    onBug: (error) => logger.error({ err: error }, 'a stage threw'),
  });
  const settings: ConnectionSettings = {
    ...defaultSettings,
    ...patienceOf(config),
    maxConcurrentStreams: config.limits.streamsPerConnectionMax,
  };
  const connections = new Connections(pipeline, settings, ({ cause, ...close }) =>
    logger.info({ direction, ...close, err: cause }, 'connection closed with an error'),
  );
  return { direction, connections, pipeline, metrics, admission };
}

async function notReadyBecause(
  state: { readonly draining: boolean },
  health: AppHealth | null,
): Promise<string[]> {
  if (state.draining) return ['the sidecar is draining'];
  const app = health === null ? '' : await health.check();
  return app === '' ? [] : [app];
}

function metricsOf(
  base: Foundations,
  sides: readonly Side[],
): () => Promise<{ contentType: string; body: string }> {
  const registry = createMetrics({
    calls: sides.map(({ metrics }) => metrics),
    listeners: sides.map(({ direction, connections }) => ({
      direction,
      counts: connections.counts,
      open: () => connections.open.size,
    })),
    callsActive: (direction) =>
      sides.find((side) => side.direction === direction)?.admission.callsActive ?? 0,
    upstreams: () => base.upstreams.views(),
    identityExpiresAtMs: () => base.identity.current().notAfterMs,
    policy: () =>
      base.policy && {
        version: base.policy.current().version,
        loadedAtMs: base.policy.loadedAtMs(),
        refused: base.policy.refusedBecause().length > 0,
      },
    spans: base.spans,
    heldBytes: () => base.held.usedBytes,
  });
  return async () => ({ contentType: registry.contentType, body: await registry.metrics() });
}

function describeConfig({ config, identity, policy, contract }: Foundations) {
  const { spiffeId, notAfterMs } = identity.current();
  return {
    configYaml: stringify(config),
    identity: spiffeId,
    identityExpires: new Date(notAfterMs),
    policyVersion: policy?.current().version ?? '',
    policyError: policy?.refusedBecause().join('\n') ?? '',
    descriptorsDigest: contract.digest,
  };
}

type Draining = {
  readonly base: Foundations;
  readonly inbound: Side | null;
  readonly egress: Side | null;
  readonly inboundListener: InboundListener | null;
  readonly egressListener: InboundListener | null;
};

/** Inbound first; egress serves on until what came in has been answered, because answers may need it. */
async function drain({ base, inbound, egress, inboundListener, egressListener }: Draining): Promise<void> {
  const { drainNoticeMs, drainMsMax } = base.config.limits;
  await delay(drainNoticeMs);
  const late = delay(drainMsMax);
  inboundListener?.close();
  if (inbound) await Promise.race([inbound.connections.drain(), late]);
  egressListener?.close();
  if (egress) await Promise.race([egress.connections.drain(), late]);
  inbound?.connections.cut();
  egress?.connections.cut();
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
  base.upstreams.close();
  health?.close();
  base.identity.close();
  base.policy?.close();
  base.tokens.close();
  admin.close();
  telemetry.close();
  await base.spans.shutdown();
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
