import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { gunzipSync, gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import type { AppServer } from './grpc-js-server.ts';
import {
  type BoolValue,
  type SimpleRequest,
  type StreamingInputCallRequest,
  type StreamingOutputCallRequest,
  TestService,
} from './test-service.ts';

const HEAD_BYTES = 5;

type Message = { readonly compressed: boolean; readonly bytes: Buffer };

/**
 * The part of grpc.testing.TestService that the compression cases need, on node:http2 itself: gRPC libraries for Node do
 * not let a server see or choose the compressed flag of a single message.
 */
export async function startCompressingServer(): Promise<AppServer> {
  const server = createServer();
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => sessions.add(session));
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on('error', () => {});
    void serve(stream, headers);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () => {
      server.close();
      for (const session of sessions) session.destroy();
    },
  };
}

async function serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part as Buffer);
  const messages = messagesOf(Buffer.concat(parts), headers['grpc-encoding']);
  const path = String(headers[':path']);
  const service = Object.values(TestService.service).find((method) => method.path === path);
  const requests = messages.map(({ bytes }) => service?.requestDeserialize(bytes) as object);
  const wrong = messages.some(({ compressed }, index) => {
    const expected = (requests[index] as { expectCompressed?: BoolValue | null }).expectCompressed;
    return expected ? expected.value !== compressed : false;
  });
  const head = { ':status': 200, 'content-type': 'application/grpc', 'grpc-encoding': 'gzip' };
  if (wrong || service === undefined) {
    stream.respond({ ...head, 'grpc-status': String(status.INVALID_ARGUMENT) }, { endStream: true });
    return;
  }
  stream.respond(head, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  for (const { message, compressed } of answersTo(path, requests)) {
    stream.write(frame(service.responseSerialize(message), compressed));
  }
  stream.end();
}

type Answer = { readonly message: object; readonly compressed: boolean };

function answersTo(path: string, requests: readonly object[]): Answer[] {
  const payload = (size: number): object => ({ payload: { body: Buffer.alloc(size) } });
  if (path.endsWith('/UnaryCall')) {
    const { responseSize, responseCompressed } = requests[0] as SimpleRequest;
    return [{ message: payload(responseSize ?? 0), compressed: responseCompressed?.value ?? false }];
  }
  if (path.endsWith('/StreamingInputCall')) {
    const sizes = (requests as StreamingInputCallRequest[]).map((one) => one.payload?.body.length ?? 0);
    const aggregatedPayloadSize = sizes.reduce((sum, size) => sum + size, 0);
    return [{ message: { aggregatedPayloadSize }, compressed: false }];
  }
  const { responseParameters } = requests[0] as StreamingOutputCallRequest;
  return (responseParameters ?? []).map(({ size, compressed }) => ({
    message: payload(size),
    compressed: compressed?.value ?? false,
  }));
}

function messagesOf(body: Buffer, encoding: unknown): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at < body.length; ) {
    const end = at + HEAD_BYTES + body.readUInt32BE(at + 1);
    const compressed = body[at] === 1;
    const bytes = body.subarray(at + HEAD_BYTES, end);
    messages.push({ compressed, bytes: compressed && encoding === 'gzip' ? gunzipSync(bytes) : bytes });
    at = end;
  }
  return messages;
}

function frame(message: Buffer, compressed: boolean): Buffer {
  const body = compressed ? gzipSync(message) : message;
  const head = Buffer.alloc(HEAD_BYTES);
  head[0] = compressed ? 1 : 0;
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}
