/**
 * The proxy that one would write with grpc-js: it terminates mTLS, passes message bytes and metadata on unread, and
 * does nothing else. Arguments: port, app port, certificate, key, bundle.
 */
import { readFileSync } from 'node:fs';
import {
  Client,
  credentials,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';

const [port, appPort, certificateFile, keyFile, bundleFile] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const SERVICE = '/testing.echo.v1.EchoService';
const raw = (bytes: Buffer): Buffer => bytes;

const app = new Client(`127.0.0.1:${appPort}`, credentials.createInsecure());

function unary(call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>): void {
  app.makeUnaryRequest(`${SERVICE}/Unary`, raw, raw, call.request, call.metadata, (error, answer) =>
    callback(error, answer),
  );
}

function serverStream(call: ServerWritableStream<Buffer, Buffer>): void {
  const upstream = app.makeServerStreamRequest(
    `${SERVICE}/ServerStream`,
    raw,
    raw,
    call.request,
    call.metadata,
  );
  upstream.on('data', (message: Buffer) => call.write(message));
  upstream.on('error', (error) => call.emit('error', error));
  upstream.on('end', () => call.end());
}

const bytes = {
  requestSerialize: raw,
  requestDeserialize: raw,
  responseSerialize: raw,
  responseDeserialize: raw,
};
const server = new Server();
server.addService(
  {
    Unary: { path: `${SERVICE}/Unary`, requestStream: false, responseStream: false, ...bytes },
    ServerStream: { path: `${SERVICE}/ServerStream`, requestStream: false, responseStream: true, ...bytes },
  },
  { Unary: unary, ServerStream: serverStream },
);
const pair = { private_key: readFileSync(keyFile), cert_chain: readFileSync(certificateFile) };
server.bindAsync(
  `127.0.0.1:${port}`,
  ServerCredentials.createSsl(readFileSync(bundleFile), [pair], true),
  (error) => {
    if (error) throw error;
  },
);
