/** An agent of the SPIFFE Workload API, as far as X.509 identities go: it gives what the test puts into it. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { SpiffeWorkloadAPIService, type X509SVIDResponse } from '@gatehouse/contracts/spiffe-workload';
import {
  type Metadata,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import type { Credentials } from '../src/authority.ts';

export type GivenIdentity = {
  readonly spiffeId: string;
  readonly credentials: Credentials;
  readonly bundlePem: string;
};

export type WorkloadApiServer = {
  /** What every stream has been opened with. */
  readonly metadata: Metadata[];
  readonly streams: () => number;
  /** Gives this to every stream, also to later ones; null refuses with PERMISSION_DENIED. */
  give(identities: readonly GivenIdentity[] | null, federated?: Record<string, string>): void;
  /** As `give`, with a message that is as broken as the test wants it. */
  giveRaw(message: X509SVIDResponse): void;
  stop(): Promise<void>;
};

type Call = ServerWritableStream<object, X509SVIDResponse>;

export async function startWorkloadApi(socketPath: string): Promise<WorkloadApiServer> {
  await rm(socketPath, { force: true });
  const streams = new Set<Call>();
  const metadata: Metadata[] = [];
  let message: X509SVIDResponse | null = null;
  const refuse = (call: Call, code: status, details: string): void =>
    void call.emit('error', Object.assign(new Error(details), { code, details }) as ServiceError);
  const server = new Server();
  server.addService(SpiffeWorkloadAPIService, {
    fetchX509Svid: (call: Call) => {
      metadata.push(call.metadata);
      if (call.metadata.get('workload.spiffe.io')[0] !== 'true')
        return refuse(call, status.INVALID_ARGUMENT, 'security header missing from request');
      if (message === null) return refuse(call, status.PERMISSION_DENIED, 'no identity issued');
      streams.add(call);
      call.on('cancelled', () => streams.delete(call)).on('close', () => streams.delete(call));
      call.write(message);
    },
    fetchX509Bundles: (call: Call) => refuse(call, status.UNIMPLEMENTED, 'not here'),
  });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  const giveRaw = (next: X509SVIDResponse): void => {
    message = next;
    for (const stream of streams) stream.write(next);
  };
  return {
    metadata,
    streams: () => streams.size,
    give: (identities, federated = {}) => {
      if (identities !== null) return giveRaw(messageOf(identities, federated));
      message = null;
      for (const stream of streams) refuse(stream, status.PERMISSION_DENIED, 'no identity issued');
      streams.clear();
    },
    giveRaw,
    stop: async () => {
      server.forceShutdown();
      await rm(socketPath, { force: true });
    },
  };
}

function messageOf(
  identities: readonly GivenIdentity[],
  federated: Record<string, string>,
): X509SVIDResponse {
  return {
    svids: identities.map(({ spiffeId, credentials, bundlePem }) => ({
      spiffeId,
      x509Svid: derOf(credentials.certificatePem),
      x509SvidKey: createPrivateKey(credentials.keyPem).export({ type: 'pkcs8', format: 'der' }),
      bundle: derOf(bundlePem),
      hint: '',
    })),
    crl: [],
    federatedBundles: Object.fromEntries(Object.entries(federated).map(([id, pem]) => [id, derOf(pem)])),
  };
}

function derOf(pem: string): Buffer {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return Buffer.concat(blocks.map((block) => new X509Certificate(block).raw));
}
