import type { FSWatcher } from 'node:fs';
import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
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
  let settling: NodeJS.Timeout | undefined;
  let loading = false;
  let closed = false;

  const report = (content: string, problem: IdentityProblem): void => {
    if (content !== refused) {
      refused = content;
      options.onError?.(problem);
    }
  };
  const take = (next: IdentityMaterial): void => {
    const content = contentOf(next);
    if (content === taken) {
      refused = '';
      return;
    }
    const made = makeIdentity(next, { trustDomain, nowMs: clock(), generation: identity.generation + 1 });
    if ('problem' in made) {
      report(content, made.problem);
      return;
    }
    identity = made.identity;
    taken = content;
    refused = '';
    options.onChange?.(identity);
    for (const listener of [...listeners]) {
      listener(identity);
    }
  };
  const load = async (): Promise<void> => {
    if (loading) {
      settle();
      return;
    }
    loading = true;
    try {
      const read = await readMaterial(options);
      if (closed) {
        return;
      }
      if ('problem' in read) {
        report(read.problem.detail, read.problem);
      } else {
        take(read.material);
      }
    } finally {
      loading = false;
    }
  };
  const settle = (): void => {
    if (!closed) {
      clearTimeout(settling);
      settling = setTimeout(() => void load(), settleMs);
    }
  };

  const watchers = watchDirectories(options, settle);
  const polling = setInterval(() => void load(), pollMs);
  polling.unref();
  return {
    current: () => identity,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => {
      closed = true;
      clearTimeout(settling);
      clearInterval(polling);
      listeners.clear();
      for (const watcher of watchers) {
        watcher.close();
      }
    },
  };
}

/** Directories, not files: a renamed or relinked file would take its watch with it. */
function watchDirectories(options: IdentityOptions, onEvent: () => void): FSWatcher[] {
  const directories = new Set(
    [options.certificateFile, options.keyFile, options.bundleFile].map((file) => dirname(file)),
  );
  const watchers: FSWatcher[] = [];
  for (const directory of directories) {
    try {
      const watcher = watch(directory, { persistent: false }, onEvent);
      // The poll goes on where a watch cannot.
      watcher.on('error', () => watcher.close());
      watchers.push(watcher);
    } catch {
      // Out of watches (ENOSPC) or no such facility: the poll alone follows this directory.
    }
  }
  return watchers;
}

async function readMaterial(
  options: IdentityOptions,
): Promise<{ readonly material: IdentityMaterial } | { readonly problem: IdentityProblem }> {
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
