import { fileURLToPath } from 'node:url';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { type GrpcObject, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';

/** The overlay that classifies the echo service. */
export const ECHO_OVERLAY_FILE: string = fileURLToPath(
  new URL('../protos/echo-overlay.yaml', import.meta.url),
);

const definition: PackageDefinition = loadSync(
  fileURLToPath(new URL('../protos/echo.proto', import.meta.url)),
  {
    keepCase: false,
    longs: Number,
    defaults: true,
  },
);

/** A message of the echo service; what is left out has its zero value. */
export type EchoRequest = {
  readonly text?: string;
  readonly count?: number;
  readonly delayMs?: number;
  readonly failCode?: number;
  readonly answerBytes?: number;
  readonly payload?: Buffer;
  readonly model?: string;
  readonly exitAfter?: number;
};

export type EchoResponse = {
  readonly text: string;
  readonly receivedBytes: number;
  readonly payload: Buffer;
  readonly server: string;
  /** `key=value` */
  readonly metadata: readonly string[];
};

/** The echo service's descriptor set, as a user would bring one of their own. */
export function echoDescriptorSet(): Uint8Array {
  const files = Object.values(definition).flatMap((each) =>
    'fileDescriptorProtos' in each ? (each.fileDescriptorProtos as Buffer[]) : [],
  );
  const unique = new Map(files.map((file) => [file.toString('base64'), file]));
  return toBinary(
    FileDescriptorSetSchema,
    create(FileDescriptorSetSchema, {
      file: [...unique.values()].map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes)),
    }),
  );
}

const packages: GrpcObject = loadPackageDefinition(definition);

/** grpc-js's own client class of the echo service: methods `unary`, `clientStream`, `serverStream`, `bidi`, … */
export const EchoClient = ((packages['testing'] as GrpcObject)['echo'] as GrpcObject)['v1'] as unknown as {
  readonly EchoService: ServiceClientConstructor;
};
