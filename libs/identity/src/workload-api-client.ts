import { SpiffeWorkloadAPIClient, type X509SVIDResponse } from '@gatehouse/contracts/spiffe-workload';
import { type ClientReadableStream, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';

/** The header without which an agent answers nobody: a browser could be tricked into calling it (Workload API §4.1). */
const SECURITY_HEADER = 'workload.spiffe.io';
const KEEPALIVE_MS = 30_000;
const BACKOFF_MS_MAX = 1_000;

export type WorkloadApiClient = {
  /** Opens the stream of identities; each message is whole. `onEnd` is called once, with why there are no more. */
  fetch(onMessage: (message: X509SVIDResponse) => void, onEnd: (why: string) => void): void;
  close(): void;
};

/** @param address `unix:/path` or `host:port` */
export function openWorkloadApi(address: string): WorkloadApiClient {
  const client = new SpiffeWorkloadAPIClient(address, credentials.createInsecure(), {
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': BACKOFF_MS_MAX,
    // The stream of another process, or of this one before, would otherwise share its connection and its back-off.
    'grpc.use_local_subchannel_pool': 1,
  });
  const metadata = new Metadata();
  metadata.set(SECURITY_HEADER, 'true');
  let stream: ClientReadableStream<X509SVIDResponse> | undefined;
  return {
    fetch: (onMessage, onEnd) => {
      const opened = client.fetchX509Svid({}, metadata);
      stream = opened;
      let ended = false;
      const end = (why: string): void => {
        if (ended) return;
        ended = true;
        onEnd(why);
      };
      opened.on('data', onMessage);
      opened.on('error', (error: ServiceError) => end(`${error.code}: ${error.details}`));
      opened.on('end', () => end('the agent has ended the stream'));
    },
    close: () => {
      stream?.cancel();
      client.close();
    },
  };
}
