import type { ContractMethod, FieldValues } from '@gatehouse/contracts';
import { inflateMessage } from '../protect/index.ts';
import type { ByteBudget } from './byte-budget.ts';
import { isRefusal, type MessageFilter } from './message-filter.ts';
import type { Refusal } from './refusal.ts';

const HEAD_BYTES = 5;
/** When a call that found no room may come again. */
const BUFFER_RETRY_DELAY_MS = 100;
/** Of a request none of whose fields has a role. */
const NO_VALUES: FieldValues = {
  model: undefined,
  modelVersion: undefined,
  priority: undefined,
  outputTokensLimit: undefined,
  outputTokensUsed: undefined,
  inputTokensUsed: undefined,
  inputTokensBound: 0,
};

/** Pieces of a message that came apart are put together up to this size. */
const PIECE_BYTES_MAX = 1024;

/** The size of the whole message at `bytes[start]`, framing included, or null when it is not all there before `end`. */
export function messageBytes(bytes: Buffer, start: number, end: number): number | null {
  if (end - start < HEAD_BYTES) return null;
  const total = HEAD_BYTES + bytes.readUInt32BE(start + 1);
  return end - start >= total ? total : null;
}

/** Calls hold too many bytes together. */
export function heldBytesRefusal(limitBytes: number): Refusal {
  return { kind: 'overloaded', limit: 'heldBytesMax', max: limitBytes, retryDelayMs: BUFFER_RETRY_DELAY_MS };
}

/**
 * Reads what policy wants to know of one whole message. A compressed message is inflated for this alone, within the
 * method's size limit and a ratio; the bytes that go on are the ones that came.
 * @param framed the message with its five bytes of framing
 */
export function readMessage(framed: Buffer, method: ContractMethod, encoding: string): FieldValues | Refusal {
  const reader = method.requestFields;
  if (reader === null) return NO_VALUES;
  const body =
    framed[0] === 1 ? inflateMessage(framed.subarray(HEAD_BYTES), encoding, method.requestBytesMax) : framed;
  if ('expected' in body) return { kind: 'malformed', ...body };
  const values =
    body === framed ? reader.read(framed, HEAD_BYTES, framed.length) : reader.read(body, 0, body.length);
  return 'malformed' in values
    ? {
        kind: 'malformed',
        field: 'message',
        expected: `protobuf of ${method.path}'s request (${values.malformed})`,
      }
    : values;
}

/**
 * Cuts a stream of bytes into whole messages and sends each through a filter. A message that is not all there is held
 * back, in a budget that all calls share.
 */
export class MessageGate {
  readonly #filter: MessageFilter;
  readonly #budget: ByteBudget;
  readonly #send: (bytes: Buffer) => void;
  readonly #held: Buffer[] = [];
  #heldBytes = 0;
  /** Bytes without which the held message is certainly not whole. */
  #wantedBytes = HEAD_BYTES;

  /** @param send gets what goes on, valid during the call only */
  constructor(filter: MessageFilter, budget: ByteBudget, send: (bytes: Buffer) => void) {
    this.#filter = filter;
    this.#budget = budget;
    this.#send = send;
  }

  /** `chunk[start, end)` has come. @returns why the call may not go on */
  push(chunk: Buffer, start: number, end: number): Refusal | null {
    let at = start;
    while (at < end) {
      if (this.#heldBytes === 0) {
        const size = messageBytes(chunk, at, end);
        if (size === null) return this.#hold(chunk, at, end);
        const refusal = this.#pass(chunk.subarray(at, at + size));
        if (refusal !== null) return refusal;
        at += size;
        continue;
      }
      // What came first may hold the length already, and more.
      const missing = Math.min(Math.max(0, this.#wantedBytes - this.#heldBytes), end - at);
      const refusal = this.#hold(chunk, at, at + missing) ?? this.#passHeld();
      if (refusal !== null) return refusal;
      at += missing;
    }
    return null;
  }

  /** Nothing follows. @returns why the call may not end well */
  end(): Refusal | null {
    return this.#forward(this.#filter.end());
  }

  /** Drops what is held. */
  clear(): void {
    this.#budget.give(this.#heldBytes);
    this.#held.length = 0;
    this.#heldBytes = 0;
    this.#wantedBytes = HEAD_BYTES;
  }

  #hold(chunk: Buffer, start: number, end: number): Refusal | null {
    const bytes = end - start;
    if (bytes === 0) return null;
    if (!this.#budget.take(bytes)) return heldBytesRefusal(this.#budget.limitBytes);
    // Small pieces are put together: a Buffer for every byte would take a hundred.
    const last = this.#held.at(-1);
    if (last !== undefined && last.length + bytes <= PIECE_BYTES_MAX)
      this.#held[this.#held.length - 1] = Buffer.concat([last, chunk.subarray(start, end)]);
    else this.#held.push(Buffer.from(chunk.subarray(start, end)));
    this.#heldBytes += bytes;
    return null;
  }

  /** Passes the held message on if it is whole. */
  #passHeld(): Refusal | null {
    if (this.#heldBytes < this.#wantedBytes) return null;
    const held = Buffer.concat(this.#held, this.#heldBytes);
    this.#wantedBytes = HEAD_BYTES + held.readUInt32BE(1);
    if (held.length < this.#wantedBytes) {
      this.#held.splice(0, this.#held.length, held);
      return null;
    }
    this.clear();
    return this.#pass(held);
  }

  #pass(framed: Buffer): Refusal | null {
    return this.#forward(this.#filter.message(framed));
  }

  #forward(passed: Buffer | Refusal): Refusal | null {
    if (isRefusal(passed)) return passed;
    if (passed.length > 0) this.#send(passed);
    return null;
  }
}
