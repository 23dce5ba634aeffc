import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type status,
} from '@grpc/grpc-js';
import { EchoClient, type EchoRequest, type EchoResponse } from './echo-contract.ts';

type Required<T> = { readonly [K in keyof T]-?: NonNullable<T[K]> };
type Request = Required<EchoRequest>;

/** What the server saw. */
export type EchoCounts = { started: number; ended: number; cancelled: number; answers: number };

export type EchoServer = {
  readonly address: string;
  readonly counts: EchoCounts;
  /** Ends at once, calls in flight included. */
  stop(): void;
};

export type EchoOptions = {
  /** `unix:/path` or `host:port`. */
  readonly address: string;
  readonly name?: string;
  /** Called after the answer that a request's `exitAfter` names. */
  readonly exit?: () => void;
};

/** Serves the echo service with grpc-js, plaintext. */
export async function startEchoServer({
  address,
  name = 'echo',
  exit = () => {},
}: EchoOptions): Promise<EchoServer> {
  const counts: EchoCounts = { started: 0, ended: 0, cancelled: 0, answers: 0 };
  const server = new Server({
    'grpc.max_receive_message_length': 64 * 1024 * 1024,
    'grpc.max_send_message_length': -1,
  });
  const handlers = new EchoHandlers(counts, name, exit);
  server.addService(EchoClient.EchoService.service, {
    unary: handlers.unary,
    repeatable: handlers.unary,
    unclassified: handlers.unary,
    clientStream: handlers.clientStream,
    serverStream: handlers.serverStream,
    bidi: handlers.bidi,
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return {
    address: address.startsWith('unix:') ? address : address.replace(/:\d+$/, `:${port}`),
    counts,
    stop: () => server.forceShutdown(),
  };
}

class EchoHandlers {
  readonly #counts: EchoCounts;
  readonly #name: string;
  readonly #exit: () => void;
  constructor(counts: EchoCounts, name: string, exit: () => void) {
    this.#counts = counts;
    this.#name = name;
    this.#exit = exit;
  }

  readonly unary = (
    call: ServerUnaryCall<Request, EchoResponse>,
    callback: sendUnaryData<EchoResponse>,
  ): void => {
    this.#begin(call);
    void this.#answer(call.request, call.metadata, call.request.payload.length, call.request.text).then(
      (answer) => {
        if (call.cancelled) return;
        this.#counts.ended += 1;
        if (call.request.failCode > 0)
          callback({ code: call.request.failCode as status, details: 'asked to fail' });
        else callback(null, answer);
      },
    );
  };

  readonly clientStream = (
    call: ServerReadableStream<Request, EchoResponse>,
    callback: sendUnaryData<EchoResponse>,
  ): void => {
    this.#begin(call);
    void (async () => {
      let receivedBytes = 0;
      let texts = '';
      let last: Request | null = null;
      for await (const request of messagesOf(call)) {
        receivedBytes += request.payload.length;
        texts += request.text;
        last = request;
        if (request.delayMs > 0) await sleep(request.delayMs);
      }
      if (call.cancelled) return;
      this.#counts.ended += 1;
      if (last !== null && last.failCode > 0)
        callback({ code: last.failCode as status, details: 'asked to fail' });
      else callback(null, this.#response(call.metadata, receivedBytes, texts, last?.answerBytes ?? 0));
    })().catch(() => {});
  };

  readonly serverStream = (call: ServerWritableStream<Request, EchoResponse>): void => {
    this.#begin(call);
    void (async () => {
      const { request } = call;
      for (let i = 0; i < Math.max(1, request.count) && !call.cancelled; i++) {
        const answer = await this.#answer(
          request,
          call.metadata,
          request.payload.length,
          `${request.text}${i}`,
        );
        if (!call.write(answer)) await new Promise((resolve) => call.once('drain', resolve));
        this.#maybeExit(request, i + 1);
      }
      this.#endStream(call, request.failCode);
    })();
  };

  readonly bidi = (call: ServerDuplexStream<Request, EchoResponse>): void => {
    this.#begin(call);
    void (async () => {
      let receivedBytes = 0;
      let failCode = 0;
      let answers = 0;
      for await (const request of messagesOf(call)) {
        receivedBytes += request.payload.length;
        failCode = request.failCode;
        call.write(await this.#answer(request, call.metadata, receivedBytes, request.text));
        answers += 1;
        this.#maybeExit(request, answers);
      }
      this.#endStream(call, failCode);
    })().catch(() => {});
  };

  #begin(call: { on(event: 'cancelled', listener: () => void): unknown }): void {
    this.#counts.started += 1;
    call.on('cancelled', () => (this.#counts.cancelled += 1));
  }

  #endStream(
    call: ServerWritableStream<Request, EchoResponse> | ServerDuplexStream<Request, EchoResponse>,
    failCode: number,
  ): void {
    if (call.cancelled) return;
    this.#counts.ended += 1;
    if (failCode > 0)
      call.emit('error', { code: failCode, details: 'asked to fail', metadata: new Metadata() });
    else call.end();
  }

  async #answer(
    request: Request,
    metadata: Metadata,
    receivedBytes: number,
    text: string,
  ): Promise<EchoResponse> {
    if (request.delayMs > 0) await sleep(request.delayMs);
    return this.#response(metadata, receivedBytes, text, request.answerBytes);
  }

  #response(metadata: Metadata, receivedBytes: number, text: string, answerBytes: number): EchoResponse {
    this.#counts.answers += 1;
    return {
      text,
      receivedBytes,
      payload: Buffer.alloc(answerBytes, 0x61),
      server: this.#name,
      metadata: Object.entries(metadata.getMap()).map(([key, value]) => `${key}=${String(value)}`),
    };
  }

  #maybeExit(request: Request, answers: number): void {
    if (request.exitAfter > 0 && answers >= request.exitAfter) setImmediate(this.#exit);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** Iterating a duplex stream as it is would destroy its writing side with the last message. */
function messagesOf(
  call: ServerReadableStream<Request, EchoResponse> | ServerDuplexStream<Request, EchoResponse>,
): AsyncIterable<Request> {
  return call.iterator({ destroyOnReturn: false }) as AsyncIterable<Request>;
}
