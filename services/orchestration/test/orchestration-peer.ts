import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { StatusDetails } from '@gatehouse/contracts';
import {
  type ExecuteRequest,
  type ExecuteResponse,
  OrchestrationServiceClient,
  type StreamExecuteResponse,
} from '@gatehouse/contracts/orchestration';
import { egressChannel, readErrorDetails, startService } from '@gatehouse/service-kit';
import { createLogger } from '@gatehouse/telemetry';
import { type CallOptions, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { graphDocumentReader } from '../src/graph/document.ts';
import type { Json } from '../src/graph/types.ts';
import { readLibrary } from '../src/graph-library.ts';
import { orchestrationService } from '../src/service.ts';

export const readGraphDocument = graphDocumentReader(
  readFileSync(fileURLToPath(import.meta.resolve('@gatehouse/contracts/descriptors.binpb'))),
);

/** A call that did not end with OK. */
interface Refusal extends StatusDetails {
  readonly code: number;
  readonly message: string;
}

export interface Orchestration {
  /** Executes nodes given as YAML; `outputs` by name. */
  execute(nodes: string, options?: ExecuteOptions): Promise<ExecuteResponse>;
  refused(nodes: string, options?: ExecuteOptions): Promise<Refusal>;
  executeRequest(request: ExecuteRequest): Promise<ExecuteResponse>;
  refusedRequest(request: ExecuteRequest): Promise<Refusal>;
  stream(nodes: string, options?: ExecuteOptions): AsyncIterable<StreamExecuteResponse> & { cancel(): void };
  readonly client: OrchestrationServiceClient;
  close(): Promise<void>;
}

interface ExecuteOptions {
  readonly outputs?: Record<string, string>;
  readonly inputs?: Record<string, Json>;
  readonly call?: CallOptions;
  readonly metadata?: Metadata;
}

/** The real service on a free port, whose calls go to `modelsAddress`. */
export async function startOrchestration(
  modelsAddress: string,
  graphFiles: ReadonlyMap<string, string> = new Map(),
): Promise<Orchestration> {
  const library = readLibrary(graphFiles, readGraphDocument);
  if (!library.ok) throw new Error(library.problems.join('\n'));
  const channels = {
    inference: egressChannel({ address: modelsAddress, authority: 'inference' }),
    embeddings: egressChannel({ address: modelsAddress, authority: 'embeddings' }),
  };
  const server = await startService({
    config: { listen: '127.0.0.1:0', drainMsMax: 1000 },
    services: [
      orchestrationService({ library: library.library, channels, now: Date.now, random: () => 0.5 }),
    ],
    log: createLogger({ name: 'orchestration', level: 'silent' }),
    now: Date.now,
  });
  const client = new OrchestrationServiceClient(server.address, credentials.createInsecure());
  const executeRequest = (
    request: ExecuteRequest,
    { metadata = new Metadata(), call = {} }: ExecuteOptions = {},
  ) =>
    new Promise<ExecuteResponse>((resolve, reject) => {
      client.execute(request, metadata, call, (error, response) =>
        error ? reject(error) : resolve(response),
      );
    });
  const refusedRequest = async (request: ExecuteRequest, options?: ExecuteOptions): Promise<Refusal> => {
    const error = await executeRequest(request, options).then(
      () => {
        throw new Error('the call was not refused');
      },
      (refusal: ServiceError) => refusal,
    );
    return { code: error.code, message: error.details, ...readErrorDetails(error.metadata) };
  };
  return {
    executeRequest,
    refusedRequest,
    execute: (nodes, options = {}) => executeRequest(requestFor(nodes, options), options),
    refused: (nodes, options = {}) => refusedRequest(requestFor(nodes, options), options),
    stream: (nodes, options = {}) =>
      client.streamExecute(
        requestFor(nodes, options),
        options.metadata ?? new Metadata(),
        options.call ?? {},
      ),
    client,
    close: async () => {
      client.close();
      await server.stop();
      channels.inference.close();
      channels.embeddings.close();
    },
  };
}

const types: Record<string, string> = { string: 'STRING', number: 'NUMBER', boolean: 'BOOLEAN' };

/** A request with an inline graph that declares the inputs as they are given. */
export function requestFor(nodes: string, { outputs = {}, inputs = {} }: ExecuteOptions): ExecuteRequest {
  const declared = Object.entries(inputs).map(([name, value]) => {
    const type = Array.isArray(value) ? 'LIST' : (types[typeof value] ?? 'OBJECT');
    return { name, type: `VALUE_TYPE_${type}` };
  });
  const wanted = Object.entries(outputs).map(([name, value]) => ({ name, value }));
  const document = readGraphDocument(`
name: tried
inputs: ${JSON.stringify(declared)}
nodes: ${nodes}
outputs: ${JSON.stringify(wanted.length > 0 ? wanted : [{ name: 'done', value: 'yes' }])}
`);
  if (!document.ok) throw new Error(JSON.stringify(document.violations));
  return { source: { $case: 'inline', value: document.graph }, inputs };
}

/** Waits until a condition holds; a claim that never comes true fails by its test's time limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
