import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { PemFiles } from './ground.ts';
import type {
  Cell,
  CellResult,
  HandshakeCell,
  HandshakeResult,
  LoadReady,
  LoadReply,
  LoadRequest,
} from './load/cell.ts';

const CORE = '0';
const MAIN = fileURLToPath(new URL('./load/main.ts', import.meta.url));
/** Its own garbage collection must not run beside the proxy. */
const NODE_FLAGS = ['--max-semi-space-size=64', '--single-threaded-gc'];

/** The load process, pinned to the first core. */
export class LoadDriver {
  readonly ports: LoadReady;
  readonly pid: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, ports: LoadReady) {
    this.#child = child;
    this.ports = ports;
    this.pid = child.pid as number;
  }

  static async start({ certificateFile, keyFile, bundleFile }: PemFiles): Promise<LoadDriver> {
    const args = ['-c', CORE, process.execPath, ...NODE_FLAGS, MAIN, certificateFile, keyFile, bundleFile];
    const child = spawn('taskset', args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const [ports] = (await once(child, 'message')) as [LoadReady];
    return new LoadDriver(child, ports);
  }

  async cell(cell: Cell): Promise<CellResult> {
    const reply = await this.#ask({ cell });
    if ('result' in reply) return reply.result;
    throw new Error('error' in reply ? reply.error : 'not a result');
  }

  async handshakes(handshakes: HandshakeCell): Promise<HandshakeResult> {
    const reply = await this.#ask({ handshakes });
    if ('handshakes' in reply) return reply.handshakes;
    throw new Error('error' in reply ? reply.error : 'not a result');
  }

  async stop(): Promise<void> {
    this.#child.disconnect();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }

  async #ask(request: LoadRequest): Promise<LoadReply> {
    this.#child.send(request);
    const [reply] = (await once(this.#child, 'message')) as [LoadReply];
    return reply;
  }
}
