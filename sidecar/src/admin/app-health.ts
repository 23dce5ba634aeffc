import { CONTRACT_HEADER } from '@gatehouse/contracts';
import { HealthCheckResponse_ServingStatus, HealthClient } from '@gatehouse/contracts/health';
import { credentials, status } from '@grpc/grpc-js';

/** How long the app may take to answer. */
const CHECK_MS_MAX = 1000;
/** An answer is good for this long, so that probes can't load the app. */
const ANSWER_KEPT_MS = 500;
/** What an app says beyond that is no version, and would be a label's value. */
const VERSION_LENGTH_MAX = 32;

export type AppHealth = {
  /** Why the app is not ready, as a sentence; empty when it is. */
  check(): Promise<string>;
  /** The contract that it said it serves when it was asked last; null: none. */
  contractVersion(): string | null;
  close(): void;
};

/** Asks the app over its socket with gRPC health checking. An app that has no health service is ready when it answers. */
export function watchAppHealth(address: string, clock: () => number): AppHealth {
  const client = new HealthClient(address, credentials.createInsecure(), {
    'grpc.default_authority': 'app',
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 1000,
  });
  let asking: Promise<string> | null = null;
  let contractVersion: string | null = null;
  let answeredAtMs = Number.NEGATIVE_INFINITY;

  const ask = (): Promise<string> =>
    new Promise((resolve) => {
      const call = client.check(
        { service: '' },
        { deadline: new Date(clock() + CHECK_MS_MAX) } as never,
        (error, response) => {
          if (error?.code === status.UNIMPLEMENTED) resolve('');
          else if (error)
            resolve(`the app at ${address} does not answer: ${withoutEmptyNote(error.details)}`);
          else if (response.status !== HealthCheckResponse_ServingStatus.SERVING)
            resolve(`the app at ${address} is not serving`);
          else resolve('');
        },
      );
      call.on('metadata', (metadata) => {
        contractVersion = metadata.get(CONTRACT_HEADER)[0]?.toString().slice(0, VERSION_LENGTH_MAX) ?? null;
      });
    });
  return {
    check: () => {
      if (asking === null || clock() - answeredAtMs > ANSWER_KEPT_MS) {
        answeredAtMs = clock();
        asking = ask();
      }
      return asking;
    },
    contractVersion: () => contractVersion,
    close: () => client.close(),
  };
}

/** grpc-js ends some details with a heading that nothing follows. */
function withoutEmptyNote(details: string): string {
  return details.replace(/ Resolution note: $/, '');
}
