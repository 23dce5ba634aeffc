import { type Server, ServerCredentials } from '@grpc/grpc-js';
import { clearSocketPath, ListenError, shareSocket } from './listen-on.ts';
import { parseAddress } from './parse-address.ts';

/**
 * Binds a grpc-js server, in plaintext, to a Unix socket or loopback. A stale socket file is removed.
 * @returns the address that clients dial, with the real port where port 0 was asked for
 * @throws ListenError when the address is in use or can't be had
 */
export async function bindGrpcServer(server: Server, address: string): Promise<string> {
  const parsed = parseAddress(address);
  if ('path' in parsed) await clearSocketPath(parsed.path);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(new ListenError(`cannot listen on ${address}: ${error.message}`));
      else resolve(bound);
    });
  });
  if (!('path' in parsed)) return address.replace(/:\d+$/, `:${port}`);
  await shareSocket(parsed.path);
  return address;
}
