import { stat } from 'node:fs/promises';
import { createServer } from 'node:net';

/** Keeps a folder to one process. The lock goes with the process, however that ends. */
export type FolderLock = { release(): void };

/**
 * Takes an abstract Unix socket named after the folder's device and inode (unix(7)), which exists on Linux alone; elsewhere
 * nothing is locked.
 * @returns null when another process has the folder
 */
export async function lockFolder(folder: string): Promise<FolderLock | null> {
  if (process.platform !== 'linux') return { release: () => {} };
  const { dev, ino } = await stat(folder);
  const server = createServer((socket) => socket.destroy());
  const { promise, resolve, reject } = Promise.withResolvers<FolderLock | null>();
  server.once('error', (error: NodeJS.ErrnoException) =>
    error.code === 'EADDRINUSE' ? resolve(null) : reject(error),
  );
  server.listen(`\0gatehouse-audit-${dev}-${ino}`, () => resolve({ release: () => void server.close() }));
  server.unref();
  return promise;
}
