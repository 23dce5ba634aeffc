import { fileURLToPath } from 'node:url';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { type GrpcObject, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';

const file = (name: string): string => fileURLToPath(new URL(`../protos/${name}`, import.meta.url));

/** Classifies the methods that are implemented. */
export const OVERLAY_FILE: string = file('test-service-overlay.yaml');

const PACKAGE = 'grpc.testing';
const definition: PackageDefinition = loadSync(file('test-service.proto'), { longs: Number, defaults: true });

/** The descriptor set of gRPC's interoperability service. */
export function testServiceDescriptorSet(): Uint8Array {
  const files = Object.values(definition).flatMap((each) =>
    'fileDescriptorProtos' in each ? (each.fileDescriptorProtos as Buffer[]) : [],
  );
  const unique = new Map(files.map((bytes) => [bytes.toString('base64'), bytes]));
  const set = create(FileDescriptorSetSchema, {
    file: [...unique.values()].map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes)),
  });
  // The loader writes the names of types as the file has them; a descriptor set has them in full.
  for (const each of set.file.flatMap(({ messageType }) => messageType).flatMap(({ field }) => field)) {
    if (each.typeName !== '' && !each.typeName.startsWith('.'))
      each.typeName = `.${PACKAGE}.${each.typeName}`;
  }
  return toBinary(FileDescriptorSetSchema, set);
}

const testing = (loadPackageDefinition(definition)['grpc'] as GrpcObject)['testing'] as GrpcObject;

/** grpc-js's client classes of the service and of the one that nobody implements. */
export const TestService = testing['TestService'] as ServiceClientConstructor;
export const UnimplementedService = testing['UnimplementedService'] as ServiceClientConstructor;

type Payload = { readonly body: Buffer };
type EchoStatus = { readonly code: number; readonly message: string };
export type BoolValue = { readonly value: boolean };

/** What is left out has its zero value, or is null where it is a message. */
export type SimpleRequest = {
  readonly responseSize?: number;
  readonly payload?: Payload | null;
  readonly responseCompressed?: BoolValue | null;
  readonly responseStatus?: EchoStatus | null;
  readonly expectCompressed?: BoolValue | null;
};
export type SimpleResponse = { readonly payload: Payload | null };
export type StreamingInputCallRequest = {
  readonly payload?: Payload | null;
  readonly expectCompressed?: BoolValue | null;
};
export type StreamingInputCallResponse = { readonly aggregatedPayloadSize: number };
export type StreamingOutputCallRequest = {
  readonly responseParameters?: readonly {
    readonly size: number;
    readonly intervalUs?: number;
    readonly compressed?: BoolValue | null;
  }[];
  readonly payload?: Payload | null;
  readonly responseStatus?: EchoStatus | null;
};
export type StreamingOutputCallResponse = { readonly payload: Payload | null };
