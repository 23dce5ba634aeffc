/** Two Streams coupled back to back: what the sidecar does with this library, without policy. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import {
  Client,
  credentials,
  Server as GrpcServer,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  ServerCredentials,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Connection,
  type ConnectionSettings,
  defaultSettings,
  ErrorCode,
  type Field,
  type Stream,
  type StreamHandler,
  type StreamReset,
} from './index.ts';

class Half implements StreamHandler {
  peer: Stream | null = null;
  private started = false;

  onHeaders(_stream: Stream, fields: readonly Field[], endStream: boolean): void {
    const peer = this.peer as Stream;
    if (this.started) peer.sendTrailers(fields);
    else peer.sendHeaders(fields, endStream);
    this.started = true;
  }

  onData(stream: Stream, chunk: Buffer, start: number, end: number, endStream: boolean): void {
    stream.consume((this.peer as Stream).sendData(chunk, start, end, endStream));
  }

  onSent(_stream: Stream, bytes: number): void {
    (this.peer as Stream).consume(bytes);
  }

  onReset(_stream: Stream, reset: StreamReset): void {
    (this.peer as Stream).reset(reset.code === ErrorCode.NO_ERROR ? ErrorCode.CANCEL : reset.code);
  }
}

function relayInto(upstream: Connection, settings: ConnectionSettings): Server {
  return createServer((socket: Socket) => {
    Connection.server(
      socket,
      {
        onStream(stream) {
          const down = new Half();
          const up = new Half();
          down.peer = upstream.openStream(up);
          up.peer = stream;
          return down;
        },
        onClose() {},
      },
      settings,
    );
  });
}

const bytes = (value: Buffer): Buffer => value;
const method = (name: string): string => `/relay.Test/${name}`;

function grpcServer(): GrpcServer {
  const server = new GrpcServer();
  const kind = (requestStream: boolean, responseStream: boolean, name: string) => ({
    path: method(name),
    requestStream,
    responseStream,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  });
  const unary: handleUnaryCall<Buffer, Buffer> = (call, done) => {
    if (call.request.toString() === 'refuse') done({ code: status.FAILED_PRECONDITION, details: 'no: ä' });
    else done(null, call.request);
  };
  const collect: handleClientStreamingCall<Buffer, Buffer> = (call, done) => {
    const parts: Buffer[] = [];
    call.on('data', (part: Buffer) => parts.push(part));
    call.on('end', () => done(null, Buffer.concat(parts)));
  };
  const repeat: handleServerStreamingCall<Buffer, Buffer> = (call) => {
    for (let i = 0; i < 50; i++) call.write(call.request);
    call.end();
  };
  const echo: handleBidiStreamingCall<Buffer, Buffer> = (call) => {
    call.on('data', (part: Buffer) => call.write(part));
    call.on('end', () => call.end());
  };
  server.addService(
    {
      unary: kind(false, false, 'unary'),
      collect: kind(true, false, 'collect'),
      repeat: kind(false, true, 'repeat'),
      echo: kind(true, true, 'echo'),
    },
    { unary, collect, repeat, echo },
  );
  return server;
}

const settingsTable: [string, ConnectionSettings][] = [
  ['default windows', defaultSettings],
  [
    'windows of a few bytes',
    {
      ...defaultSettings,
      initialStreamWindowBytes: 97,
      connectionWindowBytes: 1_009,
      outputDataBytesMax: 500,
    },
  ],
];

describe.each(settingsTable)('a relay between grpc-js peers with %s', (_name, settings) => {
  let server: GrpcServer;
  let upstream: Connection;
  let relay: Server;
  let client: Client;

  beforeAll(async () => {
    server = grpcServer();
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    upstream = Connection.client(connect(port, '127.0.0.1'), { onClose() {} }, settings);
    relay = relayInto(upstream, settings);
    await new Promise<void>((resolve) => {
      relay.listen(0, '127.0.0.1', resolve);
    });
    const address = relay.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    client = new Client(`127.0.0.1:${address.port}`, credentials.createInsecure());
  });

  afterAll(() => {
    client.close();
    upstream.destroy(ErrorCode.NO_ERROR, '');
    relay.close();
    server.forceShutdown();
  });

  const unary = (message: Buffer): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(method('unary'), bytes, bytes, message, new Metadata(), (error, value) =>
        error === null && value !== undefined ? resolve(value) : reject(error),
      );
    });

  it('carries unary calls, empty, small and larger than every window', async () => {
    for (const size of [0, 1, 100, 300_000]) {
      const message = Buffer.alloc(size, 'abc');
      expect((await unary(message)).equals(message)).toBe(true);
    }
  });

  it('carries 200 unary calls at once', async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => unary(Buffer.from(`call ${i}`))));
    expect(answers.map(String)).toEqual(Array.from({ length: 200 }, (_, i) => `call ${i}`));
  });

  it('carries a status and its message in a trailers-only response', async () => {
    const error = await unary(Buffer.from('refuse')).catch((e: ServiceError) => e);
    expect(error).toMatchObject({ code: status.FAILED_PRECONDITION, details: 'no: ä' });
  });

  it('carries a client stream', async () => {
    const sent = Array.from({ length: 40 }, (_, i) => Buffer.alloc(i * 37, 'x'));
    const answer = await new Promise<Buffer>((resolve, reject) => {
      const call = client.makeClientStreamRequest(
        method('collect'),
        bytes,
        bytes,
        new Metadata(),
        (error, value) => (error === null && value !== undefined ? resolve(value) : reject(error)),
      );
      for (const part of sent) call.write(part);
      call.end();
    });
    expect(answer.equals(Buffer.concat(sent))).toBe(true);
  });

  it('carries a server stream', async () => {
    const message = Buffer.alloc(2_000, 'y');
    const call = client.makeServerStreamRequest(method('repeat'), bytes, bytes, message, new Metadata());
    let parts = 0;
    for await (const part of call) {
      expect(message.equals(part as Buffer)).toBe(true);
      parts++;
    }
    expect(parts).toBe(50);
  });

  it('carries a bidirectional stream, message by message', async () => {
    const call = client.makeBidiStreamRequest(method('echo'), bytes, bytes, new Metadata());
    const answers: string[] = [];
    call.write(Buffer.from('0'));
    for await (const part of call) {
      answers.push(String(part));
      if (answers.length < 20) call.write(Buffer.from(String(answers.length)));
      else call.end();
    }
    expect(answers).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
  });

  it('passes a cancel on and keeps serving', async () => {
    const call = client.makeBidiStreamRequest(method('echo'), bytes, bytes, new Metadata());
    call.write(Buffer.from('one'));
    await new Promise<void>((resolve, reject) => {
      call.once('data', () => call.cancel());
      call.once('error', (error: ServiceError) =>
        error.code === status.CANCELLED ? resolve() : reject(error),
      );
    });
    expect(String(await unary(Buffer.from('after')))).toBe('after');
    await expect.poll(() => upstream.activeStreams).toBe(0);
  });
});
