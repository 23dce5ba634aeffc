import { readFile } from 'node:fs/promises';
import type { Contract } from '@gatehouse/contracts';
import { type FileWatch, formatProblem, watchFiles } from '@gatehouse/documents';
import { compilePolicy, type Policy } from '../policy/index.ts';
import type { Protectors } from '../protect/index.ts';

/** The policy in force, and what became of newer documents. */
export type PolicySource = {
  current(): Policy;
  /** Why the newest document was refused, one line a problem; empty when the newest is in force. */
  refusedBecause(): readonly string[];
  /** When the policy in force was loaded, milliseconds since 1970. */
  loadedAtMs(): number;
  close(): void;
};

export type PolicyEvents = {
  readonly clock: () => number;
  /** Compile the policy's protections: what they ask for and is not there refuses the document. */
  readonly protectors: Protectors;
  readonly onLoaded: (policy: Policy) => void;
  readonly onRefused: (problems: readonly string[]) => void;
};

/**
 * Loads a policy file and follows it. A document is taken whole or refused whole; while the newest is bad, the last good
 * one stays.
 * @returns the problems when the first document is bad: there is nothing to stay with
 */
export async function followPolicy(
  file: string,
  contract: Contract,
  events: PolicyEvents,
): Promise<{ readonly source: PolicySource } | { readonly problems: readonly string[] }> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    return {
      problems: [`${file}: cannot be read: ${error instanceof Error ? error.message : String(error)}`],
    };
  }
  const compile = (document: string) => load(document, file, contract, events.protectors);
  const first = compile(text);
  if ('problems' in first) return first;

  let { policy } = first;
  let loadedAtMs = events.clock();
  let refusedBecause: readonly string[] = [];
  const refuse = (problems: readonly string[]): void => {
    refusedBecause = problems;
    events.onRefused(problems);
  };
  const watched: FileWatch = watchFiles([file], [text], {
    onError: (error) => refuse([`${file}: cannot be read: ${error.message}`]),
    onChange: ([next]) => {
      const compiled = compile(next ?? '');
      if ('problems' in compiled) {
        refuse(compiled.problems);
        return;
      }
      policy = compiled.policy;
      loadedAtMs = events.clock();
      refusedBecause = [];
      events.onLoaded(policy);
    },
  });
  return {
    source: {
      current: () => policy,
      refusedBecause: () => refusedBecause,
      loadedAtMs: () => loadedAtMs,
      close: () => watched.close(),
    },
  };
}

/** A policy that is ready to be in force, with its protections. */
function load(
  text: string,
  file: string,
  contract: Contract,
  protectors: Protectors,
): { readonly policy: Policy } | { readonly problems: readonly string[] } {
  const compiled = compilePolicy(text, { contract, fileName: file, protectionKeys: protectors.keyNames });
  if ('problems' in compiled) return { problems: compiled.problems.map(formatProblem) };
  const problems = protectors.load(compiled.policy);
  return problems.length === 0
    ? compiled
    : { problems: problems.map(({ entry, problem }) => `${file}: ${entry}: ${problem}`) };
}
