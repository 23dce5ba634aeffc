import type { Timings } from '@gatehouse/contracts/inference';
import { RpcError } from '@gatehouse/service-kit';
import { ATTRIBUTES, EVENTS, METRICS } from '@gatehouse/telemetry';
import { status } from '@grpc/grpc-js';
import { metrics, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { GenerationEvent, ModelInfo } from './engine/engine.ts';

const tracer = trace.getTracer('gatehouse-inference');
const meter = metrics.getMeter('gatehouse-inference');
/** The buckets, in seconds, that the GenAI conventions advise. */
const buckets = (explicitBucketBoundaries: number[]) => ({ unit: 's', advice: { explicitBucketBoundaries } });
const instruments = {
  timeToFirstToken: meter.createHistogram(
    METRICS.genAiTimeToFirstToken,
    buckets([0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]),
  ),
  timePerOutputToken: meter.createHistogram(
    METRICS.genAiTimePerOutputToken,
    buckets([0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]),
  ),
  duration: meter.createHistogram(
    METRICS.genAiRequestDuration,
    buckets([0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]),
  ),
};

/** Statuses that say that something failed; with any other the caller was refused or went away. */
const faults = new Set([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
]);

/** Measures one generation and makes its span and metrics. Text never gets here. */
export class GenerationRecorder {
  readonly #now: () => number;
  readonly #begun: number;
  readonly #span: Span;
  readonly #labels: Record<string, string>;
  #started: number | undefined;
  #firstToken: number | undefined;
  #outputTokens = 0;

  constructor({ name, engine }: ModelInfo, input: 'chat' | 'prompt', now: () => number) {
    this.#now = now;
    this.#begun = now();
    const operation = input === 'chat' ? 'chat' : 'text_completion';
    this.#labels = {
      [ATTRIBUTES.genAiOperationName]: operation,
      [ATTRIBUTES.genAiProviderName]: engine,
      [ATTRIBUTES.genAiRequestModel]: name,
      [ATTRIBUTES.genAiResponseModel]: name,
    };
    this.#span = tracer.startSpan(`${operation} ${name}`, {
      kind: SpanKind.INTERNAL,
      attributes: this.#labels,
    });
  }

  record(event: GenerationEvent): void {
    switch (event.kind) {
      case 'started':
        this.#started = this.#now();
        this.#span.setAttribute(ATTRIBUTES.queueDurationMs, this.#started - this.#begun);
        break;
      case 'delta':
        this.#outputTokens = event.outputTokens;
        if (this.#firstToken === undefined) this.#recordFirstToken();
        break;
      case 'completed':
        this.#outputTokens = event.outputTokens;
        this.#span.setAttributes({
          [ATTRIBUTES.genAiInputTokens]: event.inputTokens,
          [ATTRIBUTES.genAiFinishReasons]: [event.finishReason],
        });
        break;
    }
  }

  /** What the span says about a call that did not complete: its status by name, never a message. */
  fail(error: unknown): void {
    const type = error instanceof RpcError ? (status[error.code] ?? 'UNKNOWN') : 'INTERNAL';
    this.#labels[ATTRIBUTES.errorType] = type;
    this.#span.setAttribute(ATTRIBUTES.errorType, type);
    if (faults.has(type)) this.#span.setStatus({ code: SpanStatusCode.ERROR });
  }

  /** Call once, however the generation ended. */
  end(): void {
    const now = this.#now();
    instruments.duration.record((now - this.#begun) / 1000, this.#labels);
    if (this.#firstToken !== undefined && this.#outputTokens > 1) {
      const perToken = (now - this.#firstToken) / 1000 / (this.#outputTokens - 1);
      instruments.timePerOutputToken.record(perToken, this.#labels);
    }
    this.#span.setAttribute(ATTRIBUTES.genAiOutputTokens, this.#outputTokens);
    this.#span.end();
  }

  timings(): Timings {
    const since = (time: number | undefined) =>
      time === undefined ? undefined : duration(time - this.#begun);
    return {
      queue: since(this.#started),
      timeToFirstToken: since(this.#firstToken),
      total: since(this.#now()),
    };
  }

  #recordFirstToken(): void {
    this.#firstToken = this.#now();
    const seconds = (this.#firstToken - this.#begun) / 1000;
    this.#span.setAttribute(ATTRIBUTES.genAiTimeToFirstChunk, seconds);
    this.#span.addEvent(EVENTS.firstToken);
    instruments.timeToFirstToken.record(seconds, this.#labels);
  }
}

function duration(ms: number): { seconds: bigint; nanos: number } {
  const whole = Math.floor(ms / 1000);
  return { seconds: BigInt(whole), nanos: Math.floor((ms - whole * 1000) * 1e6) };
}
