import { type Contract, contractFit } from '@gatehouse/contracts';
import type { DocumentProblem } from '@gatehouse/documents';
import type { ConditionCompiler } from './condition.ts';
import { checkConditions } from './condition-checks.ts';
import type { DocumentSource, ReadSources } from './document-source.ts';
import { parseIdentityPattern } from './identity-pattern.ts';
import { checkLimits } from './limit-checks.ts';
import { type Placed, ProblemList, placedEntries, placeText, type SectionName } from './placed-entries.ts';
import { checkProtections, type DetectorCheck } from './protection-checks.ts';
import { checkReach } from './rule-reach.ts';
import { listOf, suggestion } from './schema-parts.ts';
import type { TokenTypeTable } from './token-types.ts';

/** What the whole of a document is checked against. */
export interface CheckOptions {
  readonly contract: Contract;
  /** Names of the keys that protections may use; undefined: not known here. */
  readonly protectionKeys: ReadonlySet<string> | undefined;
  readonly conditions: ConditionCompiler;
  readonly types: TokenTypeTable;
  readonly detectorProblem: DetectorCheck | undefined;
}

/** Names by which entries are told apart, which all files of a document share. */
const UNIQUE: readonly (readonly [SectionName, string])[] = [
  ['jwtIssuers', 'name'],
  ['jwtIssuers', 'issuer'],
  ['rules', 'id'],
  ['limits', 'id'],
  ['protections', 'id'],
  ['detectors', 'name'],
];

/** What no entry shows by itself: what lies between entries, over all files. Every problem is reported. */
export function checkDocument(read: ReadSources, options: CheckOptions): readonly DocumentProblem[] {
  const { sources } = read;
  const problems = new ProblemList();
  const { contract } = options;
  for (const [section, key] of UNIQUE) checkRepeated(placedEntries(sources, section), key, problems);
  const issuers = placedEntries(sources, 'jwtIssuers');
  const rules = placedEntries(sources, 'rules');
  const limits = placedEntries(sources, 'limits');
  const protections = placedEntries(sources, 'protections');
  checkIssuerNames(
    rules,
    issuers.map(({ entry }) => entry.name),
    problems,
  );
  const domains = trustDomainsOf(sources[0]);
  if (domains !== null) {
    const of = (
      placed: Placed<unknown>,
      within: readonly PropertyKey[],
      identities: readonly string[] = [],
    ): void => checkDomains({ placed, within, identities }, domains, problems);
    for (const rule of rules) of(rule, [], rule.entry.identities);
    for (const each of [...limits, ...protections]) of(each, ['match'], each.entry.match?.identities);
  }
  checkConditions({ rules, issuers, contract, compiler: options.conditions, types: options.types }, problems);
  checkLimits({ limits, types: options.types, contract }, problems);
  checkProtections(
    {
      protections,
      detectors: placedEntries(sources, 'detectors'),
      keys: options.protectionKeys,
      detectorProblem: options.detectorProblem,
    },
    problems,
  );
  checkReach(rules, contract, problems);
  return [...contractProblems(read, contract), ...problems.found];
}

/** Both versions are named: which of the two has to change is not known here. */
function contractProblems({ sources, main }: ReadSources, contract: Contract): DocumentProblem[] {
  const content = sources[0]?.content;
  if (main === null || !content) return [];
  const { contractDigest, contractVersion } = main;
  const problems: DocumentProblem[] = [];
  if (contractDigest !== undefined && !contract.digest.startsWith(contractDigest)) {
    const expected = `expected the digest of the descriptor set, ${contract.digest}`;
    problems.push(content.problemAt(['contractDigest'], expected, contractDigest));
  }
  if (contractVersion !== undefined) {
    const expected = versionExpected(contractVersion, contract.version);
    if (expected !== '') problems.push(content.problemAt(['contractVersion'], expected, contractVersion));
  }
  return problems;
}

function versionExpected(wanted: string, served: string | null): string {
  if (served === null) return 'expected no version, because the descriptor set states none';
  switch (contractFit(wanted, served)) {
    case 'fits':
      return '';
    case 'newer':
      return `expected a version that is not newer than the descriptor set's, ${served}`;
    case 'other':
      return `expected a version that the descriptor set's, ${served}, is compatible with`;
  }
}

function checkRepeated(entries: readonly Placed<object>[], key: string, problems: ProblemList): void {
  const seen = new Map<unknown, Placed<object>>();
  for (const placed of entries) {
    const name: unknown = (placed.entry as Readonly<Record<string, unknown>>)[key];
    if (name === undefined) continue;
    const first = seen.get(name);
    if (first === undefined) seen.set(name, placed);
    else {
      const where = first.source === placed.source ? '' : `, and ${placeText(first)} has it`;
      problems.add(placed, [key], `expected a value that is given once${where}`, name);
    }
  }
}

function checkIssuerNames(
  rules: readonly Placed<{ readonly token?: { readonly issuer: string } | undefined }>[],
  names: readonly string[],
  problems: ProblemList,
): void {
  for (const rule of rules) {
    const issuer: unknown = rule.entry.token?.issuer;
    if (typeof issuer !== 'string' || names.includes(issuer)) continue;
    problems.add(
      rule,
      ['token', 'issuer'],
      `expected the name of one of jwtIssuers${suggestion(issuer, names)}`,
      issuer,
    );
  }
}

function trustDomainsOf(main: DocumentSource | undefined): readonly string[] | null {
  const { trustDomains } = (main?.content?.input ?? {}) as { readonly trustDomains?: unknown };
  return Array.isArray(trustDomains)
    ? trustDomains.filter((domain): domain is string => typeof domain === 'string')
    : null;
}

function checkDomains(
  named: {
    readonly placed: Placed<unknown>;
    readonly within: readonly PropertyKey[];
    readonly identities: readonly string[];
  },
  domains: readonly string[],
  problems: ProblemList,
): void {
  for (const [index, text] of listOf(named.identities).entries()) {
    const identity = parseIdentityPattern(String(text));
    if (identity === undefined || domains.includes(identity.trustDomain)) continue;
    const hint = suggestion(identity.trustDomain, domains);
    const path = [...named.within, 'identities', index];
    problems.add(named.placed, path, `expected an identity of one of trustDomains${hint}`, text);
  }
}
