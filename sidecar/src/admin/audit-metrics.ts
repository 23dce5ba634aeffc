import type { Registry } from 'prom-client';
import type { DecisionRecords } from '../record-decisions.ts';
import { counter, gauge } from './metric-families.ts';

/** @param records null: nothing is recorded, and there is nothing to show */
export function registerAudit(registry: Registry, records: DecisionRecords | null): void {
  if (records === null) return;
  const { log, exported } = records;
  counter(
    registry,
    {
      name: 'gatehouse_audit_records_total',
      help: 'Audit records, by what became of them on disk.',
      labelNames: ['result'],
    },
    (metric) => {
      metric.inc({ result: 'written' }, log.totals.written);
      metric.inc({ result: 'lost' }, log.totals.lost);
    },
  );
  counter(
    registry,
    {
      name: 'gatehouse_audit_events_total',
      help: 'Audit entries and checkpoints for the collector, by what became of them.',
      labelNames: ['result'],
    },
    (metric) => {
      metric.inc({ result: 'exported' }, exported.exported);
      metric.inc({ result: 'dropped' }, exported.dropped);
    },
  );
  counter(
    registry,
    {
      name: 'gatehouse_audit_writes_total',
      help: 'Writes of audit records, each flushed to disk once.',
      labelNames: [],
    },
    (metric) => metric.inc(log.totals.groups),
  );
  gauge(
    registry,
    {
      name: 'gatehouse_audit_failing',
      help: '1 while audit records cannot be written.',
      labelNames: [],
    },
    (metric) => metric.set(log.failing === null ? 0 : 1),
  );
  gauge(
    registry,
    {
      name: 'gatehouse_audit_records_waiting',
      help: 'Audit records that wait for the disk.',
      labelNames: [],
    },
    (metric) => metric.set(log.waiting),
  );
  gauge(
    registry,
    {
      name: 'gatehouse_audit_checkpoint_timestamp_seconds',
      help: 'When the last checkpoint was signed; 0 before the first.',
      labelNames: [],
    },
    (metric) => metric.set((records.checkpointAtMs() ?? 0) / 1000),
  );
}
