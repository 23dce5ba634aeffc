import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SERVICES } from '@gatehouse/local-mesh';
import type { CommandContext } from './command-context.ts';
import { CommandError } from './command-error.ts';

/** A folder with audit segments. */
export type AuditFolder = {
  readonly folder: string;
  /** Beside the segments; of the local mesh alone the key is known as well. */
  readonly checkpointFile: string;
  readonly keyFile: string | null;
};

/** Runs what reads segments. @throws CommandError where one can't be read, or goes while it is */
export async function readingAudit<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    if (code === undefined || path === undefined) throw error;
    throw new CommandError(`${path} cannot be read (${code})`);
  }
}

/**
 * Takes a folder, or the name of a service of the local mesh.
 * @throws CommandError when there is no such folder
 */
export async function findAuditFolder(context: CommandContext, named: string): Promise<AuditFolder> {
  const service = SERVICES.find((name) => name === named);
  const auditDir = join(context.dataDir, 'audit');
  const folder = service === undefined ? named : join(auditDir, service);
  const isFolder = await stat(folder).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isFolder)
    throw new CommandError(
      `${named}: expected a folder with audit segments, or one of ${SERVICES.join(', ')}`,
    );
  return {
    folder,
    checkpointFile: join(folder, 'checkpoint.jws'),
    keyFile: service === undefined ? null : join(auditDir, 'signing.key.pub'),
  };
}
