import { loadContract } from '@gatehouse/contracts';
import { CallMatch, Limit } from '@gatehouse/contracts/policy';
import { echoDescriptorSet } from '@gatehouse/testing';
import { type CompiledLimit, compileLimit } from '../../src/policy/limits.ts';
import type { QuotaLease, QuotaShortage, QuotaSubject } from '../../src/quota/index.ts';

const loaded = loadContract({ descriptorSet: echoDescriptorSet() });
if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
const { contract } = loaded;

/** A limit of a policy document, compiled. */
export function limitOf(
  limit: Omit<Partial<Limit>, 'match'> & { readonly models?: string[] },
): CompiledLimit {
  const { models = [], ...given } = limit;
  const match = CallMatch.fromPartial({ models });
  return compileLimit({ ...Limit.fromPartial({ id: 'limit' }), ...given, match }, contract);
}

/** A call by `identity` with tokens to be counted. */
export function subjectOf(
  limits: readonly CompiledLimit[],
  more: Partial<QuotaSubject> & { readonly outputLimit?: number | null; readonly inputBound?: number } = {},
): QuotaSubject {
  const { outputLimit = null, inputBound = 0, ...given } = more;
  return {
    identity: 'spiffe://test.gatehouse/sa/caller',
    model: null,
    claims: null,
    limits,
    tokens: { inputBound, outputLimit, isMetered: true },
    onLost: () => {},
    ...given,
  };
}

/** @throws Error when the call was refused */
export function admitted(result: QuotaLease | QuotaShortage): QuotaLease {
  if ('kind' in result) throw new Error(`refused: ${JSON.stringify(result)}`);
  return result;
}

/** A generator of numbers from 0 to below 1 that gives the same ones for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}
