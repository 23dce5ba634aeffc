import { mkdir, rename } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { AuditLog, type AuditLogLimits, type AuditLogOptions, type WrittenEntry } from './audit-log.ts';
import { Checkpointer, type CheckpointerOptions, lastCheckpoint } from './checkpointer.ts';
import { lockFolder } from './lock-folder.ts';
import { type ChainEnd, recoverChain } from './recover-chain.ts';
import { listSegments } from './segments.ts';

export type OpenAuditOptions = Pick<AuditLogOptions, 'clock' | 'onFailing' | 'onRecovered'> & {
  readonly folder: string;
  readonly limits: AuditLogLimits;
  /** Takes each entry that is on disk to wherever else it goes. */
  readonly onWritten: (entry: WrittenEntry) => void;
  /** Null: nothing is signed. */
  readonly signing: Pick<
    CheckpointerOptions,
    'key' | 'everyEntries' | 'everyMs' | 'onCheckpoint' | 'onFailure'
  > | null;
  /** The sidecar's SPIFFE ID. */
  readonly workload: string;
  readonly policyVersion: string;
  /** What becomes of a chain that is broken at the start: nothing starts, or it is set aside and a new one begins. */
  readonly onBroken: 'refuse' | 'set-aside';
};

/** A chain that is written to. */
export type OpenAudit = {
  readonly log: AuditLog;
  /** When the last checkpoint was signed; null before the first, and without a key. */
  readonly checkpointAtMs: () => number | null;
  /** What was wrong with the chain that was set aside; empty when none was. */
  readonly setAside: string;
  close(): Promise<void>;
};

const FOLDER_MODE = 0o700;

/**
 * Recovers the chain of a folder and goes on with it.
 * @returns a sentence when the folder can't be used or its chain is broken
 */
export async function openAudit(
  options: OpenAuditOptions,
): Promise<OpenAudit | { readonly problem: string }> {
  const { folder } = options;
  try {
    await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
    const lock = await lockFolder(folder);
    if (lock === null)
      return { problem: `${folder}: expected a folder of its own; another sidecar writes there` };
    const found = await findEnd(options);
    if ('problem' in found) {
      lock.release();
      return found;
    }
    return begin(options, found, lock.release);
  } catch (error) {
    return {
      problem: `${folder}: expected a folder that can be read and written: ${(error as Error).message}`,
    };
  }
}

type Found = { readonly end: ChainEnd; readonly setAside: string };

async function findEnd(options: OpenAuditOptions): Promise<Found | { readonly problem: string }> {
  const { folder, signing, onBroken, clock } = options;
  const signed = signing === null ? null : await lastCheckpoint(folder, signing.key);
  const end = await recoverChain(folder, signed);
  if (!('problem' in end)) return { end, setAside: '' };
  if (onBroken === 'refuse') return end;
  const aside = join(folder, `broken-${new Date(clock()).toISOString().replaceAll(':', '')}`);
  await mkdir(aside, { mode: FOLDER_MODE });
  for (const name of [...(await listSegments(folder)), ...(signed === null ? [] : ['checkpoint.jws'])])
    await rename(join(folder, name), join(aside, name));
  return {
    end: { segments: [], bytes: 0, point: null, tornBytes: 0 },
    setAside: `${basename(aside)}: ${end.problem}`,
  };
}

function begin(options: OpenAuditOptions, { end, setAside }: Found, release: () => void): OpenAudit {
  const { folder, signing, workload, clock } = options;
  const checkpointer =
    signing === null ? null : new Checkpointer({ ...signing, folder, workload, clock }, end.point);
  const log = new AuditLog({
    ...options,
    end,
    onWritten: (entry) => {
      checkpointer?.reached(entry);
      options.onWritten(entry);
    },
  });
  log.appendNote({
    $case: 'opened',
    value: {
      time: new Date(clock()),
      workload,
      policyVersion: options.policyVersion,
      tornBytes: end.tornBytes,
      setAside,
    },
  });
  return {
    log,
    checkpointAtMs: () => checkpointer?.lastAtMs ?? null,
    setAside,
    close: async () => {
      await log.close();
      await checkpointer?.close();
      release();
    },
  };
}
