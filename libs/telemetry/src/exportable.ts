import type { Attributes } from '@opentelemetry/api';
import type { ExportableSpan } from './otlp-exporter.ts';

/** Seconds and nanoseconds, as the SDK keeps times. */
export function hrTime(timeMs: number): [number, number] {
  const seconds = Math.floor(timeMs / 1000);
  return [seconds, Math.round((timeMs - seconds * 1000) * 1e6)];
}

/** The least that exporters read of a resource; the SDK's own would load its detectors. */
export function resourceOf(attributes: Attributes): ExportableSpan['resource'] {
  const resource: ExportableSpan['resource'] = {
    attributes,
    merge: () => resource,
    getRawAttributes: () => Object.entries(attributes),
  };
  return resource;
}
