import { readFile } from 'node:fs/promises';
import { watchFiles } from '@gatehouse/documents/watch-files';
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
  /** As in WatchOptions. */
  readonly settleMs?: number;
  readonly pollMs?: number;
};

export type IdentitySource = {
  current(): Identity;
  /** Calls the listener with every later identity; the result takes it off again. */
  subscribe(listener: (identity: Identity) => void): () => void;
  close(): void;
};

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
  const { trustDomain, clock, settleMs, pollMs } = options;
  const listeners = new Set<(identity: Identity) => void>();
  let identity = first;

  const take = ([certificatePem = '', keyPem = '', bundlePem = '']: readonly string[]): void => {
    const isSame =
      certificatePem === identity.certificatePem &&
      keyPem === identity.keyPem &&
      bundlePem === identity.bundle.pem;
    if (isSame) return;
    const made = makeIdentity(
      { certificatePem, keyPem, bundlePem },
      { trustDomain, nowMs: clock(), generation: identity.generation + 1 },
    );
    if ('problem' in made) {
      options.onError?.(made.problem);
      return;
    }
    identity = made.identity;
    options.onChange?.(identity);
    for (const listener of listeners) {
      listener(identity);
    }
  };

  const files = [options.certificateFile, options.keyFile, options.bundleFile];
  const watched = watchFiles(files, [material.certificatePem, material.keyPem, material.bundlePem], {
    ...(settleMs === undefined ? {} : { settleMs }),
    ...(pollMs === undefined ? {} : { pollMs }),
    onChange: take,
    onError: (error) => options.onError?.({ code: 'FILE_UNREADABLE', detail: error.message }),
  });
  return {
    current: () => identity,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => {
      listeners.clear();
      watched.close();
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
