import type { ContractMethod, FieldReader, FieldValues } from '@gatehouse/contracts';
import type { Field } from '../http2/index.ts';
import { limitsModel, type Policy } from '../policy/index.ts';
import { inflateMessage } from '../protect/index.ts';
import { type QuotaLease, type QuotaShortage, type Quotas, UNLIMITED } from '../quota/index.ts';
import type { Authenticated } from './3-authenticate.ts';
import type { Admitted, Placed } from './5-admit.ts';
import type { Call } from './call.ts';
import { isRefusal, type MessageFilter } from './message-filter.ts';
import type { Refusal } from './refusal.ts';
import { tells, tellsUsage } from './usage-meter.ts';

const NOTHING: Buffer = Buffer.alloc(0);
const HEAD_BYTES = 5;

/**
 * Asks for room in the limits that concern a call.
 * @param onLost the call can no longer be counted, and has to end
 */
export function reserve(
  call: Placed,
  policy: Policy,
  quotas: Quotas,
  onLost: (shortage: QuotaShortage) => void,
): QuotaLease | QuotaShortage | Promise<QuotaLease | QuotaShortage> {
  const limits = call.peer.rulesUnder(policy).limits(call.method);
  if (limits.length === 0) return UNLIMITED;
  const { method, requestValues } = call;
  return quotas.admit({
    identity: call.identity,
    model: call.model,
    claims: call.token?.claims ?? null,
    limits,
    tokens:
      method.costUnit !== 'tokens'
        ? null
        : {
            inputBound: requestValues?.inputTokensBound ?? 0,
            outputLimit: outputLimitOf(method, requestValues?.outputTokensLimit),
            isMetered: tellsUsage(method),
          },
    onLost,
  });
}

/** What the limits gave goes with the call, to be given back at its end. */
export function hold(call: Placed, quota: QuotaLease | Refusal): Admitted | Refusal {
  if (isRefusal(quota)) {
    if ('limitId' in quota) call.limitsTouched = [quota.limitId];
    return quota;
  }
  call.quota = quota;
  call.limitsTouched = quota.touched;
  return call as Admitted;
}

/** Where limits go by the model, a call keeps to the one that it is counted by: it could use up another's otherwise. */
export function otherModel(
  call: Authenticated,
  next: Pick<FieldValues, 'model'>,
  policy: Policy | null,
): Refusal | null {
  if (policy === null || next.model === call.requestValues?.model) return null;
  return call.peer.rulesUnder(policy).limits(call.method).some(limitsModel) ? ONE_MODEL : null;
}

const ONE_MODEL: Refusal = {
  kind: 'malformed',
  field: 'model',
  expected: 'the model of the first message: the call is counted by it',
};

/** A method whose responses tell of input alone has no output that counts. */
function outputLimitOf(method: ContractMethod, asked: number | undefined): number | null {
  if (asked !== undefined && asked > 0) return asked;
  return tells(method, 'inputTokensUsed') && !tells(method, 'outputTokensUsed') ? 0 : null;
}

/**
 * Counts the tokens that responses tell of, before they go on: the one that there is no room for is not delivered. Without
 * a lease they are counted for the record alone, and what can't be read passes uncounted.
 */
export class UsageFilter implements MessageFilter {
  readonly #call: Call & { readonly method: ContractMethod };
  readonly #lease: QuotaLease | null;
  #encoding = 'identity';

  constructor(call: Call & { readonly method: ContractMethod }, lease: QuotaLease | null) {
    this.#call = call;
    this.#lease = lease;
    if (call.meter !== null) call.meter.readsItself = false;
  }

  fields(fields: readonly Field[]): readonly Field[] {
    for (const each of fields) if (each.name === 'grpc-encoding') this.#encoding = each.value;
    return fields;
  }

  message(framed: Buffer): Buffer | Refusal {
    const values = this.#read(framed);
    if ('kind' in values) return this.#lease === null ? framed : values;
    const { inputTokensUsed, outputTokensUsed } = values;
    const shortage = this.#lease?.settle(inputTokensUsed, outputTokensUsed) ?? null;
    if (shortage !== null) return shortage;
    this.#call.meter?.told(inputTokensUsed, outputTokensUsed);
    return framed;
  }

  end(): Buffer {
    return NOTHING;
  }

  /** The app is told to answer uncompressed; one that does not is read all the same. */
  #read(framed: Buffer): FieldValues | Refusal {
    const { responseFields, responseBytesMax } = this.#call.method;
    const reader = responseFields as FieldReader;
    const body =
      framed[0] === 1
        ? inflateMessage(framed.subarray(HEAD_BYTES), this.#encoding, responseBytesMax)
        : framed;
    if ('expected' in body) return unreadable(`expected ${body.expected}`);
    const values =
      body === framed ? reader.read(framed, HEAD_BYTES, framed.length) : reader.read(body, 0, body.length);
    return 'malformed' in values ? unreadable(values.malformed) : values;
  }
}

function unreadable(cause: string): Refusal {
  return { kind: 'upstream-malformed', cause: `a message that cannot be read for its tokens: ${cause}` };
}
