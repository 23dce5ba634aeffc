import { readFile } from 'node:fs/promises';
import { watchFiles } from '@gatehouse/documents/watch-files';
import type { IdentityMaterial, IdentityProblem } from './identity.ts';
import type { IdentityEvents, IdentitySource } from './identity-source.ts';
import { CurrentIdentity } from './identity-source.ts';

export type IdentityOptions = IdentityEvents & {
  /** PEM chain, leaf first. */
  readonly certificateFile: string;
  /** PEM private key, unencrypted. */
  readonly keyFile: string;
  /** PEM CA certificates of the trust domain. */
  readonly bundleFile: string;
  /** As in WatchOptions. */
  readonly settleMs?: number;
  readonly pollMs?: number;
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
  const begun = CurrentIdentity.begin(first.material, options);
  return 'problem' in begun ? begun : { source: follow(options, begun.current, first.material) };
}

function follow(
  options: IdentityOptions,
  current: CurrentIdentity,
  { certificatePem, keyPem, bundlePem }: IdentityMaterial,
): IdentitySource {
  const { settleMs, pollMs } = options;
  const files = [options.certificateFile, options.keyFile, options.bundleFile];
  const watched = watchFiles(files, [certificatePem, keyPem, bundlePem], {
    ...(settleMs === undefined ? {} : { settleMs }),
    ...(pollMs === undefined ? {} : { pollMs }),
    onChange: ([certificate = '', key = '', bundle = '']) =>
      current.take({ certificatePem: certificate, keyPem: key, bundlePem: bundle }),
    onError: (error) => current.fail({ code: 'FILE_UNREADABLE', detail: error.message }),
  });
  return current.source(() => watched.close());
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
