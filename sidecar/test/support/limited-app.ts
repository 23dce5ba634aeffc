import { EchoClient, type EchoRequest, type EchoResponse } from '@gatehouse/testing';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';

/** An app of known capacity: so many calls at once, each for so long, and the others wait in the order they came. */
export type LimitedApp = {
  readonly address: string;
  /** Answers so far, also those that came too late. */
  readonly answered: () => number;
  stop(): void;
};

export async function startLimitedApp(options: {
  readonly address: string;
  readonly places: number;
  readonly serviceMs: number;
}): Promise<LimitedApp> {
  const waiting: (() => void)[] = [];
  let free = options.places;
  let answered = 0;
  const serve = (): void => {
    while (free > 0) {
      const begin = waiting.shift();
      if (begin === undefined) return;
      free -= 1;
      begin();
    }
  };
  const unary = (
    call: ServerUnaryCall<EchoRequest, EchoResponse>,
    callback: sendUnaryData<Partial<EchoResponse>>,
  ): void => {
    waiting.push(() => {
      const end = (): void => {
        free += 1;
        answered += 1;
        if (!call.cancelled) callback(null, { text: call.request.text ?? '' });
        serve();
      };
      setTimeout(end, options.serviceMs);
    });
    serve();
  };
  const server = new Server();
  server.addService(EchoClient.EchoService.service, { unary });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(options.address, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return { address: options.address, answered: () => answered, stop: () => server.forceShutdown() };
}
