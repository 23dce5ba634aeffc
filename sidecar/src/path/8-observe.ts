import { type Logger } from '@gatehouse/telemetry/logger';
import { EVENTS, METHOD_OTHER } from '@gatehouse/telemetry/names';
import type { SpanRecorder } from '@gatehouse/telemetry/span-recorder';
import {
  formatTraceparent,
  type IdSource,
  parseTraceparent,
  traceSampler,
} from '@gatehouse/telemetry/trace-context';
import type { Admitted } from './5-admit.ts';
import { ByteBudget } from './byte-budget.ts';
import type { Call, CallTrace, Clock, Try } from './call.ts';
import type { CallAudit } from './call-audit.ts';
import type { CallMetrics } from './call-metrics.ts';
import { spansOf } from './call-spans.ts';
import type { DecisionLog } from './decision-log.ts';
import { GrpcStatus, statusName } from './grpc-status.ts';
import { LineBudget } from './line-budget.ts';
import type { Refusal } from './refusal.ts';
import type { RefusalStatus } from './refusal-status.ts';
import { tellsUsage, UsageMeter } from './usage-meter.ts';

/** How a call ended. */
export type Outcome = {
  readonly status: GrpcStatus;
  /** Set when the sidecar itself ended the call. */
  readonly refusal: RefusalStatus | null;
  readonly requestMessages: number;
  readonly responseMessages: number;
};

export type Observers = {
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly sampleRatio: number;
  readonly spans: SpanRecorder;
  readonly metrics: CallMetrics;
  readonly decisions: DecisionLog;
  /** Null on egress, where nothing is decided. */
  readonly audit: CallAudit | null;
  readonly logger: Logger;
};

/** What all calls together hold of messages that are looked at for their tokens alone, and came apart. */
const METERED_BYTES_MAX = 4 * 1024 * 1024;
const NO_EVENTS: CallTrace['events'] = [];
const NO_TRIES: CallTrace['tries'] = [];

/**
 * Watches a call: continues or begins its trace when it comes, and leaves span, metrics, log line and decision when it
 * has ended. A call that is not sampled leaves no span and makes nothing for one.
 */
export class Observer {
  readonly #lines = new LineBudget();
  readonly #metered = new ByteBudget(METERED_BYTES_MAX);
  readonly #with: Observers;
  readonly #isSampled: (traceId: string) => boolean;

  constructor(observers: Observers) {
    this.#with = observers;
    this.#isSampled = traceSampler(observers.sampleRatio);
  }

  /** Continues the trace that the caller brings (W3C Trace Context), or begins one. */
  begin(call: Call): void {
    const { ids, spans, metrics } = this.#with;
    metrics.started(call.method === null ? null : call.path);
    const parent = call.traceparent === null ? undefined : parseTraceparent(call.traceparent);
    const traceId = parent?.traceId ?? ids.traceId();
    const sampled = spans.enabled && (parent?.sampled ?? this.#isSampled(traceId));
    call.trace = {
      traceId,
      spanId: sampled || parent === undefined ? ids.spanId() : parent.spanId,
      sampled: sampled || (!spans.enabled && parent?.sampled === true),
      random: parent?.random ?? true,
      parentSpanId: parent?.spanId ?? null,
      recorded: sampled,
      events: sampled ? [] : NO_EVENTS,
      tries: sampled ? [] : NO_TRIES,
    };
  }

  /** What the next hop gets as `traceparent`: that of the call, or of its last try where it has several. */
  traceparentFor({ trace }: Call): string | null {
    if (trace === null) return null;
    const last = trace.tries.at(-1);
    return formatTraceparent(last === undefined ? trace : { ...trace, spanId: last.spanId });
  }

  /**
   * The call's last try has ended for this reason; there is another place for it. That there are several tries is known from
   * now on, so the first gets its span here: what it called is below the call's own.
   * @param at where it ended
   */
  triedInVain(
    call: Call,
    reason: string,
    at: { readonly endpoint: string; readonly breakerState: string },
  ): void {
    if (call.trace?.recorded) {
      const { tries } = call.trace;
      if (tries.length === 0 && call.attempts > 0) tries.push(this.#newTry(call.startedAtMs, at));
      const last = tries.at(-1);
      if (last !== undefined && last.endedAtMs === null) {
        last.endedAtMs = this.#with.clock();
        last.failedBecause = reason;
      }
    }
    const { attempts, endpoint } = call;
    this.event(call, 'retry', { attempt: attempts + 1, reason, endpoint });
  }

  /** A try that is not the first has begun. @returns its `traceparent` */
  triedAgain(call: Call): string | null {
    if (call.trace?.recorded) call.trace.tries.push(this.#newTry(this.#with.clock(), call));
    return this.traceparentFor(call);
  }

  #newTry(startedAtMs: number, at: { readonly endpoint: string; readonly breakerState: string }): Try {
    const { endpoint, breakerState } = at;
    return {
      spanId: this.#with.ids.spanId(),
      startedAtMs,
      endpoint,
      breakerState,
      endedAtMs: null,
      failedBecause: null,
    };
  }

  /** Notes something on a sampled call's span. */
  event(call: Call, name: keyof typeof EVENTS, attributes: Record<string, string | number>): void {
    if (call.trace?.recorded)
      call.trace.events.push({ name: EVENTS[name], timeMs: this.#with.clock(), attributes });
  }

  /** Why no call is taken at the moment, because its record could not be kept; null when calls are. */
  unavailable(): Refusal | null {
    return this.#with.audit?.unavailable() ?? null;
  }

  /** Whether the record of the call, which is allowed, will say how many tokens it used. */
  recordsUsage(call: Call): boolean {
    return this.#with.audit?.records(call) ?? false;
  }

  /** What counts the tokens of the call's answer; null where it tells of none, and on egress. */
  meterOf(call: Admitted): UsageMeter | null {
    if (call.direction !== 'inbound' || !tellsUsage(call.method)) return null;
    const { metrics, clock } = this.#with;
    return new UsageMeter(call, metrics, this.#metered, () => {
      metrics.firstToken(call, clock());
      this.event(call, 'firstToken', {});
    });
  }

  /** Before a call that goes on is decided on again: keeps the record of the decision that it had. */
  decidedAgain(call: Call): void {
    const outcome = { status: GrpcStatus.OK, refusal: null, requestMessages: 0, responseMessages: 0 };
    this.#with.audit?.record(call, outcome, true);
  }

  /** Keeps the record of a call whose status waits for it. @returns whether it is on disk; null: nothing is waited for */
  recordBeforeAnswer(call: Call, outcome: Outcome): Promise<boolean> | null {
    return this.#with.audit?.recordBeforeAnswer(call, outcome) ?? null;
  }

  /** Keeps the decision. */
  decided(call: Call): void {
    const shadow = call.decision?.shadow;
    if (shadow) this.#with.metrics.shadow.add(call.identity, call.path.slice(1), shadow.would);
    call.decisions = this.#with.decisions;
    call.decisionNumber = this.#with.decisions.add(call, call.decidedAtMs);
  }

  end(call: Call, outcome: Outcome): void {
    const { clock, metrics } = this.#with;
    const endedAtMs = clock();
    call.meter?.end();
    metrics.ended(call, outcome, endedAtMs);
    const { trace } = call;
    if (trace?.recorded)
      for (const span of spansOf(call, trace, outcome, endedAtMs)) this.#with.spans.record(span);
    this.#with.audit?.record(call, outcome);
    this.#writeLine(call, outcome, endedAtMs);
  }

  /** Refusals and failures at `info`, within a rate; the rest at `debug`. */
  #writeLine(call: Call, outcome: Outcome, endedAtMs: number): void {
    const level = outcome.status === GrpcStatus.OK ? 'debug' : 'info';
    const { logger } = this.#with;
    if (!logger.isLevelEnabled(level)) return;
    const leftOut = level === 'info' ? this.#lines.take(endedAtMs) : 0;
    if (leftOut === null) return;
    logger[level](
      {
        direction: call.direction,
        identity: call.identity,
        method: call.method === null ? METHOD_OTHER : call.path.slice(1),
        model: call.model ?? undefined,
        status: statusName(outcome.status),
        reason: outcome.refusal?.reason,
        rule: call.decision?.ruleId,
        decisionId: call.decisionId || undefined,
        upstream: call.upstream || undefined,
        endpoint: call.endpoint || undefined,
        attempts: call.attempts,
        requestMessages: outcome.requestMessages,
        responseMessages: outcome.responseMessages,
        durationMs: Math.round((endedAtMs - call.startedAtMs) * 1000) / 1000,
        traceId: call.trace?.traceId,
        linesLeftOut: leftOut || undefined,
      },
      'call',
    );
  }
}
