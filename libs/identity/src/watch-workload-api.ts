import type { X509SVIDResponse } from '@gatehouse/contracts/spiffe-workload';
import { certificatesToPem, toPem } from './der-certificates.ts';
import type { IdentityMaterial, IdentityProblem } from './identity.ts';
import type { IdentityEvents, IdentitySource } from './identity-source.ts';
import { CurrentIdentity } from './identity-source.ts';
import { parseSpiffeId } from './spiffe-id.ts';
import type { WorkloadApiClient } from './workload-api-client.ts';

export type WorkloadApiOptions = IdentityEvents & {
  /** Of the agent: `unix:/path` or `host:port`. */
  readonly address: string;
  /** Which identity to take where the agent gives several; default: the first, which is the default one. */
  readonly spiffeId?: string | undefined;
  /** From 0 to below 1. */
  readonly random: () => number;
  /** How long the first identity may take. Default 20,000: an agent may start beside us, and entries take a while. */
  readonly firstMsMax?: number;
  /** Wait after a first failure; doubles, with jitter. Default 200. */
  readonly backoffMs?: number;
  /** Where the doubling ends. Default 15,000. */
  readonly backoffMsMax?: number;
};

const FIRST_MS_MAX = 20_000;
const BACKOFF_MS = 200;
const BACKOFF_MS_MAX = 15_000;
const FAILURES_COUNTED_MAX = 16;

type First = { readonly source: IdentitySource } | { readonly problem: IdentityProblem };

/**
 * Has this workload's identity from an agent of the SPIFFE Workload API (SPIRE's, for one), and follows it: rotation, bundles,
 * federated trust domains. When the agent is away the last good identity stays, until it expires, and the stream is
 * opened again and again.
 *
 * The gRPC library is loaded here, at the first call.
 *
 * @returns the source, or the latest problem when there is no good identity within `firstMsMax`
 */
export async function watchWorkloadApi(options: WorkloadApiOptions): Promise<First> {
  const { openWorkloadApi } = await import('./workload-api-client.ts');
  const first = Promise.withResolvers<First>();
  const watch = new WorkloadApiWatch(options, openWorkloadApi(options.address), first.resolve);
  const late = setTimeout(() => watch.giveUp(), options.firstMsMax ?? FIRST_MS_MAX);
  watch.open();
  try {
    return await first.promise;
  } finally {
    clearTimeout(late);
  }
}

class WorkloadApiWatch {
  readonly #options: WorkloadApiOptions;
  readonly #client: WorkloadApiClient;
  readonly #onFirst: (first: First) => void;
  #current: CurrentIdentity | null = null;
  #problem: IdentityProblem = failure('it has not answered yet');
  #failures = 0;
  #again: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: WorkloadApiOptions, client: WorkloadApiClient, onFirst: (first: First) => void) {
    this.#options = options;
    this.#client = client;
    this.#onFirst = onFirst;
  }

  open(): void {
    this.#client.fetch(
      (message) => this.#take(message),
      (why) => this.#onEnd(why),
    );
  }

  giveUp(): void {
    if (this.#current !== null) return;
    this.#close();
    this.#onFirst({ problem: this.#problem });
  }

  #close(): void {
    this.#closed = true;
    clearTimeout(this.#again);
    this.#client.close();
  }

  #take(message: X509SVIDResponse): void {
    if (this.#closed) return;
    this.#failures = 0;
    const read = readMaterial(message, this.#options.spiffeId);
    if ('problem' in read) this.#fail(read.problem);
    else if (this.#current !== null) this.#current.take(read.material);
    else this.#begin(read.material);
  }

  #begin(material: IdentityMaterial): void {
    const begun = CurrentIdentity.begin(material, this.#options);
    if ('problem' in begun) {
      this.#fail(begun.problem);
      return;
    }
    this.#current = begun.current;
    this.#onFirst({ source: begun.current.source(() => this.#close()) });
  }

  #onEnd(why: string): void {
    if (this.#closed) return;
    this.#fail(failure(why));
    const { random, backoffMs = BACKOFF_MS, backoffMsMax = BACKOFF_MS_MAX } = this.#options;
    const waitMs = Math.min(backoffMs * 2 ** this.#failures, backoffMsMax) * (0.5 + random() / 2);
    this.#failures = Math.min(this.#failures + 1, FAILURES_COUNTED_MAX);
    this.#again = setTimeout(() => this.open(), waitMs);
    this.#again.unref();
  }

  #fail(problem: IdentityProblem): void {
    const isNews = problem.detail !== this.#problem.detail;
    this.#problem = problem;
    if (this.#current !== null && (isNews || this.#failures === 0)) this.#current.fail(problem);
  }
}

function failure(why: string): IdentityProblem {
  return { code: 'WORKLOAD_API_FAILED', detail: `the SPIFFE Workload API gives no identity: ${why}` };
}

/** Of all that the agent gives, the one identity that is wanted, with every trust bundle. */
function readMaterial(
  { svids, federatedBundles }: X509SVIDResponse,
  spiffeId: string | undefined,
): { readonly material: IdentityMaterial } | { readonly problem: IdentityProblem } {
  const svid = spiffeId === undefined ? svids[0] : svids.find((each) => each.spiffeId === spiffeId);
  if (svid === undefined) {
    const given = svids.map((each) => each.spiffeId).join(', ') || 'none';
    return { problem: failure(`${spiffeId ?? 'an identity'} is not among those it gives (${given})`) };
  }
  try {
    const federatedPem = new Map<string, string>();
    for (const [name, der] of Object.entries(federatedBundles)) {
      const parsed = parseSpiffeId(name);
      if ('id' in parsed) federatedPem.set(parsed.id.trustDomain, certificatesToPem(der));
    }
    return {
      material: {
        certificatePem: certificatesToPem(svid.x509Svid),
        keyPem: toPem('PRIVATE KEY', svid.x509SvidKey),
        bundlePem: certificatesToPem(svid.bundle),
        federatedPem,
      },
    };
  } catch (error) {
    return { problem: failure(error instanceof Error ? error.message : 'unreadable') };
  }
}
