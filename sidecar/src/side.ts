import { createIdSource } from '@gatehouse/telemetry/trace-context';
import { type Foundations, patienceOf, UPSTREAM_SETTINGS } from './foundations.ts';
import { type ConnectionSettings, defaultSettings } from './http2/index.ts';
import { Connections } from './listen/connections.ts';
import { AdmissionControl } from './path/5-admit.ts';
import { Observer } from './path/8-observe.ts';
import type { Direction } from './path/call.ts';
import { CallAudit } from './path/call-audit.ts';
import { CallMetrics } from './path/call-metrics.ts';
import { Pipeline } from './path/pipeline.ts';
import { StatedContracts } from './path/stated-contract.ts';
import { LoadShedder } from './shed/index.ts';
import { type AppPool, createAppPool } from './upstream/index.ts';

/** One direction: its listener's connections, the path they lead to, and what is counted of it. */
export type Side = {
  readonly direction: Direction;
  readonly connections: Connections;
  readonly pipeline: Pipeline;
  readonly metrics: CallMetrics;
  readonly admission: AdmissionControl;
  /** Null on egress. */
  readonly audit: CallAudit | null;
  /** Null on egress, and where load shedding is off. */
  readonly shedder: LoadShedder | null;
};

export function openAppPool(address: string, { config, clock }: Foundations): AppPool {
  return createAppPool({
    address,
    connectionsMax: config.limits.appConnectionsMax,
    settings: UPSTREAM_SETTINGS,
    clock,
    random: Math.random,
  });
}

export function makeSide(direction: Direction, base: Foundations, app: AppPool | null): Side {
  const { config, clock, logger, contract, policy } = base;
  const metrics = new CallMetrics(direction);
  const { adaptive, callsActiveMax } = config.limits;
  const shedder =
    direction === 'inbound' && adaptive.enabled ? new LoadShedder(adaptive, callsActiveMax) : null;
  const admission = new AdmissionControl(config.limits, shedder, clock);
  const audit =
    direction === 'inbound'
      ? new CallAudit({
          log: base.records?.log ?? null,
          policy: () => policy?.current() ?? null,
          workload: () => base.identity.current().spiffeId,
          clock,
        })
      : null;
  const observer = new Observer({
    clock,
    ids: createIdSource(),
    sampleRatio: config.telemetry.sampleRatio,
    spans: base.spans,
    metrics,
    decisions: base.decisions,
    audit,
    logger,
  });
  const pipeline = new Pipeline({
    direction,
    contract,
    stated: new StatedContracts(contract.version),
    clock,
    policy: direction === 'inbound' && policy !== null ? () => policy.current() : () => null,
    protectors: base.protectors,
    tokens: base.tokens,
    admission,
    quotas: direction === 'inbound' ? base.quotas : null,
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
  return { direction, connections, pipeline, metrics, admission, audit, shedder };
}
