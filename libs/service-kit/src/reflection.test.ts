import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Client, credentials } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import {
  ServerReflectionRequest,
  ServerReflectionResponse,
} from '../../contracts/src/gen/grpc/reflection/v1/reflection.ts';
import { startFixture } from '../test/kit-fixture.ts';

async function reflect(address: string, request: unknown): Promise<ServerReflectionResponse> {
  const client = new Client(address, credentials.createInsecure());
  const stream = client.makeBidiStreamRequest(
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    (value: never) => Buffer.from(ServerReflectionRequest.encode(value).finish()),
    (bytes) => ServerReflectionResponse.decode(bytes),
  );
  try {
    stream.write({ host: '', messageRequest: request } as never);
    stream.end();
    for await (const response of stream) return response as ServerReflectionResponse;
    throw new Error('no response');
  } finally {
    client.close();
  }
}

test('lists the services and gives their files with imports', async () => {
  const { address } = await startFixture();
  const list = (await reflect(address, { $case: 'listServices', value: '' })).messageResponse;
  expect(list?.$case === 'listServicesResponse' && list.value.service.map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      'gatehouse.inference.v1.InferenceService',
      'gatehouse.embeddings.v1.EmbeddingsService',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
    ]),
  );

  const symbol = { $case: 'fileContainingSymbol', value: 'gatehouse.inference.v1.InferenceService.Generate' };
  const files = (await reflect(address, symbol)).messageResponse;
  if (files?.$case !== 'fileDescriptorResponse') throw new Error(`answered ${files?.$case}`);
  const protos = files.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  expect(protos.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['gatehouse/inference/v1/inference.proto', 'google/protobuf/duration.proto']),
  );
  const inference = protos.find(({ name }) => name === 'gatehouse/inference/v1/inference.proto');
  expect(inference?.service[0]?.method.map(({ name }) => name)).toEqual([
    'Generate',
    'StreamGenerate',
    'CountTokens',
  ]);
});
