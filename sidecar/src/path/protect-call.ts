import type { Field } from '../http2/index.ts';
import type { Policy } from '../policy/index.ts';
import type { MessageProtection, Protectors } from '../protect/index.ts';
import type { Admitted } from './5-admit.ts';
import type { MessageFilter } from './message-filter.ts';
import type { Refusal } from './refusal.ts';

/** What protects the two directions of a call; null: nothing is looked for. */
export type CallFilters = {
  readonly request: MessageFilter | null;
  readonly response: MessageFilter | null;
};

export const UNPROTECTED: CallFilters = { request: null, response: null };

/** Begins the protection that policy asks for, and leaves its counts with the call. */
export function protectCall(
  call: Admitted,
  policy: Policy,
  { protectors, onBug }: { readonly protectors: Protectors; readonly onBug: (error: unknown) => void },
): CallFilters {
  const protections = call.peer.rulesUnder(policy).protections(call.method);
  if (protections.length === 0) return UNPROTECTED;
  const begun = protectors.of(policy).begin({ method: call.method, protections, model: () => call.model });
  if (begun === null) return UNPROTECTED;
  call.hits = begun.hits;
  const { request, response } = begun;
  return {
    request: request && new ProtectionFilter(request, onBug),
    response: response && new ProtectionFilter(response, onBug),
  };
}

/** Whatever a protection throws is a bug, and ends this call alone: nothing goes on that it has not passed. */
class ProtectionFilter implements MessageFilter {
  readonly #protection: MessageProtection;
  readonly #onBug: (error: unknown) => void;

  constructor(protection: MessageProtection, onBug: (error: unknown) => void) {
    this.#protection = protection;
    this.#onBug = onBug;
  }

  fields(fields: readonly Field[]): readonly Field[] | Refusal {
    return this.#guard(() => this.#protection.fields(fields));
  }

  message(framed: Buffer): Buffer | Refusal {
    try {
      return this.#protection.message(framed);
    } catch (error) {
      return this.#failed(error);
    }
  }

  end(): Buffer | Refusal {
    return this.#guard(() => this.#protection.end());
  }

  #guard<T>(protect: () => T): T | Refusal {
    try {
      return protect();
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** What was thrown is logged by its kind and place: its message may hold content. */
  #failed(error: unknown): Refusal {
    this.#onBug(withoutMessage(error));
    return { kind: 'bug' };
  }
}

function withoutMessage(error: unknown): Error {
  const bare = new Error('a protection threw');
  if (error instanceof Error) bare.stack = `${error.name} in a protection\n${framesOf(error)}`;
  return bare;
}

function framesOf({ stack = '' }: Error): string {
  return stack
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .join('\n');
}
