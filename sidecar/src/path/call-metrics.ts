import { METHOD_OTHER } from '@gatehouse/telemetry/names';
import type { Outcome } from './8-observe.ts';
import { BoundedCounters } from './bounded-counters.ts';
import type { Call, Direction } from './call.ts';
import { bucketOf, DurationHistogram } from './duration-histogram.ts';
import { GrpcStatus, statusName } from './grpc-status.ts';
import { ShadowCounts } from './shadow-counts.ts';

const STATUS_COUNT = 17;
const CALLERS_MAX = 256;
const MODELS_MAX = 64;
const RULES_MAX = 256;
/** Statuses of which the mesh or the app is the cause (docs/slo.md). */
const FAULTS: ReadonlySet<GrpcStatus> = new Set([
  GrpcStatus.UNKNOWN,
  GrpcStatus.DEADLINE_EXCEEDED,
  GrpcStatus.INTERNAL,
  GrpcStatus.UNAVAILABLE,
  GrpcStatus.DATA_LOSS,
]);
const PATH_OTHER = `/${METHOD_OTHER}`;
/** Of refusals that no rule caused. */
const NO_RULE = '_NONE';

/** What is counted of the calls of one caller, or of the calls for one model. */
export class NamedCalls {
  answered = 0;
  refused = 0;
  failed = 0;
  inputTokens = 0;
  outputTokens = 0;
  readonly durations = new DurationHistogram();
}

/** What is counted of one method, as arrays: a labelled counter's look-up costs more than the rest of a call's metrics. */
class MethodMetrics {
  started = 0;
  readonly byStatus: (DurationHistogram | undefined)[] = Array.from({ length: STATUS_COUNT });
  /** Times to the first token, by model; null where there were none. */
  firstTokens: BoundedCounters<DurationHistogram> | null = null;
}

/** One line of a metric. */
export type CallSeries = {
  readonly method: string;
  readonly status: string;
  readonly durations: DurationHistogram;
};

/** Likewise; the model is empty where nothing had to read it. */
export type FirstTokenSeries = {
  readonly method: string;
  readonly model: string;
  readonly times: DurationHistogram;
};

/** Calls of one direction, by method and status. Methods are those of the contract, so their number is bounded. */
export class CallMetrics {
  readonly direction: Direction;
  /** By `:path`, whose string keeps its hash: the same one comes with every call. */
  readonly #methods = new Map<string, MethodMetrics>();
  /** The method counted last: calls in a row are often of one, and its text the same object. */
  #newestKey = '';
  #newest = new MethodMetrics();
  readonly #refusals = new Map<string, number>();
  /** By the caller's workload identity. */
  readonly callers = new BoundedCounters(CALLERS_MAX, () => new NamedCalls());
  /** By the model asked for, of calls that policy allowed: what others ask for is anybody's text. */
  readonly models = new BoundedCounters(MODELS_MAX, () => new NamedCalls());
  /** Refusals of policy, by rule and then by reason. */
  readonly rules = new BoundedCounters(RULES_MAX, () => new Map<string, number>());
  /** What policy in shadow would have decided otherwise. */
  readonly shadow = new ShadowCounts();

  constructor(direction: Direction) {
    this.direction = direction;
  }

  /** @param path `:path` of a method of the contract, or null for any other */
  started(path: string | null): void {
    this.#of(path).started += 1;
  }

  ended(call: Call, outcome: Outcome, endedAtMs: number): void {
    const { status, refusal } = outcome;
    const seconds = (endedAtMs - call.startedAtMs) / 1000;
    const bucket = bucketOf(seconds);
    const metrics = this.#of(call.method === null ? null : call.path);
    const durations = (metrics.byStatus[status] ??= new DurationHistogram());
    durations.observe(seconds, bucket);
    if (call.trace?.recorded)
      durations.keepExemplar(bucket, { traceId: call.trace.traceId, seconds, atMs: endedAtMs });
    if (refusal !== null) this.#refused(call, refusal.reason);
    if (call.direction !== 'inbound') return;
    const outcomeName = FAULTS.has(status) ? 'failed' : refusal !== null ? 'refused' : 'answered';
    count(this.callers.of(call.identity), outcomeName, seconds, bucket);
    const model = call.decision?.allowed ? call.model : null;
    if (model !== null) count(this.models.of(model), outcomeName, seconds, bucket);
  }

  /** The first response message that tells of output tokens has come. */
  firstToken(call: Call, atMs: number): void {
    const metrics = this.#of(call.path);
    metrics.firstTokens ??= new BoundedCounters(MODELS_MAX, () => new DurationHistogram());
    const times = metrics.firstTokens.of(call.model ?? '');
    const seconds = (atMs - call.startedAtMs) / 1000;
    const bucket = bucketOf(seconds);
    times.observe(seconds, bucket);
    if (call.trace?.recorded) times.keepExemplar(bucket, { traceId: call.trace.traceId, seconds, atMs });
  }

  /** @param reason ErrorInfo.reason: a name from a fixed set */
  #refused({ decision }: Call, reason: string): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
    if (decision === null || decision.allowed) return;
    const byReason = this.rules.of(decision.ruleId || NO_RULE);
    byReason.set(reason, (byReason.get(reason) ?? 0) + 1);
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

  *firstTokenSeries(): Iterable<FirstTokenSeries> {
    for (const [path, { firstTokens }] of this.#methods) {
      for (const [model, times] of firstTokens ?? []) yield { method: path.slice(1), model, times };
    }
  }

  #of(path: string | null): MethodMetrics {
    const key = path ?? PATH_OTHER;
    if (key === this.#newestKey) return this.#newest;
    let metrics = this.#methods.get(key);
    if (metrics === undefined) this.#methods.set(key, (metrics = new MethodMetrics()));
    this.#newestKey = key;
    this.#newest = metrics;
    return metrics;
  }
}

function count(
  calls: NamedCalls,
  outcome: 'answered' | 'refused' | 'failed',
  seconds: number,
  bucket: number,
): void {
  calls[outcome] += 1;
  calls.durations.observe(seconds, bucket);
}
