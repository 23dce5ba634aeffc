import { decodeStatusDetails, type StatusDetails } from '@gatehouse/contracts';
import {
  GenerateRequest,
  InferenceServiceClient,
  type StreamGenerateResponse,
} from '@gatehouse/contracts/inference';
import { type ClientReadableStream, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { type TestMesh, TLS_OPTIONS } from './test-mesh.ts';
import type { TokenPlan } from './token-app.ts';

export type Generated = {
  readonly code: status;
  readonly message: string;
  /** Output tokens that the deltas told of, one entry a delta. */
  readonly outputs: readonly number[];
  readonly details: StatusDetails;
};

type RunningGeneration = {
  readonly ended: Promise<Generated>;
  readonly outputs: readonly number[];
  cancel(): void;
};

export type Ask = TokenPlan & {
  readonly maxTokens?: number;
  readonly model?: string;
  readonly bearer?: string;
};

/** A caller of the inference service, straight at an inbound sidecar. */
export type Generator = {
  start(ask: Ask): RunningGeneration;
  /** As a stream. */
  run(ask: Ask): Promise<Generated>;
  unary(ask: Ask): Promise<Generated>;
};

export async function generatorAs(mesh: TestMesh, name: string, inbound = 0): Promise<Generator> {
  const address = mesh.inbounds[inbound]?.inboundAddress ?? '';
  const client = new InferenceServiceClient(address, await mesh.credentialsOf(name), TLS_OPTIONS);
  mesh.closeLater(client);
  const options = () => ({ deadline: performance.timeOrigin + performance.now() + 20_000 });
  const start = (ask: Ask): RunningGeneration =>
    watch(client.streamGenerate(requestOf(ask), metadataOf(ask), options()));
  return {
    start,
    run: (ask) => start(ask).ended,
    unary: (ask) =>
      new Promise((resolve) => {
        client.generate(requestOf(ask), metadataOf(ask), options(), (error, answer) =>
          resolve({
            ...endOf(error),
            outputs: error ? [] : [answer.completion?.usage?.outputTokens ?? 0],
          }),
        );
      }),
  };
}

function requestOf({ maxTokens, model = 'small-1', bearer: _bearer, ...plan }: Ask): GenerateRequest {
  return GenerateRequest.fromPartial({
    model,
    input: { $case: 'prompt', value: JSON.stringify(plan) },
    ...(maxTokens === undefined ? {} : { maxTokens }),
  });
}

function metadataOf({ bearer }: Ask): Metadata {
  const metadata = new Metadata();
  if (bearer !== undefined) metadata.set('authorization', `Bearer ${bearer}`);
  return metadata;
}

function watch(call: ClientReadableStream<StreamGenerateResponse>): RunningGeneration {
  const outputs: number[] = [];
  const ended = new Promise<Generated>((resolve) => {
    call.on('data', ({ event }: StreamGenerateResponse) => {
      if (event?.$case === 'delta') outputs.push(event.value.outputTokens);
    });
    call.on('error', (error: ServiceError) => resolve({ ...endOf(error), outputs }));
    call.on('end', () => resolve({ ...endOf(null), outputs }));
  });
  return { ended, outputs, cancel: () => call.cancel() };
}

function endOf(error: ServiceError | null): Omit<Generated, 'outputs'> {
  const encoded = error?.metadata.get('grpc-status-details-bin')[0];
  return {
    code: error?.code ?? status.OK,
    message: error?.details ?? '',
    details: Buffer.isBuffer(encoded) ? decodeStatusDetails(encoded) : {},
  };
}
