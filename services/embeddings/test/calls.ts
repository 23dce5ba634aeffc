import type {
  EmbedOptions,
  EmbedRequest,
  EmbedResponse,
  StreamEmbedResponse,
} from '@gatehouse/contracts/embeddings';
import { EmbedRequest as Request } from '@gatehouse/contracts/embeddings';
import { fromServiceError, type RpcError } from '@gatehouse/service-kit';
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { MODEL } from './model-files.ts';
import type { RunningService } from './running-service.ts';

/** Calls Embed; a refusal rejects with an RpcError that holds its details. */
export function embed(
  { client }: RunningService,
  inputs: readonly string[],
  options?: Partial<EmbedOptions>,
  model = MODEL,
): Promise<EmbedResponse> {
  const request: EmbedRequest = Request.fromPartial({
    model,
    inputs: [...inputs],
    ...(options && { options }),
  });
  return new Promise((resolve, reject) => {
    client.embed(request, (error, response) => (error ? reject(fromServiceError(error)) : resolve(response)));
  });
}

/** The RpcError that a call ends with. */
export async function refusalOf(call: Promise<unknown>): Promise<RpcError> {
  return call.then(
    () => {
      throw new Error('the call was answered');
    },
    (error: RpcError) => error,
  );
}

/** The vectors of an answer in float32. */
export function vectorsOf(response: EmbedResponse): number[][] {
  return response.embeddings.map(({ vector }) => (vector?.$case === 'float32' ? vector.value.values : []));
}

/** The answers of a stream until it ends; rejects with its RpcError. */
export function collect(
  stream: ClientDuplexStream<never, StreamEmbedResponse>,
): Promise<StreamEmbedResponse[]> {
  const answers: StreamEmbedResponse[] = [];
  return new Promise((resolve, reject) => {
    stream.on('data', (answer: StreamEmbedResponse) => answers.push(answer));
    stream.on('error', (error: ServiceError) => reject(fromServiceError(error)));
    stream.on('end', () => resolve(answers));
  });
}

export function cosine(a: readonly number[], b: readonly number[]): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (const [at, value] of a.entries()) {
    const other = b[at] ?? 0;
    dot += value * other;
    aa += value * value;
    bb += other * other;
  }
  return dot / Math.sqrt(aa * bb);
}
