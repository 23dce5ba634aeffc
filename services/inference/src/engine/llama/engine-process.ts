import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { RpcError } from '@gatehouse/service-kit';
import { StartFailure } from '@gatehouse/service-kit/main';
import { status } from '@grpc/grpc-js';
import type { FromEngine, OpenOptions, ToEngine } from './protocol.ts';

/** The wait before a crashed engine is started again doubles from the first to the last of these. */
const restartDelayMsMin = 200;
const restartDelayMsMax = 10_000;
/** How long a closing engine may take to end by itself. */
const closeMsMax = 2000;

/**
 * The engine computes outside V8, so its heap stays small; and the C heap gives back what loading took. The
 * environment is these alone: nothing else of the service's steers the engine.
 */
const engineFlags = ['--max-semi-space-size=2'];
const engineEnvironment = { MALLOC_ARENA_MAX: '2', MALLOC_TRIM_THRESHOLD_: '131072' };

/** A message that answers the one with the same id. */
export type Answer = Extract<FromEngine, { id: number }>;
type Request = Exclude<ToEngine, { kind: 'open' }>;
/** A request as its sender gives it; the id is added here. */
export type Unsent<T extends { id: number }> = T extends unknown ? Omit<T, 'id'> : never;

export interface EngineProcessEvents {
  /** The engine ended unexpectedly, or is there again. `cause` holds no content. */
  onReadiness(ready: boolean, cause: string): void;
}

/** The engine process as the service sees it: started, restarted when it crashes, spoken to in messages. */
export class EngineProcess {
  readonly #model: string;
  readonly #options: OpenOptions;
  readonly #events: EngineProcessEvents;
  readonly #answers = new Map<number, (answer: Answer | RpcError) => void>();
  readonly #closing = new AbortController();
  #child: ChildProcess;
  #ready = true;
  #nextId = 0;

  private constructor(model: string, options: OpenOptions, events: EngineProcessEvents, child: ChildProcess) {
    this.#model = model;
    this.#options = options;
    this.#events = events;
    this.#child = child;
    this.#adopt(child);
  }

  /** @throws StartFailure when the model cannot be opened */
  static async start(
    model: string,
    options: OpenOptions,
    events: EngineProcessEvents,
  ): Promise<EngineProcess> {
    return new EngineProcess(model, options, events, await openChild(model, options));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Sends a request. Its answers, or why there will be none, go to `onAnswer` until `forget` is called. */
  request(request: Unsent<Request>, onAnswer: (answer: Answer | RpcError) => void): number {
    if (!this.#ready) throw this.#unavailable();
    const id = this.#nextId++;
    this.#answers.set(id, onAnswer);
    post(this.#child, { ...request, id });
    return id;
  }

  cancel(id: number): void {
    if (this.#answers.has(id)) post(this.#child, { kind: 'cancel', id });
  }

  forget(id: number): void {
    this.#answers.delete(id);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await endChild(this.#child);
  }

  #adopt(child: ChildProcess): void {
    this.#child = child;
    child.on('message', (message) => {
      const answer = message as FromEngine;
      if ('id' in answer) this.#answers.get(answer.id)?.(answer);
    });
    child.once('exit', (code, signal) => {
      if (!this.#closing.signal.aborted) void this.#restart(`exit code ${code}, signal ${signal}`);
    });
  }

  async #restart(cause: string): Promise<void> {
    this.#ready = false;
    this.#events.onReadiness(false, cause);
    const onAnswers = [...this.#answers.values()];
    this.#answers.clear();
    for (const onAnswer of onAnswers) onAnswer(this.#unavailable());
    for (let delayMs = restartDelayMsMin; !this.#ready; delayMs = Math.min(2 * delayMs, restartDelayMsMax)) {
      if (!(await sleepUnless(delayMs, this.#closing.signal))) return;
      const child = await openChild(this.#model, this.#options).catch((error: unknown) => {
        this.#events.onReadiness(false, error instanceof StartFailure ? error.message : 'cannot be started');
      });
      if (!child) continue;
      if (this.#closing.signal.aborted) return await endChild(child);
      this.#ready = true;
      this.#adopt(child);
      this.#events.onReadiness(true, 'restarted');
    }
  }

  #unavailable(): RpcError {
    return new RpcError(
      status.UNAVAILABLE,
      `The engine of model ${this.#model} has ended and is starting again.`,
      {
        errorInfo: { reason: 'ENGINE_RESTARTING', metadata: { model: this.#model } },
        retryDelayMs: 1000,
      },
    );
  }
}

/** A message that can no longer be sent is one to an engine that has ended: its exit answers all that wait. */
function post(child: ChildProcess, message: ToEngine): void {
  child.send(message, () => undefined);
}

async function openChild(model: string, options: OpenOptions): Promise<ChildProcess> {
  const entry = new URL(`./main${extname(import.meta.filename)}`, import.meta.url);
  const child = fork(entry, { serialization: 'advanced', execArgv: engineFlags, env: engineEnvironment });
  try {
    post(child, { kind: 'open', options });
    const outcome = await Promise.race([
      once(child, 'message').then(([message]) => message as FromEngine),
      once(child, 'exit').then(([code, signal]) => `its process ended (exit code ${code}, signal ${signal})`),
    ]);
    if (typeof outcome === 'object' && outcome.kind === 'opened') return child;
    const why =
      typeof outcome === 'string' ? outcome : outcome.kind === 'openFailed' ? outcome.sentence : outcome.kind;
    throw new StartFailure(`cannot open model ${model} from ${options.modelFile}: ${why}`);
  } catch (error) {
    await endChild(child);
    throw error;
  }
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), closeMsMax);
  try {
    if (child.connected) child.disconnect();
    await exited;
  } finally {
    clearTimeout(timer);
  }
}

/** False when aborted before the time was over. */
function sleepUnless(ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(false);
    const onAbort = () => done(false);
    const timer = setTimeout(() => done(true), ms);
    const done = (slept: boolean) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      resolve(slept);
    };
    signal.addEventListener('abort', onAbort);
  });
}
