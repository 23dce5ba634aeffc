import type { Contract } from '@gatehouse/contracts';
import { type FileWatch, watchFiles } from '@gatehouse/documents';
import type { Policy } from '../policy/index.ts';
import type { Protectors } from '../protect/index.ts';
import {
  type DocumentOptions,
  type DocumentRefusal,
  type LoadedDocument,
  loadDocument,
} from './policy-document.ts';

/** The policy in force, and what became of newer documents. */
export type PolicySource = {
  current(): Policy;
  /** Why the newest document was refused; null when the newest is in force. */
  refusal(): DocumentRefusal | null;
  /** Why the newest document in shadow was refused; null when it is taken, or there is none. */
  shadowRefusal(): DocumentRefusal | null;
  /** When the policy in force was loaded, milliseconds since 1970. */
  loadedAtMs(): number;
  close(): void;
};

export type PolicyFiles = {
  readonly policyFile: string;
  /** A document that decides beside it and does not act. */
  readonly shadowPolicyFile: string | undefined;
  /** A JWKS: only documents signed by one of its keys are taken. */
  readonly signersFile: string | undefined;
};

export type PolicyEvents = {
  readonly clock: () => number;
  /** Compile the policy's protections: what they ask for and is not there refuses the document. */
  readonly protectors: Protectors;
  readonly onLoaded: (policy: Policy) => void;
  readonly onRefused: (problems: readonly string[]) => void;
};

/**
 * Loads a policy with all that it includes, and follows its files. A document is taken whole or refused whole; while the
 * newest is bad, the last good one stays. A bad document in shadow keeps no other from being in force.
 * @returns the problems when the first document is bad: there is nothing to stay with
 */
export async function followPolicy(
  files: PolicyFiles,
  contract: Contract,
  events: PolicyEvents,
): Promise<{ readonly source: PolicySource } | { readonly problems: readonly string[] }> {
  const { protectors, clock } = events;
  const { signersFile, shadowPolicyFile } = files;
  const options: DocumentOptions = { contract, signersFile, protectionKeys: protectors.keyNames };
  const taken: { policy: Policy | null; shadow: Policy | null; loadedAtMs: number } = {
    policy: null,
    shadow: null,
    loadedAtMs: 0,
  };
  const take = (next: Policy, shadow: Policy | null): readonly string[] => {
    const policy = shadow === null ? next : next.withShadow(shadow);
    const problems = protectors.load(policy);
    if (problems.length > 0)
      return problems.map(({ entry, problem }) => `${files.policyFile}: ${entry}: ${problem}`);
    taken.policy = policy;
    taken.shadow = shadow;
    taken.loadedAtMs = clock();
    events.onLoaded(policy);
    return [];
  };
  const main = new FollowedDocument(
    files.policyFile,
    options,
    (next) => take(next, taken.shadow),
    events.onRefused,
  );
  await main.load();
  if (taken.policy === null) {
    main.close();
    return { problems: main.refusal?.problems ?? [] };
  }
  const shadow =
    shadowPolicyFile === undefined
      ? null
      : new FollowedDocument(
          shadowPolicyFile,
          options,
          (next) => take((taken.policy as Policy).withShadow(null), next),
          events.onRefused,
        );
  await shadow?.load();
  return {
    source: {
      current: () => taken.policy as Policy,
      refusal: () => main.refusal,
      shadowRefusal: () => shadow?.refusal ?? null,
      loadedAtMs: () => taken.loadedAtMs,
      close: () => {
        main.close();
        shadow?.close();
      },
    },
  };
}

/** A document whose files are followed: it is read anew when one of them changes. */
class FollowedDocument {
  refusal: DocumentRefusal | null = null;
  readonly #file: string;
  readonly #options: DocumentOptions;
  readonly #onPolicy: (policy: Policy) => readonly string[];
  readonly #onRefused: (problems: readonly string[]) => void;
  #watch: FileWatch | null = null;
  #isClosed = false;
  /** Readings begun: an earlier one that ends later is of no use. */
  #readings = 0;

  /** @param onPolicy gives back why a good document can't be in force all the same */
  constructor(
    file: string,
    options: DocumentOptions,
    onPolicy: (policy: Policy) => readonly string[],
    onRefused: (problems: readonly string[]) => void,
  ) {
    this.#file = file;
    this.#options = options;
    this.#onPolicy = onPolicy;
    this.#onRefused = onRefused;
  }

  /** Never rejects. */
  async load(): Promise<void> {
    const reading = ++this.#readings;
    const { result, files } = await loadDocument(this.#file, this.#options);
    if (this.#isClosed || reading !== this.#readings) return;
    if ('policy' in result) {
      const problems = this.#onPolicy(result.policy);
      this.refusal = null;
      if (problems.length > 0) this.#refuse({ reason: 'INVALID', problems });
    } else this.#refuse(result);
    this.#follow(files);
  }

  close(): void {
    this.#isClosed = true;
    this.#watch?.close();
  }

  #refuse(refusal: DocumentRefusal): void {
    this.refusal = refusal;
    this.#onRefused(refusal.problems);
  }

  /** What a document includes may change with it, so each reading begins a watch of its own. */
  #follow(files: LoadedDocument['files']): void {
    this.#watch?.close();
    const names = files.map(({ file }) => file);
    this.#watch = watchFiles(
      names,
      files.map(({ text }) => text),
      {
        mayBeMissing: new Set(names.slice(1)),
        onError: (error) =>
          this.#refuse({
            reason: 'UNREADABLE',
            problems: [`${this.#file}: cannot be read: ${error.message}`],
          }),
        onChange: () => void this.load(),
      },
    );
  }
}
