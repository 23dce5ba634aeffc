import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import type { Contract } from '@gatehouse/contracts';
import type { DocumentProblem } from '@gatehouse/documents';
import type { CompiledRule } from './compiled-rule.ts';
import { type Condition, ConditionCompiler } from './condition.ts';
import { checkDocument } from './document-checks.ts';
import { type PolicyFile, type ReadSources, readSources } from './document-source.ts';
import { type IdentityPattern, parseIdentityPattern } from './identity-pattern.ts';
import { compileLimit } from './limits.ts';
import { ModelMatcher } from './model-matcher.ts';
import { placedEntries, type SectionEntry } from './placed-entries.ts';
import { Policy } from './policy.ts';
import type { PolicyInput } from './policy-schema.ts';
import type { DetectorCheck } from './protection-checks.ts';
import { compileProtection } from './protections.ts';
import { pathsOf } from './schema-parts.ts';
import { toDocument } from './to-document.ts';
import { TokenTypeTable } from './token-types.ts';

export interface CompileOptions {
  readonly contract: Contract;
  /** Of the document, for places in problems. What it includes is relative to its folder. */
  readonly fileName: string;
  /** Gives the text of an included file; throws when it cannot be read. Default: nothing may be included. */
  readonly readFile?: (file: string) => string;
  /** Names of the keys that protections may use. Default: not checked. */
  readonly protectionKeys?: ReadonlySet<string>;
  /** Says why a detector of the document can't be used. Default: not checked. */
  readonly detectorProblem?: DetectorCheck;
}

/** `files`: the document and all that was read or looked for on its way. */
export type CompiledPolicy =
  | { readonly policy: Policy; readonly files: readonly PolicyFile[] }
  | { readonly problems: readonly DocumentProblem[]; readonly files: readonly PolicyFile[] };

/**
 * Compiles a policy document against a contract, whole or not at all: one problem anywhere refuses it, and all problems
 * of all its files are given at once. Rules with models leave out those of their methods whose request names no model.
 */
export function compilePolicy(text: string, options: CompileOptions): CompiledPolicy {
  const { contract, fileName, readFile, protectionKeys, detectorProblem } = options;
  const read = readSources(text, { contract, fileName, readFile });
  const { files } = read;
  const conditions = new ConditionCompiler();
  const types = new TokenTypeTable(placedEntries(read.sources, 'jwtIssuers').map(({ entry }) => entry));
  const problems = [
    ...read.sources.flatMap((source) => source.problems),
    ...checkDocument(read, { contract, protectionKeys, detectorProblem, conditions, types }),
  ];
  if (problems.length > 0 || read.main === null) {
    const order = new Map(files.map(({ file }, index) => [file, index]));
    const fileOrder = ({ file }: DocumentProblem): number => order.get(file) ?? 0;
    const byPlace = (one: DocumentProblem, other: DocumentProblem): number =>
      fileOrder(one) - fileOrder(other) || one.line - other.line || one.column - other.column;
    return { problems: problems.toSorted(byPlace), files };
  }
  const conditionOf = (rule: SectionEntry<'rules'>): Condition | null => {
    if (rule.condition === undefined) return null;
    const compiled = conditions.compile(rule.condition, types.of(rule.token?.issuer));
    if ('problem' in compiled) throw new Error(`the checks let the condition of ${rule.id} pass`);
    return compiled.condition;
  };
  return { policy: compile(read, read.main, contract, conditionOf), files };
}

type ConditionOf = (rule: SectionEntry<'rules'>) => Condition | null;

function compile(read: ReadSources, main: PolicyInput, contract: Contract, conditionOf: ConditionOf): Policy {
  const entriesOf = <Name extends Parameters<typeof placedEntries>[1]>(name: Name): SectionEntry<Name>[] =>
    placedEntries(read.sources, name).map(({ entry }) => entry);
  const jwtIssuers = entriesOf('jwtIssuers');
  const rules = entriesOf('rules');
  const document = toDocument({
    ...main,
    jwtIssuers,
    rules,
    limits: entriesOf('limits'),
    detectors: entriesOf('detectors'),
    protections: entriesOf('protections'),
  });
  return new Policy({
    document,
    digest: digestOf(read.files),
    rules: rules.map((rule) => compileRule(rule, contract, conditionOf(rule))),
    limits: document.limits.map((limit) => compileLimit(limit, contract)),
    protections: document.protections.map((protection) => compileProtection(protection, contract)),
    contract,
  });
}

/** Of a document alone the digest of its text; else of all texts with their names, as seen from the document. */
function digestOf(files: readonly PolicyFile[]): string {
  const hash = createHash('sha256');
  const [main, ...included] = files;
  hash.update(main?.text ?? '');
  const folder = posix.dirname(main?.file ?? '');
  for (const { file, text } of included)
    hash.update(`\0${posix.relative(folder, file)}\0${Buffer.byteLength(text)}\0`).update(text);
  return hash.digest('hex');
}

function compileRule(
  rule: SectionEntry<'rules'>,
  contract: Contract,
  condition: Condition | null,
): CompiledRule {
  const { id, effect, methods = [], permissions = [], token } = rule;
  const isDeny = effect === 'DENY' || effect === 'EFFECT_DENY';
  const models = rule.models === undefined ? null : new ModelMatcher(rule.models);
  const paths = pathsOf({ methods, permissions }, contract);
  return {
    id,
    effect: isDeny ? 'DENY' : 'ALLOW',
    identities: rule.identities.map((text) => parseIdentityPattern(text) as IdentityPattern),
    paths: new Set(
      models === null ? paths : paths.filter((path) => contract.methods.get(path)?.requestFields?.readsModel),
    ),
    models,
    modelNames: rule.models ?? [],
    token:
      token === undefined
        ? null
        : {
            issuer: token.issuer,
            claims: (token.claims ?? []).map(({ name, values }) => ({ name, values: new Set(values) })),
          },
    condition,
    shadow: rule.shadow ?? false,
    owner: rule.owner ?? '',
    labels: rule.labels ?? {},
    decision: isDeny
      ? { allowed: false, ruleId: id, reason: 'DENIED_BY_RULE' }
      : { allowed: true, ruleId: id },
  };
}
