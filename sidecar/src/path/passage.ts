import { ErrorCode, type Field, type Stream, type StreamHandler, type StreamReset } from '../http2/index.ts';
import type { Target } from './6-route.ts';
import type { Forwarding } from './7-forward.ts';
import type { ByteBudget } from './byte-budget.ts';
import type { Call } from './call.ts';
import type { Expiring } from './deadline-wheel.ts';
import type { Answer, ForwardOwner } from './forward-owner.ts';
import type { GrpcStatus } from './grpc-status.ts';
import type { MessageFilter } from './message-filter.ts';
import { heldBytesRefusal, MessageGate, messageBytes } from './message-gate.ts';
import { MessageScanner } from './message-scanner.ts';
import type { Refusal } from './refusal.ts';
import type { RequestBuffer } from './request-buffer.ts';
import { requestScanRefusal } from './scan-refusal.ts';

/** What happens to a passage is decided in the pipeline. */
export interface PassageOwner {
  arrive(passage: Passage, fields: readonly Field[]): void;
  /** The first message is there whole. */
  firstMessage(passage: Passage, framed: Buffer): void;
  refuse(passage: Passage, refusal: Refusal): void;
  /** The upstream has answered in full with this status. */
  answered(passage: Passage, status: GrpcStatus, answer: Answer): void;
  /** Another try is wanted. @returns the next target, or why there is none */
  reroute(passage: Passage, reason: string): Target | Refusal;
  /** A try that is not the first has begun. @returns what it sends as `traceparent` */
  triedAgain(passage: Passage): string | null;
  /** The caller has gone. */
  abandoned(passage: Passage): void;
  expired(passage: Passage): void;
}

/**
 * One call's way through the sidecar, as the caller's stream sees it: takes the request's bytes, checks their framing
 * and size, holds them until there is somewhere to send them, and then hands them on.
 */
export class Passage implements StreamHandler, Expiring, ForwardOwner {
  readonly call: Call;
  readonly stream: Stream;
  readonly request: RequestBuffer;
  /** When the first message has to be there; changed only while no wheel holds this passage. */
  firstMessageByMs = Number.POSITIVE_INFINITY;
  /** Place among the pipeline's active passages. */
  activePlace = -1;
  wheelSlot: Expiring['wheelSlot'] = null;
  wheelPlace = 0;
  readonly #owner: PassageOwner;
  #scanner: MessageScanner | null = null;
  #forwarding: Forwarding | null = null;
  #gate: MessageGate | null = null;
  #wantsFirst = false;
  /** Bytes without which the first message is certainly not whole. */
  #firstBytesMin = 0;
  #headSeen = false;
  #requestEnded = false;
  #over = false;
  /** Bytes of the request that the caller has had credit for. */
  #creditedBytes = 0;
  /** Bytes gone through the gate that wait for credit until the upstream has caught up. */
  #owedBytes = 0;

  constructor(call: Call, request: RequestBuffer, owner: PassageOwner) {
    this.call = call;
    this.stream = call.stream;
    this.request = request;
    this.#owner = owner;
  }

  get deadlineAtMs(): number {
    return Math.min(this.call.deadlineAtMs, this.firstMessageByMs);
  }

  /** Answered, refused or abandoned: nothing more may be done with the call. */
  get over(): boolean {
    return this.#over;
  }

  get requestEnded(): boolean {
    return this.#requestEnded;
  }

  get requestMessages(): number {
    return this.#scanner?.messages ?? 0;
  }

  get forwarding(): Forwarding | null {
    return this.#forwarding;
  }

  /** Checks the framing from now on. Called before any body byte is read. */
  expectMessages(limitBytes: number, messagesMax: number): void {
    this.#scanner = new MessageScanner(limitBytes, messagesMax);
  }

  /** Holds the request until its first message is whole, and gives that to the owner. */
  awaitFirstMessage(): void {
    this.#wantsFirst = true;
    if (this.request.bytes > 0) {
      this.#credit(this.request.bytes);
      this.#checkFirst();
    }
    if (this.#wantsFirst && this.#requestEnded) this.#owner.refuse(this, NO_MESSAGE);
  }

  /** From now on every message goes through the filter, those that are held first. */
  filterRequest(filter: MessageFilter, budget: ByteBudget): void {
    this.#gate = new MessageGate(filter, budget, (bytes) => this.#sendGated(bytes));
    const held = this.request.join();
    this.request.clear();
    this.#pushThroughGate(held, 0, held.length);
    if (this.#requestEnded && !this.#over) this.#endGate();
  }

  forwardTo(forwarding: Forwarding): void {
    this.#forwarding = forwarding;
    forwarding.start(this.call.nowMs);
  }

  onAnswered(status: GrpcStatus, answer: Answer): void {
    this.#owner.answered(this, status, answer);
  }

  onFailed(refusal: Refusal): void {
    this.#owner.refuse(this, refusal);
  }

  reroute(reason: string): Target | Refusal {
    return this.#owner.reroute(this, reason);
  }

  triedAgain(): string | null {
    return this.#owner.triedAgain(this);
  }

  /** Request bytes have left: as many may come in. @param bytes all that have left in this try */
  onRequestSent(bytes: number): void {
    if (this.#over) return;
    if (this.#gate === null) {
      if (bytes > this.#creditedBytes) this.#credit(bytes - this.#creditedBytes);
    } else if (this.#owedBytes > 0 && this.#forwarding?.queuedBytes === 0) {
      const owed = this.#owedBytes;
      this.#owedBytes = 0;
      this.#credit(owed);
    }
  }

  /** Ends the passage: whatever the caller still sends is dropped. */
  finish(): void {
    this.#over = true;
    this.request.clear();
    this.#gate?.clear();
    this.#closeWhenSent();
  }

  onHeaders(_stream: Stream, fields: readonly Field[], endStream: boolean): void {
    if (!this.#headSeen) {
      this.#headSeen = true;
      this.#owner.arrive(this, fields);
      if (endStream && !this.#over) this.#onRequestEnd();
    } else if (!this.#over) {
      // gRPC clients send no trailers; where one does, they end the request and are not passed on.
      if (this.#endsWhole) this.#onRequestEnd();
      else this.#owner.refuse(this, TRUNCATED);
    }
  }

  onData(stream: Stream, chunk: Buffer, start: number, end: number, endStream: boolean): void {
    if (this.#over) {
      stream.consume(end - start);
      return;
    }
    const problem = this.#scanner?.scan(chunk, start, end) ?? null;
    if (problem !== null) {
      this.#owner.refuse(this, requestScanRefusal(problem, this.call.path));
    } else if (endStream && !this.#endsWhole) {
      this.#owner.refuse(this, TRUNCATED);
    } else if (this.#gate !== null) {
      this.#onGatedData(chunk, start, end, endStream);
    } else if (this.#forwarding !== null) {
      if (endStream) this.#requestEnded = true;
      this.#forwarding.sendRequest(chunk, start, end, endStream);
    } else {
      this.#hold(chunk, start, end);
      if (endStream && !this.#over) this.#onRequestEnd();
    }
  }

  onSent(_stream: Stream, bytes: number): void {
    this.#forwarding?.responseSent(bytes);
    if (this.#over) this.#closeWhenSent();
  }

  onReset(_stream: Stream, _reset: StreamReset): void {
    this.#forwarding?.callerGone();
    if (this.#over) return;
    this.#over = true;
    this.#owner.abandoned(this);
  }

  onDeadline(): void {
    if (!this.#over) this.#owner.expired(this);
  }

  get #endsWhole(): boolean {
    return this.#scanner?.atBoundary ?? true;
  }

  #onRequestEnd(): void {
    this.#requestEnded = true;
    if (!this.#endGate()) return;
    if (this.#forwarding !== null) this.#forwarding.sendRequest(NOTHING, 0, 0, true);
    else if (this.#wantsFirst) this.#owner.refuse(this, NO_MESSAGE);
  }

  #hold(chunk: Buffer, start: number, end: number): void {
    if (end === start) return;
    if (!this.request.add(chunk, start, end)) {
      this.#owner.refuse(this, heldBytesRefusal(this.request.limitBytes));
    } else if (this.#wantsFirst) {
      // A first message may be larger than the window; what is held of it is bounded by the method's size limit.
      this.#credit(end - start);
      this.#checkFirst();
    }
  }

  #credit(bytes: number): void {
    this.#creditedBytes += bytes;
    this.stream.consume(bytes);
  }

  #checkFirst(): void {
    if (this.request.bytes < this.#firstBytesMin) return;
    const held = this.request.join();
    const size = messageBytes(held, 0, held.length);
    if (size === null) {
      // To look again at every byte that comes would take the square of them.
      this.#firstBytesMin =
        MESSAGE_HEAD_BYTES + (held.length < MESSAGE_HEAD_BYTES ? 0 : held.readUInt32BE(1));
      return;
    }
    this.#wantsFirst = false;
    this.#owner.firstMessage(this, held.subarray(0, size));
  }

  #onGatedData(chunk: Buffer, start: number, end: number, endStream: boolean): void {
    // A message may be larger than the window, so an unfinished one is credited at once; a slow upstream delays it.
    if ((this.#forwarding?.queuedBytes ?? 0) > 0) this.#owedBytes += end - start;
    else this.#credit(end - start);
    this.#pushThroughGate(chunk, start, end);
    if (endStream && !this.#over) this.#onRequestEnd();
  }

  #sendGated(message: Buffer): void {
    if (this.#over) return;
    if (this.#forwarding !== null) this.#forwarding.sendRequest(message, 0, message.length, false);
    else this.#hold(message, 0, message.length);
  }

  #pushThroughGate(chunk: Buffer, start: number, end: number): void {
    const refusal = this.#gate?.push(chunk, start, end) ?? null;
    if (refusal !== null && !this.#over) this.#owner.refuse(this, refusal);
  }

  /** Sends what the filter has held back. @returns whether the call goes on */
  #endGate(): boolean {
    const refusal = this.#gate?.end() ?? null;
    if (refusal !== null && !this.#over) this.#owner.refuse(this, refusal);
    return !this.#over;
  }

  /** A server that has answered before the request's end says that it wants no more of it (RFC 9113 §8.1). */
  #closeWhenSent(): void {
    if (this.stream.localEnded) this.stream.reset(ErrorCode.NO_ERROR);
  }
}

const NOTHING: Buffer = Buffer.alloc(0);
/** Compression flag and length before a message. */
const MESSAGE_HEAD_BYTES = 5;
const NO_MESSAGE: Refusal = {
  kind: 'malformed',
  field: 'message',
  expected: 'a message before the request ends',
};
const TRUNCATED: Refusal = {
  kind: 'malformed',
  field: 'message framing',
  expected: 'whole messages up to the end of the request',
};
