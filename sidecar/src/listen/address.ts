import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { connect, type ListenOptions, type Server } from 'node:net';
import { dirname } from 'node:path';

/** The owner and the group may connect: app and sidecar share the group. */
const SOCKET_MODE = 0o660;
/** How long a socket file's owner may take to accept before the file counts as in use. */
const PROBE_MS_MAX = 1000;

/** An address that can't be listened on; the message is a sentence with the address. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
}

/** @param address `unix:/path.sock` or `host:port`, checked by the config schema */
export function listenOptions(address: string): ListenOptions {
  if (address.startsWith('unix:')) return { path: address.slice('unix:'.length) };
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}

/**
 * Listens on an address. A stale socket file is removed; one that answers belongs to another process and is left.
 * @returns the address with the real port where port 0 was asked for
 * @throws ListenError when the address is in use or can't be had
 */
export async function listenOn(server: Server, address: string): Promise<string> {
  const options = listenOptions(address);
  if (options.path !== undefined) {
    await mkdir(dirname(options.path), { recursive: true });
    await removeStaleSocket(options.path);
  }
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      const why = error.code === 'EADDRINUSE' ? 'another process has it' : error.message;
      reject(new ListenError(`cannot listen on ${address}: ${why}`));
    };
    server.once('error', onError);
    server.listen(options, () => {
      server.off('error', onError);
      resolve();
    });
  });
  if (options.path !== undefined) {
    await chmod(options.path, SOCKET_MODE);
    return address;
  }
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? address.replace(/:\d+$/, `:${bound.port}`) : address;
}

/** @throws ListenError when the path is taken */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => null);
  if (found === null) return;
  if (!found.isSocket())
    throw new ListenError(`cannot listen on unix:${path}: a file that is no socket is there`);
  if (await answers(path)) throw new ListenError(`cannot listen on unix:${path}: another process has it`);
  await unlink(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const done = (answered: boolean): void => {
      socket.destroy();
      resolve(answered);
    };
    socket.setTimeout(PROBE_MS_MAX, () => done(true)); // Connecting hangs when a live owner's backlog is full.
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}
