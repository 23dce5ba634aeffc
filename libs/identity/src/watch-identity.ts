import { readFile } from 'node:fs/promises';
import { followFiles } from './follow-files.ts';
import type { Identity, IdentityMaterial, IdentityProblem } from './identity.ts';
import { makeIdentity } from './identity.ts';

export type IdentityOptions = {
  /** PEM chain, leaf first. */
  readonly certificateFile: string;
  /** PEM private key, unencrypted. */
  readonly keyFile: string;
  /** PEM CA certificates of the trust domain. */
  readonly bundleFile: string;
  readonly trustDomain: string;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** A new set is in use from now on. */
  readonly onChange?: (identity: Identity) => void;
  /** A new set was refused, once per content; the last good one stays. */
  readonly onError?: (problem: IdentityProblem) => void;
  /** Quiet time after a file event before the files are read. Default 100, from 0. */
  readonly settleMs?: number;
  /** How often the files are read without an event, for file systems that give none. Default 10,000. */
  readonly pollMs?: number;
};

export type IdentitySource = {
  current(): Identity;
  /** Calls the listener with every later identity; the result takes it off again. */
  subscribe(listener: (identity: Identity) => void): () => void;
  close(): void;
};

const SETTLE_MS = 100;
const POLL_MS = 10_000;

/**
 * Reads an identity from files and follows them: written in place, renamed over, or swapped as a whole by the
 * `..data` link of a Kubernetes volume. A set is taken whole or not at all.
 *
 * @returns the source, or the problem of the first set: without one there is nothing to stay with
 */
export async function watchIdentity(
  options: IdentityOptions,
): Promise<{ readonly source: IdentitySource } | { readonly problem: IdentityProblem }> {
  const first = await readMaterial(options);
  if ('problem' in first) {
    return first;
  }
  const made = makeIdentity(first.material, {
    trustDomain: options.trustDomain,
    nowMs: options.clock(),
    generation: 1,
  });
  return 'problem' in made ? made : { source: follow(options, made.identity, first.material) };
}

function follow(options: IdentityOptions, first: Identity, material: IdentityMaterial): IdentitySource {
  const { trustDomain, clock, settleMs = SETTLE_MS, pollMs = POLL_MS } = options;
  const listeners = new Set<(identity: Identity) => void>();
  let identity = first;
  let taken = contentOf(material);
  let refused = '';
  let loading: Promise<void> | null = null;
  let again = false;
  let closed = false;

  const take = (read: ReadResult): void => {
    const content = 'problem' in read ? read.problem.detail : contentOf(read.material);
    if (content === taken || content === refused) {
      refused = content === taken ? '' : refused;
      return;
    }
    const made =
      'problem' in read
        ? read
        : makeIdentity(read.material, { trustDomain, nowMs: clock(), generation: identity.generation + 1 });
    if ('problem' in made) {
      refused = content;
      options.onError?.(made.problem);
      return;
    }
    identity = made.identity;
    taken = content;
    refused = '';
    options.onChange?.(identity);
    for (const listener of listeners) {
      listener(identity);
    }
  };
  const load = async (): Promise<void> => {
    do {
      again = false;
      const read = await readMaterial(options);
      if (!closed) {
        take(read);
      }
    } while (again && !closed);
    loading = null;
  };
  const onQuiet = (): void => {
    again = loading !== null;
    loading ??= load();
  };

  const stop = followFiles([options.certificateFile, options.keyFile, options.bundleFile], onQuiet, {
    settleMs,
    pollMs,
  });
  return {
    current: () => identity,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => {
      closed = true;
      listeners.clear();
      stop();
    },
  };
}

type ReadResult = { readonly material: IdentityMaterial } | { readonly problem: IdentityProblem };

async function readMaterial(options: IdentityOptions): Promise<ReadResult> {
  try {
    const [certificatePem, keyPem, bundlePem] = await Promise.all([
      readFile(options.certificateFile, 'utf8'),
      readFile(options.keyFile, 'utf8'),
      readFile(options.bundleFile, 'utf8'),
    ]);
    return { material: { certificatePem, keyPem, bundlePem } };
  } catch (error) {
    const detail = error instanceof Error ? error.message : 'unreadable';
    return { problem: { code: 'FILE_UNREADABLE', detail } };
  }
}

function contentOf({ certificatePem, keyPem, bundlePem }: IdentityMaterial): string {
  return `${certificatePem}\0${keyPem}\0${bundlePem}`;
}
