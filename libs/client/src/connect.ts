import type { PeerCertificate } from 'node:tls';
import { CONTRACT_HEADER } from '@gatehouse/contracts/contract-version';
import {
  type ChannelCredentials,
  type Client,
  type ClientOptions,
  credentials,
  experimental,
  InterceptingCall,
  type Interceptor,
} from '@grpc/grpc-js';
import { CONTRACT_VERSION, defaultDeadlineMs } from './contract.ts';

/** Through the sidecar beside this process, which holds the identity, balances and retries. */
type ThroughSidecar = {
  /** Its egress socket: `unix:/run/gatehouse/egress.sock`, or a loopback address. */
  readonly sidecar: string;
};

/** To a sidecar of the mesh over mTLS, for callers without one of their own. */
type OverTheNetwork = {
  /** `host:port`. */
  readonly address: string;
  /** The SPIFFE ID that the server has to show. */
  readonly serverIdentity: string;
  /** PEM files; they are followed, and new connections use what is in them. */
  readonly identity: {
    readonly certificateFile: string;
    readonly keyFile: string;
    readonly bundleFile: string;
  };
};

export type ConnectOptions = (ThroughSidecar | OverTheNetwork) & {
  /** The largest message that is taken, in bytes. Default 16 MiB. */
  readonly responseBytesMax?: number;
};

/** A stub as the generated code has it: `InferenceServiceClient`. */
export type StubClass<Stub extends Client> = new (
  address: string,
  channel: ChannelCredentials,
  options?: Partial<ClientOptions>,
) => Stub;

export type Connection = {
  /**
   * A stub of a service of the mesh. Calls that bring no deadline get the contract's default.
   * @param upstream the name that the sidecar knows the service by; needed through a sidecar, without meaning otherwise
   */
  stub<Stub extends Client>(stubClass: StubClass<Stub>, upstream?: string): Stub;
  /** Closes every stub; calls in progress end with CANCELLED. */
  close(): void;
};

const RESPONSE_BYTES_MAX_DEFAULT = 16 * 1024 * 1024;
/** How often the identity's files are looked at. */
const IDENTITY_REFRESH_MS = 10_000;

/** Opens a way into the mesh. Nothing is dialled before the first call. */
export function connect(options: ConnectOptions): Connection {
  const stubs: Client[] = [];
  const channel = 'sidecar' in options ? credentials.createInsecure() : secureChannel(options);
  return {
    stub: (stubClass, upstream) => {
      if ('sidecar' in options && upstream === undefined)
        throw new TypeError(
          'upstream: expected the name that the sidecar knows the service by, such as inference',
        );
      const stub = new stubClass('sidecar' in options ? options.sidecar : options.address, channel, {
        // grpc-js sends `localhost` over Unix sockets; to an address on the network Node takes no IP as server name.
        ...(upstream === undefined ? {} : { 'grpc.default_authority': upstream }),
        ...('sidecar' in options ? {} : { 'grpc.ssl_target_name_override': 'localhost' }),
        'grpc.max_receive_message_length': options.responseBytesMax ?? RESPONSE_BYTES_MAX_DEFAULT,
        // The sidecar retries, within a budget: a second layer would multiply what goes wrong.
        'grpc.enable_retries': 0,
        interceptors: [asContracted],
      });
      stubs.push(stub);
      return stub;
    },
    close: () => {
      for (const stub of stubs) stub.close();
    },
  };
}

function secureChannel({ identity, serverIdentity }: OverTheNetwork): ChannelCredentials {
  const files = new experimental.FileWatcherCertificateProvider({
    certificateFile: identity.certificateFile,
    privateKeyFile: identity.keyFile,
    caCertificateFile: identity.bundleFile,
    refreshIntervalMs: IDENTITY_REFRESH_MS,
  });
  return experimental.createCertificateProviderChannelCredentials(files, files, {
    checkServerIdentity: (_host, peer) => identityProblem(peer, serverIdentity),
  });
}

/** The chain has been verified by then; what remains is whose certificate it is (SPIFFE X509-SVID §4.1). */
function identityProblem(peer: PeerCertificate, expected: string): Error | undefined {
  const uris = (peer.subjectaltname ?? '').split(', ').filter((name) => name.startsWith('URI:'));
  if (uris.length === 1 && uris[0] === `URI:${expected}`) return undefined;
  return new Error(`the server is ${uris.join(', ') || 'without a SPIFFE ID'}, expected ${expected}`);
}

/** Gives a call of our contract the contract's deadline, and says which version of the contract it is made from. */
const asContracted: Interceptor = (options, nextCall) => {
  const deadlineMs = defaultDeadlineMs(options.method_definition.path);
  if (deadlineMs === undefined) return new InterceptingCall(nextCall(options));
  const deadline = options.deadline ?? new Date(performance.timeOrigin + performance.now() + deadlineMs);
  return new InterceptingCall(nextCall({ ...options, deadline }), {
    start: (metadata, listener, next) => {
      metadata.set(CONTRACT_HEADER, CONTRACT_VERSION);
      next(metadata, listener);
    },
  });
};
