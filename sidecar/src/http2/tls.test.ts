import { once } from 'node:events';
import * as http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import * as tls from 'node:tls';
import { createAuthority } from '@gatehouse/identity';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Connection, defaultSettings, ErrorCode, field, type Stream } from './index.ts';
import { Recorder } from './raw-peer.ts';

const REQUEST = [
  field(':method', 'POST'),
  field(':scheme', 'https'),
  field(':path', '/'),
  field(':authority', 'localhost'),
];

class Echo extends Recorder {
  override onHeaders(stream: Stream): void {
    stream.sendHeaders([field(':status', '200')], false);
  }

  override onData(stream: Stream, chunk: Buffer, start: number, end: number, endStream: boolean): void {
    stream.consume(stream.sendData(chunk, start, end, endStream));
  }

  override onSent(stream: Stream, bytes: number): void {
    stream.consume(bytes);
  }
}

describe('over TLS', () => {
  const echo = new Echo();
  let server: tls.Server;
  let port: number;
  let ca: string;

  beforeAll(async () => {
    const hourMs = 3_600_000;
    const clock = (): number => Date.now();
    const authority = await createAuthority({ trustDomain: 'test.example', clock, validForMs: hourMs });
    const spiffeId = 'spiffe://test.example/ns/a/sa/b';
    const own = await authority.issue({ spiffeId, validForMs: hourMs, dnsNames: ['localhost'] });
    ca = authority.bundlePem;
    server = tls.createServer(
      { cert: own.certificatePem, key: own.keyPem, ALPNProtocols: ['h2'] },
      (socket) => {
        Connection.server(socket, echo, defaultSettings);
      },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  });

  afterAll(() => {
    server.close();
  });

  it('our client gets a megabyte back from our server', async () => {
    const socket = tls.connect({
      port,
      host: '127.0.0.1',
      servername: 'localhost',
      ca,
      ALPNProtocols: ['h2'],
    });
    await once(socket, 'secureConnect');
    let received = 0;
    const recorder = new Recorder();
    recorder.onData = (stream, _chunk, start, end) => {
      received += end - start;
      stream.consume(end - start);
    };
    const connection = Connection.client(socket, recorder, defaultSettings);
    const stream = connection.openStream(recorder);
    stream?.sendHeaders(REQUEST, false);
    stream?.sendData(Buffer.alloc(1_000_000), 0, 1_000_000, true);
    await expect.poll(() => recorder.lines.at(-1)).toBe('end 1');
    expect(received).toBe(1_000_000);
    connection.shutdown();
    await expect.poll(() => socket.destroyed).toBe(true);
  });

  it('the client of node:http2 gets a megabyte back, and hears GOAWAY when our end is destroyed', async () => {
    const session = http2.connect(`https://localhost:${port}`, {
      ca,
      host: '127.0.0.1',
    } as http2.SecureClientSessionOptions);
    const stream = session.request({ ':path': '/', ':method': 'POST' });
    stream.end(Buffer.alloc(1_000_000));
    let received = 0;
    for await (const part of stream) received += (part as Buffer).length;
    expect(received).toBe(1_000_000);
    const goaway = once(session, 'goaway');
    session.on('error', () => {});
    const held = session.request({ ':path': '/', ':method': 'POST' });
    held.on('error', () => {});
    await once(held, 'response');
    echo.streams.at(-1)?.connection.destroy(ErrorCode.ENHANCE_YOUR_CALM, 'test');
    expect((await goaway)[0]).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    await expect.poll(() => session.destroyed).toBe(true);
  });
});
