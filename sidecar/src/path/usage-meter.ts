import type { ContractMethod, FieldReader } from '@gatehouse/contracts';
import type { Admitted } from './5-admit.ts';
import type { ByteBudget } from './byte-budget.ts';
import type { CallMetrics, NamedCalls } from './call-metrics.ts';
import { messageBytes } from './message-gate.ts';

const HEAD_BYTES = 5;
/** Of tokens that an app tells of; more can't be kept exactly. */
const TOKENS_MAX = Number.MAX_SAFE_INTEGER;
/** Larger messages that come apart are not put together to be read. */
const MESSAGE_BYTES_MAX = 1024 * 1024;
/** What is told is cumulative: after the first token one message in so many is read, and the last one. */
const MESSAGES_UNREAD_MAX = 16;
/** A message that is not read yet is copied up to this size; a larger one is read at once. */
const LAST_BYTES_MAX = 256;

/** Whether responses of the method tell how many tokens are used. */
export function tellsUsage(method: ContractMethod): boolean {
  return tells(method, 'outputTokensUsed') || tells(method, 'inputTokensUsed');
}

export function tells(method: ContractMethod, role: 'inputTokensUsed' | 'outputTokensUsed'): boolean {
  return method.responseFields?.reads(role) ?? false;
}

/**
 * Counts the tokens that a call's responses tell of, for metrics alone: it looks at the bytes that go by and holds none of them
 * up. What it can't read (compressed, or too large and in pieces) is not counted. Where a limit or the audit log reads each
 * message anyway, it is told.
 */
export class UsageMeter {
  /** Nobody else reads the call's messages. */
  readsItself = true;
  readonly #call: Admitted;
  readonly #reader: FieldReader;
  readonly #budget: ByteBudget;
  readonly #counts: readonly NamedCalls[];
  /** Null: it has come, or the call has none. */
  #onFirstToken: (() => void) | null;
  /** From now on the messages need not all be read. */
  #begun = false;
  #messagesRead = 0;
  #messagesUnread = 0;
  /** The last message, while it is unread. */
  #last: Buffer | null = null;
  #lastBytes = 0;
  /** A message that is not all there, and how many bytes it takes to go on with it. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #wantedBytes = HEAD_BYTES;
  /** What is left of a message that is not read. */
  #skippedBytes = 0;

  /** @param budget for messages that come apart */
  constructor(call: Admitted, metrics: CallMetrics, budget: ByteBudget, onFirstToken: () => void) {
    const { method, model } = call;
    this.#call = call;
    this.#reader = method.responseFields as FieldReader;
    this.#budget = budget;
    const caller = metrics.callers.of(call.identity);
    this.#counts = [metrics.models.of(model ?? ''), caller];
    this.#onFirstToken = method.kind === 'server-streaming' ? onFirstToken : null;
  }

  /** Tokens used so far, in all. Undefined: that is not told. */
  told(inputTokens: number | undefined, outputTokens: number | undefined): void {
    const call = this.#call;
    const input = largest(call.inputTokens, inputTokens);
    const output = largest(call.outputTokens, outputTokens);
    for (const counts of this.#counts) {
      counts.inputTokens += input - call.inputTokens;
      counts.outputTokens += output - call.outputTokens;
    }
    call.inputTokens = input;
    call.outputTokens = output;
    if (output === 0) return;
    this.#begun = true;
    this.#onFirstToken?.();
    this.#onFirstToken = null;
  }

  /** `chunk[start, end)` of the response goes by. */
  see(chunk: Buffer, start: number, end: number): void {
    let at = start;
    let last = -1;
    while (at < end) {
      if (this.#skippedBytes > 0 || this.#heldBytes > 0) {
        at = this.#goOn(chunk, at, end);
        continue;
      }
      const size = messageBytes(chunk, at, end);
      if (size === null) {
        this.#hold(chunk, at, end);
        break;
      }
      last = at;
      at += size;
      if (!this.#begun) {
        this.#read(chunk, last, at);
        last = -1;
      } else this.#messagesUnread += 1;
    }
    if (last >= 0) this.#keep(chunk, last, at);
  }

  /** The call is over. */
  end(): void {
    this.#drop();
    if (this.#last !== null && this.#lastBytes > 0) this.#read(this.#last, 0, this.#lastBytes);
  }

  /** Reads one message in some, and copies the others as long as they may be the last. */
  #keep(chunk: Buffer, start: number, end: number): void {
    if (this.#messagesUnread >= MESSAGES_UNREAD_MAX || end - start > LAST_BYTES_MAX) {
      this.#read(chunk, start, end);
      return;
    }
    this.#last ??= Buffer.allocUnsafe(LAST_BYTES_MAX);
    this.#lastBytes = chunk.copy(this.#last, 0, start, end);
  }

  #read(bytes: Buffer, start: number, end: number): void {
    this.#lastBytes = 0;
    this.#messagesUnread = 0;
    // A stream that tells at its end alone would have each of its messages read.
    if (++this.#messagesRead >= MESSAGES_UNREAD_MAX) this.#begun = true;
    if (bytes[start] !== 0) return;
    const values = this.#reader.read(bytes, start + HEAD_BYTES, end);
    if ('malformed' in values) return;
    this.told(values.inputTokensUsed, values.outputTokensUsed);
  }

  #goOn(chunk: Buffer, start: number, end: number): number {
    if (this.#skippedBytes > 0) {
      const skipped = Math.min(this.#skippedBytes, end - start);
      this.#skippedBytes -= skipped;
      return start + skipped;
    }
    const to = Math.min(end, start + this.#wantedBytes - this.#heldBytes);
    this.#hold(chunk, start, to);
    return to;
  }

  /** Holds part of a message; reads it when it is whole, and leaves it out when it is too large. */
  #hold(chunk: Buffer, start: number, end: number): void {
    if (this.#heldBytes === 0) this.#wantedBytes = HEAD_BYTES;
    if (!this.#budget.take(end - start)) {
      this.#stop();
      return;
    }
    this.#held.push(Buffer.from(chunk.subarray(start, end)));
    this.#heldBytes += end - start;
    if (this.#heldBytes < this.#wantedBytes) return;
    const held = Buffer.concat(this.#held, this.#heldBytes);
    this.#wantedBytes = HEAD_BYTES + held.readUInt32BE(1);
    if (held.length === this.#wantedBytes) {
      this.#drop();
      this.#read(held, 0, held.length);
    } else if (this.#wantedBytes > MESSAGE_BYTES_MAX) {
      this.#drop();
      this.#skippedBytes = this.#wantedBytes - held.length;
    }
  }

  /** There is no room to follow the call any further. */
  #stop(): void {
    this.#drop();
    this.#skippedBytes = Number.POSITIVE_INFINITY;
  }

  #drop(): void {
    this.#budget.give(this.#heldBytes);
    this.#held = [];
    this.#heldBytes = 0;
  }
}

function largest(known: number, told: number | undefined): number {
  return told !== undefined && told > known ? Math.min(Math.round(told), TOKENS_MAX) : known;
}
