import { METHOD_OTHER } from '@gatehouse/telemetry/names';
import { BoundedCounters } from './bounded-counters.ts';
import type { Direction } from './call.ts';
import { GrpcStatus, statusName } from './grpc-status.ts';
import { ShadowCounts } from './shadow-counts.ts';

/** Upper bounds in seconds: those that the semantic conventions advise for RPC durations. */
export const DURATION_BUCKETS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];
const STATUS_COUNT = 17;
const CALLERS_MAX = 256;
const MODELS_MAX = 64;
/** Statuses of which the mesh or the app is the cause (docs/slo.md). */
const FAULTS: ReadonlySet<GrpcStatus> = new Set([
  GrpcStatus.UNKNOWN,
  GrpcStatus.DEADLINE_EXCEEDED,
  GrpcStatus.INTERNAL,
  GrpcStatus.UNAVAILABLE,
  GrpcStatus.DATA_LOSS,
]);
const PATH_OTHER = `/${METHOD_OTHER}`;

/** Durations of the calls of one method that ended with one status. */
class DurationHistogram {
  readonly counts = new Float64Array(DURATION_BUCKETS.length + 1);
  sumSeconds = 0;
  total = 0;

  observe(seconds: number): void {
    let bucket = 0;
    while (bucket < DURATION_BUCKETS.length && seconds > (DURATION_BUCKETS[bucket] as number)) bucket++;
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.sumSeconds += seconds;
    this.total += 1;
  }
}

/** What is counted of one method, as arrays: a labelled counter's look-up costs more than the rest of a call's metrics. */
class MethodMetrics {
  started = 0;
  readonly byStatus: (DurationHistogram | undefined)[] = Array.from({ length: STATUS_COUNT });
}

/** One line of a metric. */
export type CallSeries = {
  readonly method: string;
  readonly status: string;
  readonly durations: DurationHistogram;
};

/** Calls of one direction, by method and status. Methods are those of the contract, so their number is bounded. */
export class CallMetrics {
  readonly direction: Direction;
  /** By `:path`, whose string keeps its hash: the same one comes with every call. */
  readonly #methods = new Map<string, MethodMetrics>();
  readonly #refusals = new Map<string, number>();
  /** By the caller's workload identity. */
  readonly callers = new BoundedCounters(CALLERS_MAX);
  /** By the model asked for, of calls that policy allowed: what others ask for is anybody's text. */
  readonly models = new BoundedCounters(MODELS_MAX);
  /** What policy in shadow would have decided otherwise. */
  readonly shadow = new ShadowCounts();

  constructor(direction: Direction) {
    this.direction = direction;
  }

  /** @param path `:path` of a method of the contract, or null for any other */
  started(path: string | null): void {
    this.#of(path).started += 1;
  }

  ended(path: string | null, status: number, seconds: number): void {
    const metrics = this.#of(path);
    const durations = (metrics.byStatus[status] ??= new DurationHistogram());
    durations.observe(seconds);
  }

  /** @param model null where the call was not allowed, or asked for none */
  endedFor(identity: string, model: string | null, status: GrpcStatus, isRefusal: boolean): void {
    const outcome = FAULTS.has(status) ? 'failed' : isRefusal ? 'refused' : 'answered';
    this.callers.of(identity)[outcome] += 1;
    if (model !== null) this.models.of(model)[outcome] += 1;
  }

  /** @param reason ErrorInfo.reason: a name from a fixed set */
  refused(reason: string): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
  }

  get refusals(): ReadonlyMap<string, number> {
    return this.#refusals;
  }

  *startedByMethod(): Iterable<{ readonly method: string; readonly started: number }> {
    for (const [path, { started }] of this.#methods) yield { method: path.slice(1), started };
  }

  *series(): Iterable<CallSeries> {
    for (const [path, metrics] of this.#methods) {
      for (const [status, durations] of metrics.byStatus.entries()) {
        if (durations) yield { method: path.slice(1), status: statusName(status), durations };
      }
    }
  }

  #of(path: string | null): MethodMetrics {
    const key = path ?? PATH_OTHER;
    let metrics = this.#methods.get(key);
    if (metrics === undefined) this.#methods.set(key, (metrics = new MethodMetrics()));
    return metrics;
  }
}
