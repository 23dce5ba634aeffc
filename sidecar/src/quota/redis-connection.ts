import { readFile } from 'node:fs/promises';
import type { RedisClientOptions } from '@redis/client';
import type { RedisScript } from './redis-scripts.ts';

/** Where the shared store is, and how to reach it. */
export type RedisAddress = {
  /** `unix:/path` or `host:port`. */
  readonly address: string;
  /** Absent: no TLS. */
  readonly tls?:
    | {
        /** PEM: CA certificates of the server. */
        readonly caFile: string;
        /** PEM: our certificate and key, where the server asks for one. */
        readonly certificateFile?: string | undefined;
        readonly keyFile?: string | undefined;
        /** What the server's certificate has to name. Default: the host. */
        readonly serverName?: string | undefined;
      }
    | undefined;
  readonly username?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly database: number;
};

/** The store gave no answer, or no useful one, in time. */
export class StoreDown extends Error {
  override readonly name = 'StoreDown';
}

/** Runs scripts on a Redis or Valkey server, and knows whether that makes sense. */
export interface ScriptRunner {
  /** Why the store can't be asked at the moment; null: it can. */
  readonly problem: string | null;
  /** @throws StoreDown */
  run(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<readonly unknown[]>;
  close(): void;
}

/** Scripts that fail in a row before the store is left alone for a while. */
const FAILURES_IN_A_ROW_MAX = 3;
/** Between two questions whether the store is back. */
const PROBE_MS_MIN = 100;
const PROBE_MS_MAX = 5000;
/** Between two tries to connect. */
const CONNECT_PAUSE_MS_MAX = 2000;
const CONNECT_MS_MAX = 2000;
/** Scripts that are waited for. */
const WAITING_MAX = 10_000;
/** A connection that brings nothing for as long is given up; a PING keeps one that is well from that. */
const SILENCE_MS_MAX = 15_000;
const PING_MS = 5000;

/**
 * Connects, and goes on when the store is not there yet.
 * @param options.answerMsMax how long a script may take, waiting included
 * @param options.onChange the store has become reachable (null) or has ceased to be, and why
 */
export async function connectRedis(
  address: RedisAddress,
  options: { readonly answerMsMax: number; readonly onChange: (problem: string | null) => void },
): Promise<ScriptRunner> {
  // Loaded here, so that a sidecar without shared limits does not hold it in memory.
  const { createClient } = await import('@redis/client');
  const client = createClient(await clientOptions(address));
  const runner = new RedisRunner(client, options);
  const settled = new Promise<void>((resolve) => {
    client.once('ready', resolve);
    client.once('error', () => resolve());
    setTimeout(resolve, CONNECT_MS_MAX).unref();
  });
  client.connect().catch(() => {});
  await settled;
  return runner;
}

type Client = {
  readonly isReady: boolean;
  on(event: string, listener: (error: Error) => void): unknown;
  sendCommand(args: readonly string[]): Promise<unknown>;
  destroy(): void;
};

class RedisRunner implements ScriptRunner {
  readonly #client: Client;
  readonly #answerMsMax: number;
  readonly #onChange: (problem: string | null) => void;
  #problem: string | null = 'not connected yet';
  #failures = 0;
  #probe: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(
    client: Client,
    options: { readonly answerMsMax: number; readonly onChange: (problem: string | null) => void },
  ) {
    this.#client = client;
    this.#answerMsMax = options.answerMsMax;
    this.#onChange = options.onChange;
    client.on('ready', () => this.#up());
    client.on('error', (error) => this.#down(`not connected: ${errorText(error)}`));
  }

  get problem(): string | null {
    return this.#problem;
  }

  async run(
    script: RedisScript,
    keys: readonly string[],
    args: readonly string[],
  ): Promise<readonly unknown[]> {
    if (this.#problem !== null) throw new StoreDown(this.#problem);
    try {
      const reply = await within(this.#answerMsMax, this.#eval(script, keys, args));
      this.#failures = 0;
      return reply as readonly unknown[];
    } catch (error) {
      const text = errorText(error);
      this.#failures += 1;
      if (this.#failures >= FAILURES_IN_A_ROW_MAX && this.#problem === null) {
        this.#down(text);
        this.#probeIn(PROBE_MS_MIN);
      }
      throw new StoreDown(text);
    }
  }

  close(): void {
    this.#closed = true;
    if (this.#probe !== null) clearTimeout(this.#probe);
    this.#client.destroy();
  }

  async #eval(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args];
    try {
      return await this.#client.sendCommand(['EVALSHA', script.sha1, ...rest]);
    } catch (error) {
      if (!errorText(error).startsWith('NOSCRIPT')) throw error;
      return this.#client.sendCommand(['EVAL', script.text, ...rest]);
    }
  }

  /** Asks until the store answers in time; a connection that is lost says so itself when it is back. */
  #probeIn(ms: number): void {
    if (this.#closed || this.#probe !== null) return;
    this.#probe = setTimeout(() => {
      this.#probe = null;
      if (!this.#client.isReady) return;
      within(this.#answerMsMax, this.#client.sendCommand(['PING'])).then(
        () => this.#up(),
        () => this.#probeIn(Math.min(2 * ms, PROBE_MS_MAX)),
      );
    }, ms);
    this.#probe.unref();
  }

  #up(): void {
    if (this.#closed || this.#problem === null) return;
    this.#problem = null;
    this.#failures = 0;
    this.#onChange(null);
  }

  #down(problem: string): void {
    if (this.#closed || this.#problem === problem) return;
    const wasUp = this.#problem === null;
    this.#problem = problem;
    if (wasUp) this.#onChange(problem);
  }
}

async function clientOptions(address: RedisAddress): Promise<RedisClientOptions> {
  const { tls, username, passwordFile, database } = address;
  const password = passwordFile === undefined ? undefined : (await readFile(passwordFile, 'utf8')).trim();
  const common = {
    connectTimeout: CONNECT_MS_MAX,
    socketTimeout: SILENCE_MS_MAX,
    reconnectStrategy: (tries: number) => Math.min(50 * 2 ** Math.min(tries, 10), CONNECT_PAUSE_MS_MAX),
  };
  const path = address.address.startsWith('unix:') ? address.address.slice('unix:'.length) : null;
  const at = address.address.lastIndexOf(':');
  const where = {
    host: address.address.slice(0, at).replace(/^\[(.*)\]$/, '$1'),
    port: Number(address.address.slice(at + 1)),
  };
  const socket: RedisClientOptions['socket'] =
    path !== null
      ? { ...common, path, tls: false }
      : tls === undefined
        ? { ...common, ...where }
        : { ...common, ...where, ...(await tlsOptions(tls)) };
  return {
    socket,
    database,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    // What can't be asked now is not asked later: the caller has had its answer.
    disableOfflineQueue: true,
    commandsQueueMaxLength: WAITING_MAX,
    commandOptions: { timeout: 0 },
    pingInterval: PING_MS,
    maintNotifications: 'disabled',
    disableClientInfo: true,
  };
}

async function tlsOptions(tls: NonNullable<RedisAddress['tls']>) {
  const read = (file: string | undefined) => (file === undefined ? undefined : readFile(file));
  const [ca, cert, key] = await Promise.all([read(tls.caFile), read(tls.certificateFile), read(tls.keyFile)]);
  return {
    tls: true as const,
    ca,
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
  };
}

/** Rejects when the answer takes longer; a late one is dropped. */
function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function errorText(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
