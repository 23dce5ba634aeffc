import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { type Server, ServerCredentials } from '@grpc/grpc-js';
import { StartFailure } from './start-failure.ts';

/** The owner and the group may connect: a sidecar shares the group (architecture: sockets between containers). */
const socketMode = 0o660;
/** How long a socket file's owner may take to accept before the file counts as stale. */
const probeMsMax = 1000;

/**
 * Binds a gRPC server to `unix:/path` or a loopback `host:port`.
 * @returns the address clients dial, with the real port where port 0 was asked for
 * @throws StartFailure when something else answers there
 */
export async function bind(server: Server, address: string): Promise<string> {
  const path = address.startsWith('unix:') ? address.slice('unix:'.length) : undefined;
  if (path) {
    await mkdir(dirname(path), { recursive: true }).catch((error: NodeJS.ErrnoException) => {
      throw new StartFailure(`cannot make the folder of ${path}: ${error.code}`);
    });
    await removeStaleSocket(path);
  }
  const port = await bindPort(server, address);
  if (path === undefined) return address.replace(/:\d+$/, `:${port}`);
  await chmod(path, socketMode);
  return address;
}

function bindPort(server: Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error) reject(new StartFailure(`cannot listen on ${address}: ${error.message}`));
      else resolve(port);
    });
  });
}

async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found) return;
  if (!found.isSocket())
    throw new StartFailure(`cannot listen on ${path}: a file that is no socket is there`);
  if (await answers(path)) throw new StartFailure(`cannot listen on ${path}: another process answers there`);
  await unlink(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const done = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.setTimeout(probeMsMax, () => done(true)); // Connecting hangs when a live owner's backlog is full.
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}
