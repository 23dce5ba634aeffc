/** What a service process uses. The other exports of this package load less, for a process that has little room. */
export { whenCancelled } from './cancelled-span.ts';
export { createLogger, type Logger, type LoggerOptions, type LogLevel } from './logger.ts';
export { ATTRIBUTES, EVENTS, METRIC_LABELS, METRICS } from './names.ts';
export { type ModelLoad, observeQueues } from './observe-queues.ts';
export { type Metrics, type MetricsOptions, startMetrics } from './start-metrics.ts';
export { startTelemetry, type Telemetry, type TelemetryOptions } from './start-telemetry.ts';
