import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { parseAddress } from './parse-address.ts';

/** The owner and the group may connect: app and sidecar share the group. */
const SOCKET_MODE = 0o660;
/** How long a socket file's owner may take to accept before the file counts as in use. */
const PROBE_MS_MAX = 1000;

/** An address that can't be listened on; the message is a sentence with the address. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
}

/**
 * Listens on an address. A stale socket file is removed; one that answers belongs to another process and is left.
 * @returns the address with the real port where port 0 was asked for
 * @throws ListenError when the address is in use or can't be had
 */
export async function listenOn(server: Server, address: string): Promise<string> {
  const parsed = parseAddress(address);
  if ('path' in parsed) await clearSocketPath(parsed.path);
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      const why = error.code === 'EADDRINUSE' ? 'another process has it' : error.message;
      reject(new ListenError(`cannot listen on ${address}: ${why}`));
    };
    server.once('error', onError);
    server.listen(parsed, () => {
      server.off('error', onError);
      resolve();
    });
  });
  if ('path' in parsed) {
    await shareSocket(parsed.path);
    return address;
  }
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? address.replace(/:\d+$/, `:${bound.port}`) : address;
}

/**
 * Makes the folder of a socket, and room for it where a process that has ended left one.
 * @throws ListenError when the path is taken or can't be had
 */
export async function clearSocketPath(path: string): Promise<void> {
  const refuse = (why: string): never => {
    throw new ListenError(`cannot listen on unix:${path}: ${why}`);
  };
  const orRefuse = (error: Error): never => refuse(error.message);
  await mkdir(dirname(path), { recursive: true }).catch(orRefuse);
  const found = await lstat(path).catch(() => null);
  if (found === null) return;
  if (!found.isSocket()) refuse('a file that is no socket is there');
  if (await isInUse(path)) refuse('another process has it');
  await unlink(path).catch(orRefuse);
}

/** Lets the group of the process connect to the socket, and nobody else. */
export async function shareSocket(path: string): Promise<void> {
  await chmod(path, SOCKET_MODE);
}

/** Only a refused connection proves that nobody listens: one that we may not open, or that hangs, has an owner. */
function isInUse(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const done = (inUse: boolean): void => {
      socket.destroy();
      resolve(inUse);
    };
    socket.setTimeout(PROBE_MS_MAX, () => done(true));
    socket.once('connect', () => done(true));
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code !== 'ECONNREFUSED'));
  });
}
