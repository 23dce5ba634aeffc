/** node:http2 as the other end, which checks what we write and writes what we must read. */
import { once } from 'node:events';
import * as http2 from 'node:http2';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import {
  Connection,
  type ConnectionSettings,
  defaultSettings,
  ErrorCode,
  type Field,
  field,
  type Stream,
  type StreamHandler,
} from './index.ts';
import { Recorder } from './raw-peer.ts';

const release: (() => void)[] = [];

afterEach(() => {
  for (const free of release.splice(0)) free();
});

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  release.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** Our server, answering each request by what `answer` makes of it once it has ended. */
class Answering implements StreamHandler {
  private fields: readonly Field[] = [];
  private readonly parts: Buffer[] = [];
  private readonly answer: (stream: Stream, fields: readonly Field[], body: Buffer) => void;

  constructor(answer: (stream: Stream, fields: readonly Field[], body: Buffer) => void) {
    this.answer = answer;
  }

  onHeaders(stream: Stream, fields: readonly Field[], endStream: boolean): void {
    this.fields = [...this.fields, ...fields];
    if (endStream) this.answer(stream, this.fields, Buffer.concat(this.parts));
  }

  onData(stream: Stream, chunk: Buffer, start: number, end: number, endStream: boolean): void {
    this.parts.push(Buffer.from(chunk.subarray(start, end)));
    stream.consume(end - start);
    if (endStream) this.answer(stream, this.fields, Buffer.concat(this.parts));
  }

  onSent(): void {}
  onReset(): void {}
}

async function serve(
  answer: (stream: Stream, fields: readonly Field[], body: Buffer) => void,
  settings: Partial<ConnectionSettings> = {},
  options: http2.ClientSessionOptions = {},
): Promise<{ session: http2.ClientHttp2Session; connections: Connection[] }> {
  const connections: Connection[] = [];
  const handler = { onStream: () => new Answering(answer), onClose() {} };
  const server = createServer((socket: Socket) => {
    connections.push(Connection.server(socket, handler, { ...defaultSettings, ...settings }));
  });
  const session = http2.connect(`http://127.0.0.1:${await listen(server)}`, options);
  session.on('error', () => {});
  release.push(() => session.destroy());
  return { session, connections };
}

interface Answer {
  readonly headers: http2.IncomingHttpHeaders;
  readonly trailers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
}

async function ask(stream: http2.ClientHttp2Stream): Promise<Answer> {
  let headers: http2.IncomingHttpHeaders = {};
  let trailers: http2.IncomingHttpHeaders = {};
  const parts: Buffer[] = [];
  stream.on('response', (fields) => {
    headers = fields;
  });
  stream.on('trailers', (fields) => {
    trailers = fields;
  });
  for await (const part of stream) parts.push(part as Buffer);
  return { headers, trailers, body: Buffer.concat(parts) };
}

const OK = field(':status', '200');
const GET = [field(':method', 'GET'), field(':scheme', 'http'), field(':authority', 'x')];

describe('our server and the client of node:http2', () => {
  it('agree on every byte that a value may hold, in Huffman code one way and plain the other', async () => {
    let value = '';
    for (let code = 0x21; code < 0x100; code++) {
      if (code !== 0x7f) value += String.fromCharCode(code, 0x20, code, code, code, 0x21);
    }
    let seen = '';
    const { session } = await serve((stream, fields) => {
      seen = fields.find((one) => one.name === 'x-bytes')?.value ?? '';
      stream.sendHeaders([OK, field('x-bytes', value)], true);
    });
    const answer = await ask(session.request({ ':path': '/', 'x-bytes': value }));
    expect(seen).toBe(value);
    expect(answer.headers['x-bytes']).toBe(value);
  });

  it.each([4_096, 256, 100, 0])('agree on 300 heads with a table of %i bytes', async (headerTableSize) => {
    // Few names and more values than the table holds: entries are added, found again and evicted.
    const fields = Array.from({ length: 60 }, (_, i) => field(`x-name-${i % 12}`, `${'v'.repeat(i)}-${i}`));
    fields.push(
      field('authorization', 'secret'),
      field('traceparent', '00-1-2-01'),
      field('x-long', 'l'.repeat(5_000)),
    );
    const chosen = (n: number): Field[] =>
      [0, 7, 13, 60].map((k) => fields[(n * n + k) % fields.length] as Field);
    const { session } = await serve(
      (stream, request) => {
        const n = Number(request.find((one) => one.name === 'n')?.value);
        stream.sendHeaders([OK, ...chosen(n)], false);
        stream.sendTrailers([field('n', String(n)), ...chosen(n + 1)]);
      },
      {},
      { settings: { headerTableSize } },
    );
    const expected = (list: Field[]): Record<string, string> => {
      const merged: Record<string, string> = {};
      for (const { name, value } of list) {
        const before = merged[name];
        // node:http2 joins repeated names, and keeps the first authorization alone.
        merged[name] =
          before === undefined || name === 'authorization' ? (before ?? value) : `${before}, ${value}`;
      }
      return merged;
    };
    for (let n = 0; n < 300; n++) {
      const { headers, trailers } = await ask(session.request({ ':path': '/', n: String(n) }));
      expect(headers, `head ${n}`).toMatchObject(expected(chosen(n)));
      expect(trailers, `trailers ${n}`).toMatchObject(expected(chosen(n + 1)));
    }
  });

  it('carry bodies both ways, with windows far smaller than they are', async () => {
    const settings = { initialStreamWindowBytes: 1_000, connectionWindowBytes: 5_000 };
    const options = { settings: { initialWindowSize: 777, maxFrameSize: 16_384 } };
    const { session } = await serve(
      (stream, _fields, body) => {
        stream.sendHeaders([OK], false);
        stream.sendData(body, 0, body.length, true);
      },
      settings,
      options,
    );
    const bodies = Array.from({ length: 5 }, (_, i) => Buffer.alloc(150_000, `body ${i} `));
    const answers = await Promise.all(
      bodies.map((body) => {
        const stream = session.request({ ':path': '/', ':method': 'POST' });
        stream.end(body);
        return ask(stream);
      }),
    );
    expect(answers.map((one, i) => one.body.equals(bodies[i] as Buffer))).toEqual(bodies.map(() => true));
  });

  it('carry heads larger than a frame both ways', async () => {
    const { session } = await serve(
      (stream, fields) => stream.sendHeaders([OK, ...fields.filter(isBig)], true),
      {
        headerListBytesMax: 100_000,
      },
    );
    const big: Record<string, string> = { ':path': '/' };
    for (let i = 0; i < 8; i++) big[`x-big-${i}`] = String(i).repeat(6_000);
    const { headers } = await ask(session.request(big));
    for (let i = 0; i < 8; i++) expect(headers[`x-big-${i}`]).toBe(String(i).repeat(6_000));
  });

  it('carry request trailers', async () => {
    let seen: string[] = [];
    const { session } = await serve((stream, fields) => {
      seen = fields.map((one) => `${one.name}=${one.value}`);
      stream.sendHeaders([OK], true);
    });
    const stream = session.request({ ':path': '/', ':method': 'POST' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-checksum': '42' }));
    stream.end('body');
    await ask(stream);
    expect(seen).toContain('x-checksum=42');
  });

  it('finish open requests when the server shuts down, and close', async () => {
    const waiting: Stream[] = [];
    const { session, connections } = await serve((stream) => waiting.push(stream));
    const answer = ask(session.request({ ':path': '/' }));
    await expect.poll(() => waiting.length).toBe(1);
    const closed = once(session, 'close');
    connections[0]?.shutdown();
    await expect.poll(() => session.closed).toBe(true);
    waiting[0]?.sendHeaders([OK], true);
    expect((await answer).headers[':status']).toBe(200);
    await closed;
  });

  it('agree on a reset', async () => {
    const { session } = await serve((stream) => stream.reset(ErrorCode.REFUSED_STREAM));
    const stream = session.request({ ':path': '/' });
    stream.on('error', () => {});
    await new Promise((resolve) => {
      stream.once('close', resolve);
    });
    expect(stream.rstCode).toBe(ErrorCode.REFUSED_STREAM);
  });

  it('answer PING', async () => {
    const { session } = await serve(() => {});
    await once(session, 'connect');
    const echoed = await new Promise<Buffer>((resolve, reject) => {
      session.ping(Buffer.from('12345678'), (error, _ms, payload) =>
        error ? reject(error) : resolve(payload),
      );
    });
    expect(echoed.toString()).toBe('12345678');
  });
});

function isBig(one: Field): boolean {
  return one.name.startsWith('x-big');
}

describe('our client and the server of node:http2', () => {
  async function dial(
    onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
    options: http2.ServerOptions = {},
  ): Promise<{ connection: Connection; recorder: Recorder }> {
    const server = http2.createServer(options);
    server.on('stream', onStream);
    const recorder = new Recorder();
    const port = await listen(server);
    const connection = Connection.client(connect(port, '127.0.0.1'), recorder, defaultSettings);
    release.push(() => connection.destroy(ErrorCode.NO_ERROR, ''));
    return { connection, recorder };
  }

  const path = (text: string): Field[] => [...GET, field(':path', text)];

  it('carry a request and its response with trailers', async () => {
    const { connection, recorder } = await dial((stream, headers) => {
      stream.on('error', () => {});
      stream.additionalHeaders({ ':status': 103 });
      stream.respond({ ':status': 200, 'x-path': headers[':path'] }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end('hello');
    });
    connection.openStream(recorder)?.sendHeaders(path('/here'), true);
    await expect.poll(() => recorder.lines.at(-1)).toBe('end 1');
    expect(recorder.lines.map((line) => line.replace(/ date=.* GMT/, ''))).toEqual([
      'headers 1 :status=200 x-path=/here',
      'data 1 hello',
      'headers 1 grpc-status=0 end',
      'end 1',
    ]);
  });

  it('keep to a limit of concurrent streams', async () => {
    const held: http2.ServerHttp2Stream[] = [];
    const { connection, recorder } = await dial((stream) => held.push(stream), {
      settings: { maxConcurrentStreams: 2 },
    });
    connection.openStream(recorder)?.sendHeaders(path('/1'), true);
    await expect.poll(() => connection.availableStreams).toBe(1);
    connection.openStream(recorder)?.sendHeaders(path('/2'), true);
    expect(connection.openStream(recorder)).toBeNull();
    await expect.poll(() => held.length).toBe(2);
    held[0]?.respond({}, { endStream: true });
    await expect.poll(() => recorder.lines).toContain('writable');
  });

  it('reset what the server refuses', async () => {
    const { connection, recorder } = await dial((stream) => {
      stream.on('error', () => {});
      stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    });
    connection.openStream(recorder)?.sendHeaders(path('/'), true);
    await expect.poll(() => recorder.lines).toEqual(['reset 1 7 peer no']);
  });

  it('tell that nothing was sent when no connection can be made', async () => {
    const server = createServer();
    const port = await listen(server);
    server.close();
    const recorder = new Recorder();
    const connection = Connection.client(connect(port, '127.0.0.1'), recorder, defaultSettings);
    connection.openStream(recorder)?.sendHeaders(path('/'), true);
    await expect.poll(() => recorder.close?.origin).toBe('socket');
    expect(recorder.lines).toEqual(['reset 1 2 connection no', 'close 2 socket']);
  });
});
