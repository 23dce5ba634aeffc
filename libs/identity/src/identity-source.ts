import type { Identity, IdentityMaterial, IdentityProblem } from './identity.ts';
import { makeIdentity } from './identity.ts';

/** Where this workload's identity comes from, and goes on coming from. */
export type IdentitySource = {
  current(): Identity;
  /** Why the newest identity can't be had or is refused; null when the current one is the newest. */
  problem(): IdentityProblem | null;
  /** Calls the listener with every later identity; the result takes it off again. */
  subscribe(listener: (identity: Identity) => void): () => void;
  close(): void;
};

export type IdentityEvents = {
  readonly trustDomain: string;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** A new set is in use from now on. */
  readonly onChange?: (identity: Identity) => void;
  /** A new set was refused or can't be had; the last good one stays. */
  readonly onError?: (problem: IdentityProblem) => void;
};

/** The identity in use, from its first good set on: a set is taken whole or not at all. */
export class CurrentIdentity {
  readonly #events: IdentityEvents;
  readonly #listeners = new Set<(identity: Identity) => void>();
  #identity: Identity;
  #material: IdentityMaterial;
  #problem: IdentityProblem | null = null;

  private constructor(events: IdentityEvents, identity: Identity, material: IdentityMaterial) {
    this.#events = events;
    this.#identity = identity;
    this.#material = material;
  }

  static begin(
    material: IdentityMaterial,
    events: IdentityEvents,
  ): { readonly current: CurrentIdentity } | { readonly problem: IdentityProblem } {
    const { trustDomain, clock } = events;
    const made = makeIdentity(material, { trustDomain, nowMs: clock(), generation: 1 });
    return 'problem' in made ? made : { current: new CurrentIdentity(events, made.identity, material) };
  }

  take(material: IdentityMaterial): void {
    if (isSame(material, this.#material)) {
      this.#problem = null;
      return;
    }
    const { trustDomain, clock } = this.#events;
    const generation = this.#identity.generation + 1;
    const made = makeIdentity(material, { trustDomain, nowMs: clock(), generation });
    if ('problem' in made) {
      this.fail(made.problem);
      return;
    }
    this.#problem = null;
    this.#material = material;
    this.#identity = made.identity;
    this.#events.onChange?.(made.identity);
    for (const listener of this.#listeners) {
      listener(made.identity);
    }
  }

  fail(problem: IdentityProblem): void {
    this.#problem = problem;
    this.#events.onError?.(problem);
  }

  /** @param close ends whatever feeds it */
  source(close: () => void): IdentitySource {
    return {
      current: () => this.#identity,
      problem: () => this.#problem,
      subscribe: (listener) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
      close: () => {
        this.#listeners.clear();
        close();
      },
    };
  }
}

function isSame(one: IdentityMaterial, other: IdentityMaterial): boolean {
  const federated = ({ federatedPem }: IdentityMaterial): string =>
    [...(federatedPem ?? [])]
      .map(([name, pem]) => `${name} ${pem}`)
      .sort()
      .join();
  return (
    one.certificatePem === other.certificatePem &&
    one.keyPem === other.keyPem &&
    one.bundlePem === other.bundlePem &&
    federated(one) === federated(other)
  );
}
