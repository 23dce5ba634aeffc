import type { KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { AuditRecord } from '@gatehouse/contracts/audit';
import type { IdentitySource } from '@gatehouse/identity';
import { createLogRecorder, type LogRecorder } from '@gatehouse/telemetry/log-recorder';
import type { Logger } from '@gatehouse/telemetry/logger';
import { ATTRIBUTES } from '@gatehouse/telemetry/names';
import {
  auditRules,
  type Checkpoint,
  type OpenAudit,
  openAudit,
  readSigningKey,
  type WrittenEntry,
} from './audit/index.ts';
import type { PolicySource } from './config/policy-source.ts';
import type { SidecarConfig } from './config/schema.ts';
import type { Clock } from './path/call.ts';
import { StartFailure } from './start-failure.ts';

/** The audit trail of a sidecar: on disk, and on its way to a collector. */
export type DecisionRecords = Pick<OpenAudit, 'log' | 'checkpointAtMs'> & {
  readonly exported: LogRecorder['totals'];
  /** Writes and signs what there is, and lets the collector have it. */
  close(): Promise<void>;
};

const EVENTS = {
  record: 'gatehouse.audit.record',
  checkpoint: 'gatehouse.audit.checkpoint',
  chain: 'gatehouse.audit.chain',
} as const;

/**
 * @returns null without an audit folder, and without inbound: egress decides nothing
 * @throws StartFailure when the key or the folder can't be used, or when the chain is broken and policy refuses calls then
 */
export async function recordDecisions(of: {
  readonly config: SidecarConfig;
  readonly identity: IdentitySource;
  readonly policy: PolicySource | null;
  readonly clock: Clock;
  readonly logger: Logger;
}): Promise<DecisionRecords | null> {
  const { clock, logger } = of;
  const { name, audit: config, inbound } = of.config;
  if (config === undefined || inbound === undefined) return null;
  const policy = of.policy?.current() ?? null;
  const key = config.signingKeyFile === undefined ? null : await loadKey(config.signingKeyFile);
  const events = await createLogRecorder({
    serviceName: `${name}-sidecar`,
    ...config,
    onExportFailure: (error) => logger.warn({ error: error.message }, 'audit records could not be exported'),
  });
  const opened = await openAudit({
    folder: config.folder,
    limits: { ...config, segmentsKeptMax: config.segmentsKeptMax ?? null },
    clock,
    workload: of.identity.current().spiffeId,
    policyVersion: policy?.version ?? '',
    onBroken: auditRules(policy).refusesOnFailure ? 'refuse' : 'set-aside',
    onFailing: (reason) => logger.error({ reason }, 'audit records cannot be written'),
    onRecovered: (lost) => logger.warn(lost, 'audit records are written again'),
    onWritten: (entry) => {
      if (events.enabled) exportEntry(events, entry, clock());
    },
    signing: key && {
      key,
      everyEntries: config.checkpointEveryEntries,
      everyMs: config.checkpointEveryMs,
      onCheckpoint: (checkpoint, jws) => {
        logger.info({ sequence: checkpoint.sequence, jws }, 'audit checkpoint');
        exportCheckpoint(events, checkpoint, jws);
      },
      onFailure: (error) => logger.error({ error: error.message }, 'no audit checkpoint could be written'),
    },
  });
  if ('problem' in opened) throw new StartFailure([opened.problem]);
  if (opened.setAside !== '')
    logger.error({ setAside: opened.setAside }, 'the audit chain was broken, a new one begins');
  return {
    log: opened.log,
    checkpointAtMs: opened.checkpointAtMs,
    exported: events.totals,
    close: async () => {
      await opened.close();
      await events.shutdown();
    },
  };
}

async function loadKey(file: string): Promise<KeyObject> {
  const pem = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new StartFailure([`${file} cannot be read: ${error.message}`]);
  });
  const key = readSigningKey(pem);
  if (typeof key === 'string') throw new StartFailure([`${file}: ${key}`]);
  return key;
}

function exportEntry(events: LogRecorder, { content, sequence, hash }: WrittenEntry, nowMs: number): void {
  const place = { [ATTRIBUTES.auditSequence]: sequence, [ATTRIBUTES.auditHash]: hash.toString('hex') };
  if (content.$case !== 'record') {
    events.record({ name: EVENTS.chain, timeMs: nowMs, body: content.$case, attributes: place });
    return;
  }
  const record = content.value;
  events.record({
    name: EVENTS.record,
    timeMs: record.ended?.getTime() ?? nowMs,
    body: AuditRecord.toJSON(record) as Record<string, string>,
    traceId: record.traceId,
    attributes: {
      ...place,
      [ATTRIBUTES.decisionId]: record.decisionId,
      [ATTRIBUTES.decision]: record.allowed ? 'allow' : 'deny',
      [ATTRIBUTES.ruleId]: record.ruleId,
      [ATTRIBUTES.policyVersion]: record.policyVersion,
      [ATTRIBUTES.callerIdentity]: record.caller?.identity ?? '',
      [ATTRIBUTES.rpcMethod]: record.method,
    },
  });
}

function exportCheckpoint(events: LogRecorder, checkpoint: Checkpoint, jws: string): void {
  events.record({
    name: EVENTS.checkpoint,
    timeMs: checkpoint.timeMs,
    body: jws,
    attributes: { [ATTRIBUTES.auditSequence]: checkpoint.sequence },
  });
}
