import { setTimeout as sleep } from 'node:timers/promises';
import { CONTRACT_HEADER } from '@gatehouse/contracts';
import { bindGrpcServer } from '@gatehouse/sockets/grpc';
import {
  type handleUnaryCall,
  logVerbosity,
  Metadata,
  Server,
  type ServerUnaryCall,
  type sendUnaryData,
  setLogVerbosity,
} from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import type { Logger } from 'pino';
import type { CommonConfig } from './config.ts';
import { edge, type Service } from './edge.ts';
import { loadServedContract, type ServedContract } from './served-contract.ts';

/** Calls that one connection may have open at a time; a sidecar spreads its callers over several connections. */
const concurrentStreamsMax = 1000;
/** What one HTTP/2 session may buffer, in megabytes. */
const sessionMemoryMbMax = 32;
/** How long the statuses of cut calls may take to leave before connections are closed. */
const flushMsMax = 500;

export interface ServerOptions {
  readonly config: Pick<CommonConfig, 'listen' | 'drainMsMax'>;
  readonly services: readonly Service[];
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export interface RunningServer {
  /** What clients dial: `unix:/path` or `host:port` with the real port. */
  readonly address: string;
  /** Sets the health of one service, by its full name. All begin as serving. */
  setServing(serviceName: string, serving: boolean): void;
  /** Reports NOT_SERVING, takes no new calls, lets those in flight finish within drainMsMax, then cuts them. */
  drain(): Promise<void>;
  /** Cuts calls in flight with UNAVAILABLE and closes. */
  stop(): Promise<void>;
}

/**
 * Serves gRPC services with health (grpc.health.v1) and reflection (v1 and v1alpha).
 * @throws ListenError when the address cannot be had
 */
export async function startService(options: ServerOptions): Promise<RunningServer> {
  const { config, services, log, now } = options;
  setLogVerbosity(logVerbosity.NONE); // Its lines are no JSON, and what they say comes back as errors too.
  const contract = loadServedContract();
  const names = services.map(serviceName);
  const stopping = new AbortController();
  const inFlight = new InFlight();
  const server = new Server(serverOptions(services, contract));
  for (const service of services) {
    const track = () => inFlight.begin();
    const { definition, implementation } = edge(service, {
      contract,
      log,
      now,
      stopping: stopping.signal,
      track,
    });
    server.addService(definition, implementation);
  }
  const health = new HealthImplementation(
    Object.fromEntries(['', ...names].map((name) => [name, 'SERVING'])),
  );
  addHealth(server, health, contract.version);
  reflection(contract, names).addToServer(server);
  const address = await bindGrpcServer(server, config.listen);

  let closing: Promise<void> | undefined;
  const close = async (graceMs: number) => {
    for (const name of ['', ...names]) health.setStatus(name, 'NOT_SERVING');
    const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
    await within(graceMs, inFlight.none());
    stopping.abort();
    await within(flushMsMax, Promise.all([inFlight.none(), closed]));
    server.forceShutdown(); // Open health watches would otherwise hold their connections for ever.
  };
  return {
    address,
    setServing: (name, serving) => {
      if (!closing) health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
    },
    drain: () => (closing ??= close(config.drainMsMax)),
    stop: () => {
      stopping.abort(); // Also ends a drain that is under way.
      return (closing ??= close(0));
    },
  };
}

/** grpc-js has one message limit per server, so it gets the largest; the edge applies each method's own. */
function serverOptions(services: readonly Service[], contract: ServedContract) {
  const methods = services.flatMap(({ definition }) => Object.values(definition));
  const limits = methods.map(({ path }) => contract.method(path));
  return {
    'grpc.max_concurrent_streams': concurrentStreamsMax,
    'grpc.max_receive_message_length': Math.max(...limits.map(({ requestBytesMax }) => requestBytesMax)),
    'grpc.max_send_message_length': Math.max(...limits.map(({ responseBytesMax }) => responseBytesMax)),
    'grpc-node.max_session_memory': sessionMemoryMbMax,
  };
}

/**
 * Gives the contract's files under their own names; proto-loader would make one file of each package. Custom options are
 * lost on the way out, because @grpc/reflection encodes with protobufjs.
 */
function reflection(contract: ServedContract, services: string[]): ReflectionService {
  const files = {
    format: 'Protocol Buffer 3 DescriptorProto',
    type: {},
    fileDescriptorProtos: [...contract.files],
  };
  return new ReflectionService({ contract: files } as never, {
    services: [...services, 'grpc.health.v1.Health', 'grpc.reflection.v1.ServerReflection'],
  });
}

function serviceName(service: Service): string {
  return Object.values(service.definition)[0]?.path.split('/')[1] ?? '';
}

/** Health answers say which version of the contract is served, so that a sidecar of another one is found out. */
function addHealth(server: Server, health: HealthImplementation, version: string | null): void {
  const addService: Server['addService'] = (definition, { check, ...others }) =>
    server.addService(definition, {
      ...others,
      check: (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
        const metadata = new Metadata();
        if (version !== null) metadata.set(CONTRACT_HEADER, version);
        call.sendMetadata(metadata);
        (check as handleUnaryCall<unknown, unknown>)(call, callback);
      },
    });
  health.addToServer({ addService } as Server);
}

/** Counts calls, so that a drain knows when the last has ended. */
class InFlight {
  #count = 0;
  readonly #waiters = new Set<() => void>();

  begin(): () => void {
    this.#count += 1;
    return () => {
      this.#count -= 1;
      if (this.#count === 0) for (const waiter of this.#waiters) waiter();
    };
  }

  /** Resolves when no call is in flight. */
  async none(): Promise<void> {
    if (this.#count === 0) return;
    await new Promise<void>((resolve) => this.#waiters.add(resolve));
  }
}

async function within(msMax: number, promise: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  try {
    await Promise.race([promise, sleep(msMax, undefined, { signal: timer.signal }).catch(() => undefined)]);
  } finally {
    timer.abort();
  }
}
