import { once } from 'node:events';
import { whenCancelled } from '@gatehouse/telemetry';
import {
  type Metadata,
  type MethodDefinition,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  status,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { RpcError, toStatus } from './errors.ts';
import { messageTooLarge, type ServedContract, type ServedMethod } from './served-contract.ts';

/** What a handler knows about the call it answers. */
export interface CallContext {
  /** `/package.Service/Method`. */
  readonly method: string;
  /** Aborted when the caller cancels, when the deadline passes and when the server stops; `reason` is an RpcError. */
  readonly signal: AbortSignal;
  /** When the caller stops waiting, in milliseconds since the epoch; Infinity when it gave no deadline. */
  readonly deadline: number;
  /** Milliseconds left until then, 0 when it has passed. */
  deadlineMsLeft(): number;
  readonly metadata: Metadata;
  readonly log: Logger;
}

/** A plain async function that answers one method: a stream on either side is an AsyncIterable. */
export type Handler<Method> = Method extends {
  requestStream: infer RequestStream;
  responseStream: infer ResponseStream;
  requestDeserialize: (bytes: Buffer) => infer Request;
  responseSerialize: (value: infer Response) => Buffer;
}
  ? (
      request: RequestStream extends true ? AsyncIterable<Request> : Request,
      ctx: CallContext,
    ) => ResponseStream extends true ? AsyncIterable<Response> : Promise<Response>
  : never;

/** One handler per method of a ts-proto service definition. */
export type Implementation<Definition> = { readonly [Name in keyof Definition]: Handler<Definition[Name]> };

type AnyHandler = (request: never, ctx: CallContext) => unknown;

/** A service definition of the contracts with the functions that answer it. */
export interface Service {
  readonly definition: ServiceDefinition;
  readonly implementation: { readonly [name: string]: AnyHandler };
}

/** Pairs a ts-proto service definition with its handlers, so that the compiler checks every one of them. */
export function defineService<Definition extends ServiceDefinition>(
  definition: Definition,
  implementation: Implementation<Definition>,
): Service {
  return { definition, implementation: implementation as Service['implementation'] };
}

export interface EdgeOptions {
  readonly contract: ServedContract;
  readonly log: Logger;
  readonly now: () => number;
  /** Aborted when calls in flight have to end. */
  readonly stopping: AbortSignal;
  /** Called when a call begins; what it returns is called once when the call's handler has ended. */
  readonly track: () => () => void;
}

type RawCall = ServerDuplexStream<Buffer, Buffer> & ServerUnaryCall<Buffer, Buffer>;
type RawDefinition = MethodDefinition<Buffer, Buffer>;
/** A method as generated, with the message types left open: bytes come in checked, values go out checked. */
type GeneratedMethod = MethodDefinition<unknown, unknown>;

/**
 * Turns a service into what grpc-js serves, with raw bytes as messages: requests are checked against the contract
 * before any handler sees them, and a handler's outcome becomes a status with google.rpc details.
 */
export function edge(
  service: Service,
  options: EdgeOptions,
): { definition: ServiceDefinition; implementation: UntypedServiceImplementation } {
  const definition: Record<string, RawDefinition> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const [name, generated] of Object.entries(service.definition)) {
    const handler = service.implementation[name];
    if (!handler) throw new Error(`no handler for ${generated.path}`);
    const method = new Method(generated, handler, options);
    const raw = (bytes: Buffer) => bytes;
    const { path, requestStream, responseStream } = generated;
    definition[name] = {
      path,
      requestStream,
      responseStream,
      requestSerialize: raw,
      requestDeserialize: raw,
      responseSerialize: raw,
      responseDeserialize: raw,
    };
    const serve = (call: RawCall, callback?: sendUnaryData<Buffer>) => void method.serve(call, callback);
    implementation[name] = serve as UntypedHandleCall; // grpc-js has a type per call kind; at run time they are one.
  }
  return { definition, implementation };
}

class Method {
  readonly #generated: GeneratedMethod;
  readonly #handler: AnyHandler;
  readonly #options: EdgeOptions;
  readonly #contract: ServedMethod;

  constructor(generated: GeneratedMethod, handler: AnyHandler, options: EdgeOptions) {
    this.#generated = generated;
    this.#handler = handler;
    this.#options = options;
    this.#contract = options.contract.method(generated.path);
  }

  /** Answers one call. Never rejects. `callback` is there when the response is a single message. */
  async serve(call: RawCall, callback: sendUnaryData<Buffer> | undefined): Promise<void> {
    const release = this.#options.track();
    const ended = new AbortController();
    const endSpan = whenCancelled();
    const end = (error: RpcError) => {
      if (ended.signal.aborted) return;
      ended.abort(error);
      if (call.cancelled) endSpan(error.code);
      else fail(call, callback, error);
    };
    const deadline = Number(call.getDeadline());
    const onCancelled = () => end(deadline <= this.#options.now() ? deadlineExceeded() : cancelled());
    const onStopping = () => end(stopping());
    call.once('cancelled', onCancelled);
    this.#options.stopping.addEventListener('abort', onStopping);
    try {
      const answer = await this.#answer(call, { signal: ended.signal, deadline });
      if (callback && answer && !ended.signal.aborted) callback(null, answer);
      else if (!callback && !ended.signal.aborted) call.end();
    } catch (error) {
      end(this.#asRpcError(error));
    } finally {
      call.off('cancelled', onCancelled);
      this.#options.stopping.removeEventListener('abort', onStopping);
      release();
    }
  }

  /** Runs the handler. Streamed responses are written here; a single one is returned. */
  async #answer(call: RawCall, base: Pick<CallContext, 'signal' | 'deadline'>): Promise<Buffer | undefined> {
    const { now, log } = this.#options;
    const ctx: CallContext = {
      ...base,
      method: this.#contract.path,
      metadata: call.metadata,
      log,
      deadlineMsLeft: () => Math.max(0, base.deadline - now()),
    };
    base.signal.throwIfAborted();
    const request = this.#generated.requestStream
      ? this.#decodeAll(call, base.signal)
      : this.#decode(call.request);
    const response = this.#handler(request as never, ctx);
    if (!this.#generated.responseStream) return this.#encode(await response);
    for await (const message of response as AsyncIterable<unknown>) {
      base.signal.throwIfAborted();
      if (!call.write(this.#encode(message))) await once(call, 'drain', { signal: base.signal });
    }
    return undefined;
  }

  async *#decodeAll(call: RawCall, signal: AbortSignal): AsyncGenerator<unknown> {
    try {
      // Node would destroy the whole call, its response side included, when the caller's messages end.
      for await (const bytes of call.iterator({ destroyOnReturn: false }))
        yield this.#decode(bytes as Buffer);
    } catch (error) {
      signal.throwIfAborted(); // The reason the call ended says more than the stream's premature close.
      throw error;
    }
    signal.throwIfAborted();
  }

  #decode(bytes: Buffer): unknown {
    const refusal = this.#contract.check(bytes);
    if (refusal) throw refusal;
    return this.#generated.requestDeserialize(bytes);
  }

  #encode(message: unknown): Buffer {
    const bytes = this.#generated.responseSerialize(message);
    const { responseBytesMax } = this.#contract;
    if (bytes.length > responseBytesMax) throw messageTooLarge('response', bytes.length, responseBytesMax);
    return bytes;
  }

  #asRpcError(error: unknown): RpcError {
    if (error instanceof RpcError) return error;
    this.#options.log.error({ method: this.#contract.path, cause: describeCause(error) }, 'handler failed');
    return new RpcError(status.INTERNAL, 'The service failed to answer; its log says why.', {
      errorInfo: { reason: 'INTERNAL' },
    });
  }
}

function fail(call: RawCall, callback: sendUnaryData<Buffer> | undefined, error: RpcError): void {
  if (callback) callback(toStatus(error));
  else call.emit('error', toStatus(error));
}

/**
 * What the log says about a bug: its type, code and stack. The message is left out, because libraries quote their
 * input in it (JSON.parse does), and prompts and answers never enter logs.
 */
function describeCause(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { type: typeof error };
  const frames = error.stack?.split('\n').filter((line) => /^\s+at /.test(line));
  const cause = error.cause instanceof Error ? describeCause(error.cause) : undefined;
  return { type: error.name, code: (error as NodeJS.ErrnoException).code, stack: frames?.join('\n'), cause };
}

function cancelled(): RpcError {
  return new RpcError(status.CANCELLED, 'The caller cancelled the call.', {
    errorInfo: { reason: 'CANCELLED_BY_CALLER' },
  });
}

function deadlineExceeded(): RpcError {
  return new RpcError(status.DEADLINE_EXCEEDED, 'The deadline of the call has passed.', {
    errorInfo: { reason: 'DEADLINE_EXCEEDED' },
  });
}

function stopping(): RpcError {
  return new RpcError(status.UNAVAILABLE, 'The server is stopping.', {
    errorInfo: { reason: 'SERVER_STOPPING' },
  });
}
