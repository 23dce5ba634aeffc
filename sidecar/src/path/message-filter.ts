import type { Field } from '../http2/index.ts';
import type { Refusal } from './refusal.ts';

const NOTHING: Buffer = Buffer.alloc(0);

/**
 * Looks at one direction of one call, and may change it. A direction without a filter is passed on as it comes, cut
 * wherever the network cuts it.
 */
export interface MessageFilter {
  /** The head of the direction, or the trailers of a response. */
  fields(fields: readonly Field[]): readonly Field[] | Refusal;
  /**
   * One whole message with its five bytes of framing, valid during the call only. What is given back goes on in its
   * place: the same buffer, another message, several in a row, or an empty buffer when it is held back.
   */
  message(framed: Buffer): Buffer | Refusal;
  /** No message follows. What was held back goes on now. */
  end(): Buffer | Refusal;
}

/** One filter after the other; null where there is neither. The first gives one message for each, or none. */
export function chainFilters(first: MessageFilter | null, rest: MessageFilter | null): MessageFilter | null {
  if (first === null) return rest;
  return rest === null ? first : new FilterChain(first, rest);
}

export function isRefusal(value: object): value is Refusal {
  return 'kind' in value;
}

/** Looks at each message, and lets it pass as it is or ends the call. */
export class MessageCheck implements MessageFilter {
  readonly #check: (framed: Buffer) => Refusal | null;

  constructor(check: (framed: Buffer) => Refusal | null) {
    this.#check = check;
  }

  fields(fields: readonly Field[]): readonly Field[] {
    return fields;
  }

  message(framed: Buffer): Buffer | Refusal {
    return this.#check(framed) ?? framed;
  }

  end(): Buffer {
    return NOTHING;
  }
}

class FilterChain implements MessageFilter {
  readonly #first: MessageFilter;
  readonly #rest: MessageFilter;

  constructor(first: MessageFilter, rest: MessageFilter) {
    this.#first = first;
    this.#rest = rest;
  }

  fields(fields: readonly Field[]): readonly Field[] | Refusal {
    const passed = this.#first.fields(fields);
    return isRefusal(passed) ? passed : this.#rest.fields(passed);
  }

  message(framed: Buffer): Buffer | Refusal {
    const passed = this.#first.message(framed);
    return isRefusal(passed) || passed.length === 0 ? passed : this.#rest.message(passed);
  }

  end(): Buffer | Refusal {
    const last = this.#first.end();
    if (isRefusal(last)) return last;
    const passed = last.length === 0 ? last : this.#rest.message(last);
    if (isRefusal(passed)) return passed;
    const held = this.#rest.end();
    if (isRefusal(held) || passed.length === 0) return held;
    return held.length === 0 ? passed : Buffer.concat([passed, held]);
  }
}
