import {
  Client,
  credentials,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import type { Logger } from '../src/index.ts';

const bytes = (buffer: Buffer): Buffer => buffer;
const codec = {
  requestStream: false,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
};
const definition = {
  Echo: { ...codec, path: '/test.Echo/Echo', responseStream: false },
  Repeat: { ...codec, path: '/test.Echo/Repeat', responseStream: true },
  Refuse: { ...codec, path: '/test.Echo/Refuse', responseStream: false },
};

/** As many as let the first spans' export end while calls still go on. */
const REFUSALS = 60;

/** Calls a server of this process: one unary call, one stream, calls that are refused with a text of the caller's. */
export async function callEcho(logger: Logger): Promise<void> {
  const server = new Server();
  server.addService(definition, {
    Echo: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
      logger.info('in the call');
      reply(null, call.request);
    },
    Repeat: (call: ServerWritableStream<Buffer, Buffer>) => {
      call.write(call.request);
      call.end();
    },
    Refuse: (_call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
      reply({ code: status.INVALID_ARGUMENT, details: 'my secret words' });
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const request = Buffer.from('a');
  const unary = ({ path }: MethodDefinition<Buffer, Buffer>): Promise<void> =>
    new Promise((resolve) => client.makeUnaryRequest(path, bytes, bytes, request, () => resolve()));
  await unary(definition.Echo);
  for (let made = 0; made < REFUSALS; made += 1) await unary(definition.Refuse);
  await new Promise<void>((resolve) => {
    client
      .makeServerStreamRequest(definition.Repeat.path, bytes, bytes, request)
      .on('data', () => {})
      .on('status', () => resolve());
  });
  client.close();
  server.forceShutdown();
}
