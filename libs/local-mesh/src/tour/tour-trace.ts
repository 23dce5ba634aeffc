import type { SpanRecorder } from '@gatehouse/telemetry/span-recorder';
import { createIdSource, formatTraceparent } from '@gatehouse/telemetry/trace-context';
import type { ReceivedSpan, TraceReceiver } from '../otlp-receiver.ts';

/** The tour's own spans, and what the mesh has recorded of their traces. */
export type TourTrace = {
  /** Runs one step inside a span that begins a trace; the step sends `traceparent` with its call. */
  inSpan<T>(name: string, run: (traceparent: string) => Promise<T>): Promise<T>;
  /** Ids of the traces so far, by the span's name. */
  readonly traceIds: ReadonlyMap<string, string>;
  /** The spans of a trace that was begun under this name; undefined where they go elsewhere. */
  collect(
    name: string,
    isComplete: (spans: readonly ReceivedSpan[]) => boolean,
  ): Promise<readonly ReceivedSpan[] | undefined>;
};

export type TourTraceOptions = {
  readonly recorder: SpanRecorder;
  /** Absent when spans go to a collector of the user's. */
  readonly receiver: TraceReceiver | undefined;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
};

/** Processes send spans a second after they ended at the latest. */
const QUIET_MS = 1300;
const COLLECT_MS_MAX = 8000;

export function createTourTrace({ recorder, receiver, clock }: TourTraceOptions): TourTrace {
  const ids = createIdSource();
  const traceIds = new Map<string, string>();
  return {
    traceIds,
    inSpan: async (name, run) => {
      const traceId = ids.traceId();
      const spanId = ids.spanId();
      traceIds.set(name, traceId);
      const startTimeMs = clock();
      let status: 'unset' | 'error' = 'unset';
      try {
        return await run(formatTraceparent({ traceId, spanId, sampled: true, random: true }));
      } catch (error) {
        status = 'error';
        throw error;
      } finally {
        recorder.record({
          name,
          kind: 'client',
          traceId,
          spanId,
          startTimeMs,
          endTimeMs: clock(),
          attributes: {},
          status,
        });
      }
    },
    collect: async (name, isComplete) => {
      const traceId = traceIds.get(name);
      if (receiver === undefined || traceId === undefined) return undefined;
      await recorder.flush();
      return receiver.collect(traceId, { isComplete, quietMs: QUIET_MS, waitMsMax: COLLECT_MS_MAX });
    },
  };
}
