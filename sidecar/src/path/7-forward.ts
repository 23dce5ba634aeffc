import { ErrorCode, type Field, type Stream, type StreamHandler, type StreamReset } from '../http2/index.ts';
import type { FailureCause } from '../upstream/index.ts';
import type { Routed, Target } from './6-route.ts';
import type { ByteBudget } from './byte-budget.ts';
import type { Clock } from './call.ts';
import type { Answer, ForwardLimits, ForwardOwner } from './forward-owner.ts';
import { GrpcStatus } from './grpc-status.ts';
import { isRefusal, type MessageFilter } from './message-filter.ts';
import { heldBytesRefusal, MessageGate } from './message-gate.ts';
import { MessageScanner } from './message-scanner.ts';
import type { Refusal } from './refusal.ts';
import type { RequestBuffer } from './request-buffer.ts';
import { requestHead } from './request-head.ts';
import type { ResponseBacklog } from './response-backlog.ts';
import { checkResponseHead, grpcStatusIn } from './response-head.ts';
import { responseScanRefusal } from './scan-refusal.ts';
import { failureCauseOf, isOfPolicy, resetToGrpcStatus } from './status-mapping.ts';
import type { UsageMeter } from './usage-meter.ts';

/** How often a free stream may be taken away by another call before the upstream counts as full. */
const OPEN_TRIES_MAX = 8;
/** Between two tries to connect, from the second on. */
const CONNECT_PAUSE_MS = 50;
/** Failures to connect that one call counts: at its endpoint and at another. */
const CONNECTS_COUNTED_MAX = 2;

/**
 * Moves a call's bytes between the caller's stream and the upstream's, both ways, as they come. What one side has not
 * taken yet is not asked for from the other: credit goes back to a sender only when its bytes have left.
 *
 * Until the response begins, the request is kept, so that a call which was never processed (RFC 9113 §8.7), or which the
 * contract calls idempotent, can go elsewhere. This object is the handler of the upstream's stream.
 */
export class Forwarding implements StreamHandler, Answer {
  readonly #call: Routed;
  readonly #owner: ForwardOwner;
  readonly #caller: Stream;
  readonly #request: RequestBuffer;
  readonly #clock: Clock;
  readonly #limits: ForwardLimits;
  #traceparent: string | null;
  readonly #responses: MessageScanner;
  readonly #backlog: ResponseBacklog;
  readonly #filter: MessageFilter | null;
  readonly #gate: MessageGate | null;
  /** Sees the response's bytes as they go by; null where nothing has to. */
  readonly #meter: UsageMeter | null;
  #target: Target;
  #upstream: Stream | null = null;
  /** Until when a connection is waited for; null before it had to be. */
  #connectUntilMs: number | null = null;
  #connectsFailed = 0;
  /** The request is no longer kept: there will be no other try. */
  #committed = false;
  #headSent = false;
  /** The response's last header block, as the caller is to have it. */
  #status: readonly Field[] = NO_FIELDS;
  /** A message of the response has begun, which counts as a success. */
  #answering = false;
  #over = false;
  #requestEnded = false;
  #sentBytes = 0;
  /** When the end of the request, or before it the head, was sent. */
  #sentAtMs = 0;
  /** Response bytes that wait for the caller. */
  #waitingBytes = 0;
  /** Response bytes gone through the gate that wait for credit until the caller has caught up. */
  #owedBytes = 0;

  constructor(
    call: Routed,
    owner: ForwardOwner,
    parts: {
      readonly request: RequestBuffer;
      readonly requestEnded: boolean;
      /** What the upstream gets as `traceparent`. */
      readonly traceparent: string | null;
      readonly clock: Clock;
      readonly limits: ForwardLimits;
      readonly backlog: ResponseBacklog;
      /** Looks at the response's messages; null where nothing has to. */
      readonly filter: MessageFilter | null;
      /** Bounds what is held of messages that are not whole. */
      readonly held: ByteBudget;
    },
  ) {
    this.#call = call;
    this.#owner = owner;
    this.#caller = call.stream;
    this.#target = call.target;
    this.#request = parts.request;
    this.#requestEnded = parts.requestEnded;
    this.#traceparent = parts.traceparent;
    this.#clock = parts.clock;
    this.#limits = parts.limits;
    this.#backlog = parts.backlog;
    this.#filter = parts.filter;
    this.#gate = parts.filter && new MessageGate(parts.filter, parts.held, (bytes) => this.#sendGated(bytes));
    this.#meter = call.meter?.readsItself === true ? call.meter : null;
    const single = call.method.kind === 'unary' || call.method.kind === 'client-streaming';
    this.#responses = new MessageScanner(call.method.responseBytesMax, single ? 1 : Number.POSITIVE_INFINITY);
  }

  /** @param nowMs the clock */
  start(nowMs: number): void {
    const stream = this.#target.openStream(this);
    if (stream === null) void this.#wait();
    else this.#begin(stream, nowMs);
  }

  /** More of the request, `chunk[start, end)`. */
  sendRequest(chunk: Buffer, start: number, end: number, endStream: boolean): void {
    if (this.#over) return;
    if (endStream) {
      this.#requestEnded = true;
      if (this.#call.lane !== null) this.#sentAtMs = this.#clock();
    }
    const kept = !this.#committed && this.#keep(chunk, start, end);
    if (this.#upstream !== null) {
      this.#onSentBytes(this.#upstream.sendData(chunk, start, end, endStream));
    } else if (!kept && end > start) {
      this.#fail(heldBytesRefusal(this.#request.limitBytes));
    }
  }

  /** Bytes of the response that waited for the caller have left. */
  responseSent(bytes: number): void {
    if (this.#gate === null) this.#upstream?.consume(bytes);
    this.#settleBacklog(Math.min(bytes, this.#waitingBytes));
    if (this.#owedBytes > 0 && this.#waitingBytes === 0) {
      this.#upstream?.consume(this.#owedBytes);
      this.#owedBytes = 0;
    }
  }

  /** What waits for the caller is dropped with its stream. */
  callerGone(): void {
    this.#settleBacklog(this.#waitingBytes);
  }

  /** Ends the upstream's part without an answer: the caller has gone, or the call is refused in its middle. */
  cancel(): void {
    if (this.#over) return;
    this.#close();
    this.#leave(ErrorCode.CANCEL);
    this.#target.release();
  }

  /** The deadline has passed: cancels, and counts it against an endpoint that had not answered. */
  expire(): void {
    if (this.#upstream !== null && !this.#headSent) this.#target.settle('failure', 'deadline');
    if (this.#upstream !== null && !this.#answering) this.#measure();
    this.cancel();
  }

  get responseMessages(): number {
    return this.#responses.messages;
  }

  /** Bytes of the request that the upstream has not taken yet. */
  get queuedBytes(): number {
    return this.#upstream?.queuedBytes ?? 0;
  }

  /** Whether the caller has had the response's head. */
  get headSent(): boolean {
    return this.#headSent;
  }

  onHeaders(stream: Stream, fields: readonly Field[], endStream: boolean): void {
    if (this.#over || stream !== this.#upstream) return;
    if (this.#headSent) {
      this.#finish(fields);
      return;
    }
    const refusal = checkResponseHead(fields);
    if (refusal !== null) {
      this.#target.settle('failure', 'internal');
      this.#fail(refusal);
    } else if (endStream) {
      const status = grpcStatusIn(fields);
      if (status === GrpcStatus.UNAVAILABLE && this.#canRetry(false))
        this.#retry('unavailable', 'UNAVAILABLE');
      else this.#finish(fields);
    } else {
      const passed = this.#passable(this.#filter?.fields(fields) ?? fields);
      if (isRefusal(passed)) {
        this.#refuse(passed);
        return;
      }
      this.#commit();
      this.#headSent = true;
      this.#caller.sendHeaders(passed, false);
    }
  }

  onData(stream: Stream, chunk: Buffer, start: number, end: number, endStream: boolean): void {
    if (this.#over || stream !== this.#upstream) return;
    const problem = this.#responses.scan(chunk, start, end);
    if (problem !== null) {
      this.#target.settle('neutral');
      this.#fail(responseScanRefusal(problem));
      return;
    }
    if (!this.#answering && this.#responses.messages > 0) {
      this.#answering = true;
      this.#target.settle('success');
      this.#measure();
    }
    this.#meter?.see(chunk, start, end);
    if (this.#gate === null) {
      const written = this.#caller.sendData(chunk, start, end, false);
      if (written > 0) stream.consume(written);
      if (written < end - start) {
        stream.lend(end - start - written);
        this.#awaitCaller(end - start - written);
      }
    } else this.#passThroughGate(this.#gate, stream, chunk, start, end);
    if (endStream && !this.#over) {
      this.#target.settle('failure', 'internal');
      this.#fail({ kind: 'upstream-malformed', cause: 'it ended without trailers' });
    }
  }

  onSent(stream: Stream, bytes: number): void {
    if (stream === this.#upstream) this.#onSentBytes(bytes);
  }

  onReset(stream: Stream, reset: StreamReset): void {
    if (this.#over || stream !== this.#upstream) return;
    const unprocessed = reset.processed === 'no';
    const cause: FailureCause = reset.origin === 'connection' ? 'connect' : 'reset';
    if (this.#canRetry(unprocessed)) {
      this.#retry(cause, reset.detail);
      return;
    }
    // A peer's own CANCEL or NO_ERROR says nothing bad of it; a connection that ends under a call does.
    const caused =
      reset.origin === 'peer' && (reset.code === ErrorCode.CANCEL || reset.code === ErrorCode.NO_ERROR);
    if (caused) this.#target.settle('neutral');
    else this.#target.settle('failure', cause);
    const status = reset.origin === 'peer' ? resetToGrpcStatus(reset.code) : GrpcStatus.UNAVAILABLE;
    this.#fail({ kind: 'upstream-reset', status, cause: reset.detail });
  }

  #passThroughGate(gate: MessageGate, stream: Stream, chunk: Buffer, start: number, end: number): void {
    const refusal = gate.push(chunk, start, end);
    if (refusal !== null) {
      this.#refuse(refusal);
      return;
    }
    // A message may be larger than the window, so an unfinished one is credited at once; a slow caller delays it.
    if (this.#waitingBytes === 0) stream.consume(end - start);
    else {
      stream.lend(end - start);
      this.#owedBytes += end - start;
    }
  }

  #sendGated(bytes: Buffer): void {
    const written = this.#caller.sendData(bytes, 0, bytes.length, false);
    if (written < bytes.length) this.#awaitCaller(bytes.length - written);
  }

  /** Response bytes wait for a slow caller; when they are too many, it is let go. */
  #awaitCaller(bytes: number): void {
    this.#waitingBytes += bytes;
    if (!this.#backlog.add(this.#call.peer, bytes)) this.#caller.evict();
  }

  /** Tells the lane how long the app took. While requests are still being sent, that depends on the caller. */
  #measure(): void {
    const { lane, laneAhead } = this.#call;
    if (lane === null || !this.#requestEnded) return;
    lane.measured(this.#clock() - this.#sentAtMs, this.#sentAtMs, laneAhead);
  }

  /** What the upstream answers may not be passed on; it is not to blame. */
  #refuse(refusal: Refusal): void {
    this.#target.settle('neutral');
    this.#fail(refusal);
  }

  #settleBacklog(bytes: number): void {
    if (bytes === 0) return;
    this.#waitingBytes -= bytes;
    this.#backlog.leave(this.#call.peer, bytes);
  }

  /** Leaves the upstream's stream. Where the upstream can't be told yet, the caller's place there stays taken. */
  #leave(code: number): void {
    const upstream = this.#upstream;
    this.#upstream = null;
    if (upstream === null) return;
    const { admission, identity } = this.#call;
    let onGone = (): void => {};
    if (!upstream.cancel(code, () => onGone())) onGone = admission.linger(identity);
  }

  #begin(stream: Stream, nowMs: number): void {
    this.#upstream = stream;
    this.#call.attempts += 1;
    if (this.#call.attempts > 1) this.#traceparent = this.#owner.triedAgain();
    this.#sentBytes = 0;
    this.#sentAtMs = nowMs;
    const chunks = this.#request.chunks;
    const last = chunks.length - 1;
    const head = requestHead(this.#call, {
      traceparent: this.#traceparent,
      nowMs: this.#sentAtMs,
      readsResponse: this.#filter !== null,
    });
    if (!stream.fits(head)) {
      this.#refuse({ kind: 'metadata-too-large', side: 'request' });
      return;
    }
    stream.sendHeaders(head, this.#requestEnded && last < 0);
    for (let i = 0; i <= last && !this.#over; i++) {
      const chunk = chunks[i] as Buffer;
      this.#onSentBytes(stream.sendData(chunk, 0, chunk.length, this.#requestEnded && i === last));
    }
  }

  async #wait(): Promise<void> {
    this.#connectUntilMs ??= Math.min(this.#clock() + this.#limits.connectMsMax, this.#call.deadlineAtMs);
    const target = this.#target;
    for (let tries = 0; tries < OPEN_TRIES_MAX; tries++) {
      const problem = await target.ready(Math.max(1, this.#connectUntilMs - this.#clock()));
      if (this.#over) return;
      if (problem !== null) {
        this.#connectAgain(problem.detail, this.#connectUntilMs);
        return;
      }
      const stream = target.openStream(this);
      if (stream !== null) {
        this.#begin(stream, this.#clock());
        return;
      }
    }
    target.settle('neutral');
    this.#fail({ kind: 'upstream-unreachable', cause: 'it has no free stream' });
  }

  /**
   * Nothing of the call has been sent, so it may go to another endpoint, or to the same one again, until its time for
   * connecting is over. Endpoints that back off answer at once; the pause keeps a call from asking them without end.
   */
  #connectAgain(detail: string, untilMs: number): void {
    // One call says once of an endpoint that it cannot be reached; while it backs off nothing new is learnt.
    this.#target.settle(this.#connectsFailed < CONNECTS_COUNTED_MAX ? 'failure' : 'neutral', 'connect');
    if (this.#clock() + CONNECT_PAUSE_MS >= untilMs) {
      this.#fail({ kind: 'upstream-unreachable', cause: detail });
      return;
    }
    const pauseMs = this.#connectsFailed === 0 ? 0 : CONNECT_PAUSE_MS;
    this.#connectsFailed += 1;
    const again = setTimeout(() => {
      if (!this.#over) this.#retry('connect', detail, { kind: 'upstream-unreachable', cause: detail });
    }, pauseMs);
    again.unref();
  }

  /** Keeps request bytes for another try. @returns false when they are not kept */
  #keep(chunk: Buffer, start: number, end: number): boolean {
    if (end === start) return true;
    const fits = this.#request.bytes + end - start <= this.#limits.retryBytesPerCallMax;
    // Without a stream there is nowhere else for the bytes; the caller's window bounds them.
    if ((fits || this.#upstream === null) && this.#request.add(chunk, start, end)) return true;
    if (this.#upstream !== null) this.#commit();
    return false;
  }

  #commit(): void {
    this.#committed = true;
    this.#request.clear();
  }

  #onSentBytes(bytes: number): void {
    this.#sentBytes += bytes;
    this.#owner.onRequestSent(this.#sentBytes);
  }

  /** @param unprocessed the upstream has certainly not acted on the call */
  #canRetry(unprocessed: boolean): boolean {
    const call = this.#call;
    if (this.#committed || call.attempts >= this.#limits.attemptsMax) return false;
    // The inbound side retries only what was never processed: one layer of retries is enough.
    const safe = unprocessed || (call.direction === 'egress' && call.method.idempotent);
    return safe && this.#clock() < call.deadlineAtMs && this.#target.mayRetry();
  }

  /** @param otherwise how the call ends when there is nowhere to go; default: what routing says */
  #retry(cause: FailureCause, reason: string, otherwise?: Refusal): void {
    this.#target.settle('failure', cause);
    this.#target.release();
    this.#leave(ErrorCode.CANCEL);
    const next = this.#owner.reroute(reason);
    if (isRefusal(next)) {
      this.#close();
      this.#owner.onFailed(otherwise ?? next);
      return;
    }
    this.#target = next;
    this.start(this.#clock());
  }

  /** Passes on the response's last header block, and before it what a filter has held back. */
  #finish(trailers: readonly Field[]): void {
    const fields = this.#endGate() ?? this.#passable(this.#filter?.fields(trailers) ?? trailers);
    if (isRefusal(fields)) {
      this.#refuse(fields);
      return;
    }
    this.#close();
    this.#commit();
    const status = grpcStatusIn(fields);
    const cause = failureCauseOf(status);
    if (cause !== null && !isOfPolicy(fields)) this.#target.settle('failure', cause);
    else this.#target.settle(status === GrpcStatus.OK ? 'success' : 'neutral');
    if (this.#upstream?.localEnded === false) this.#leave(ErrorCode.NO_ERROR);
    this.#target.release();
    this.#status = fields;
    this.#owner.onAnswered(status, this);
  }

  sendStatus(): void {
    if (this.#headSent) this.#caller.sendTrailers(this.#status);
    else this.#caller.sendHeaders(this.#status, true);
  }

  #passable(fields: readonly Field[] | Refusal): readonly Field[] | Refusal {
    return isRefusal(fields) || this.#caller.fits(fields) ? fields : RESPONSE_TOO_LARGE;
  }

  #endGate(): Refusal | null {
    if (this.#gate === null) return null;
    return this.#responses.atBoundary ? this.#gate.end() : ENDED_INSIDE_MESSAGE;
  }

  #close(): void {
    this.#over = true;
    this.#gate?.clear();
  }

  #fail(refusal: Refusal): void {
    this.#close();
    this.#leave(ErrorCode.CANCEL);
    this.#target.release();
    this.#owner.onFailed(refusal);
  }
}

const NO_FIELDS: readonly Field[] = [];
const RESPONSE_TOO_LARGE: Refusal = { kind: 'metadata-too-large', side: 'response' };
const ENDED_INSIDE_MESSAGE: Refusal = { kind: 'upstream-malformed', cause: 'it ended inside a message' };
