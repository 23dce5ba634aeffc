import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { finished } from './external-tool.ts';
import { freePort } from './free-port.ts';
import type { AppServer } from './grpc-js-server.ts';

const START_MS_MAX = 20_000;
const POLL_MS = 50;
const CASE_MS_MAX = 30_000;

/** The cases that grpc-go's client has, of those that need no cloud; it has none with compression. */
export const GO_CASES = [
  'empty_unary',
  'large_unary',
  'client_streaming',
  'server_streaming',
  'ping_pong',
  'empty_stream',
  'cancel_after_begin',
  'cancel_after_first_response',
  'timeout_on_sleeping_server',
  'custom_metadata',
  'status_code_and_message',
  'special_status_message',
  'unimplemented_method',
  'unimplemented_service',
] as const;

/** @param folder of the built tool */
export async function startGrpcGoServer(folder: string): Promise<AppServer> {
  const port = await freePort();
  const child = spawn(join(folder, 'server'), ['-port', String(port)], { stdio: 'ignore' });
  const stop = (): void => void child.kill('SIGKILL');
  for (let waitedMs = 0; waitedMs < START_MS_MAX; waitedMs += POLL_MS) {
    if (await answers(port)) return { address: `127.0.0.1:${port}`, stop };
    await delay(POLL_MS);
  }
  stop();
  throw new Error(`grpc-go's server does not listen on port ${port} after ${START_MS_MAX} ms`);
}

/**
 * Runs one case of grpc-go's client through a plaintext Unix socket, for which it says `localhost` as authority.
 * @returns nothing when it passed, else what it said
 */
export async function runGrpcGoClient(
  folder: string,
  address: string,
  name: (typeof GO_CASES)[number],
): Promise<string> {
  const args = ['-server_host', address, '-server_port', '0', '-test_case', name];
  const { code, stdout, stderr } = await finished(join(folder, 'client'), args, undefined, {
    timeoutMs: CASE_MS_MAX,
  });
  return code === 0 ? '' : `exit code ${code}: ${stdout}${stderr}`;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
