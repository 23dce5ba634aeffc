import type { Contract } from '@gatehouse/contracts';
import { REGISTERED_CLAIMS } from './claims.ts';
import { type Placed, type ProblemList, placeText, type SectionEntry } from './placed-entries.ts';
import { listOf, pathsOf, suggestion } from './schema-parts.ts';
import type { TokenTypeTable } from './token-types.ts';

type LimitEntry = SectionEntry<'limits'>;

const NUMBERS = ['requests', 'concurrentCalls', 'tokensPerMinute', 'tokensPerDay'] as const;
const CLAIM = 'claim:';

/** Limits that contradict themselves or each other, and those that nothing can ever be counted by. */
export function checkLimits(
  of: {
    readonly limits: readonly Placed<LimitEntry>[];
    readonly types: TokenTypeTable;
    readonly contract: Contract;
  },
  problems: ProblemList,
): void {
  const types = of.types.of(undefined);
  const known = new Set([...REGISTERED_CLAIMS.keys(), ...(types.claims?.keys() ?? [])]);
  const byScope = new Map<string, Placed<LimitEntry>[]>();
  for (const limit of of.limits) {
    if (!limit.fits) continue;
    const { tokensPerMinute, tokensPerDay } = limit.entry;
    if (tokensPerMinute !== undefined && tokensPerDay !== undefined && tokensPerMinute > tokensPerDay) {
      const form = `expected at most tokensPerDay, which is ${tokensPerDay}: more could never be used`;
      problems.add(limit, ['tokensPerMinute'], form, tokensPerMinute);
    }
    checkModels(limit, of.contract, problems);
    for (const [index, part] of listOf(limit.entry.per).entries()) {
      if (!part.startsWith(CLAIM)) continue;
      const name = part.slice(CLAIM.length);
      if (types.claims === null)
        problems.add(limit, ['per', index], 'expected no claim: the document has no jwtIssuers', part);
      else if (types.isComplete && !known.has(name)) {
        const form = `expected a claim that an issuer declares${suggestion(name, known)}`;
        problems.add(limit, ['per', index], form, part);
      }
    }
    checkTwin(limit, byScope, problems);
  }
}

function checkModels(limit: Placed<LimitEntry>, contract: Contract, problems: ProblemList): void {
  const { match, per } = limit.entry;
  const methods = listOf(match?.methods);
  const permissions = listOf(match?.permissions);
  const isAll = methods.length + permissions.length === 0;
  const paths = isAll ? [...contract.methods.keys()] : pathsOf({ methods, permissions }, contract);
  if (paths.some((path) => contract.methods.get(path)?.requestFields?.readsModel)) return;
  const why = 'no method of this limit has a model in its request';
  if (match?.models !== undefined)
    problems.add(limit, ['match', 'models'], `expected no models: ${why}`, match.models);
  if (listOf(per).includes('model'))
    problems.add(limit, ['per'], `expected no account for each model: ${why}`, per);
}

/** Two limits of one scope and key on the same number: the smaller one alone would ever hold. */
function checkTwin(
  limit: Placed<LimitEntry>,
  byScope: Map<string, Placed<LimitEntry>[]>,
  problems: ProblemList,
): void {
  const scope = scopeOf(limit.entry);
  const others = byScope.get(scope) ?? [];
  for (const other of others) {
    const same = NUMBERS.find((key) => limit.entry[key] !== undefined && other.entry[key] !== undefined);
    if (same === undefined) continue;
    const form = `expected one limit for the same calls and accounts: limit ${other.entry.id} (${placeText(other)}) has ${same} for them as well`;
    problems.add(limit, [same], form, limit.entry[same]);
    break;
  }
  byScope.set(scope, [...others, limit]);
}

function scopeOf({ match, per }: LimitEntry): string {
  const sorted = (list: readonly string[] | undefined): readonly string[] => [...listOf(list)].toSorted();
  return JSON.stringify([
    sorted(match?.identities),
    sorted(match?.methods),
    sorted(match?.permissions),
    sorted(match?.models),
    sorted(per),
  ]);
}
