import { trace } from '@opentelemetry/api';
import { type DestinationStream, type Level, type Logger, pino, stdTimeFunctions } from 'pino';

export type { Logger } from 'pino';

export type LogLevel = Level | 'silent';

export type LoggerOptions = {
  /** Stands in every line as `name`. */
  readonly name: string;
  readonly level: LogLevel;
  /** Where lines go. Default: standard output, written before the call returns. */
  readonly destination?: DestinationStream;
};

/**
 * A pino logger that writes one JSON object a line: `level` as text, `time` in ISO 8601, `name`, the fields, `msg`.
 * Inside a recorded span each line carries its `trace_id` and `span_id`; a process without OpenTelemetry's context gives
 * them itself, with `logger.child({ trace_id })`. Prompts, completions and embedding inputs are never given to it.
 */
export function createLogger(options: LoggerOptions): Logger {
  const settings = {
    base: { name: options.name },
    level: options.level,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    mixin: activeTrace,
  };
  return options.destination === undefined ? pino(settings) : pino(settings, options.destination);
}

function activeTrace(): Record<string, string> {
  const active = trace.getActiveSpan()?.spanContext();
  return active === undefined ? {} : { trace_id: active.traceId, span_id: active.spanId };
}
