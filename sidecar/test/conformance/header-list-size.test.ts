/** SETTINGS_MAX_HEADER_LIST_SIZE of the peer (RFC 9113 §6.5.2), towards apps and towards callers. */
import { once } from 'node:events';
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openRawCaller, type RawCaller } from '../support/raw-caller.ts';
import { startTestMesh, type TestMesh } from '../support/test-mesh.ts';

/** What the app says that it takes; a plain call has about 700. */
const APP_BYTES_MAX = 4_000;
const LARGE = 'v'.repeat(APP_BYTES_MAX);

let app: Http2Server;
let mesh: TestMesh;
const seen: string[] = [];

function answer(stream: ServerHttp2Stream, wanted: string): void {
  const large = { 'x-large': 'v'.repeat(10_000) };
  stream.respond(
    { ':status': 200, 'content-type': 'application/grpc', ...(wanted === 'head' ? large : {}) },
    { waitForTrailers: true },
  );
  stream.on('wantTrailers', () =>
    stream.sendTrailers({ 'grpc-status': '0', ...(wanted === 'trailers' ? large : {}) }),
  );
  stream.end(Buffer.alloc(5));
}

beforeAll(async () => {
  app = createServer({ settings: { maxHeaderListSize: APP_BYTES_MAX } });
  app.on('stream', (stream: ServerHttp2Stream, head) => {
    stream.on('error', () => {});
    seen.push(String(head['x-call']));
    answer(stream, String(head['x-wanted']));
  });
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  mesh = await startTestMesh({ app: `127.0.0.1:${(app.address() as AddressInfo).port}` });
});
afterAll(async () => {
  await mesh.stop();
  app.close();
});

async function withCaller<T>(maxHeaderListSize: number, act: (caller: RawCaller) => Promise<T>): Promise<T> {
  const caller = await openRawCaller(mesh);
  await new Promise<void>((resolve) => caller.session.settings({ maxHeaderListSize }, () => resolve()));
  return act(caller).finally(() => caller.close());
}

test('a request whose metadata is more than the app takes is refused and never sent; others go on', async () => {
  await withCaller(100_000, async (caller) => {
    const first = await caller.call({ 'x-call': 'first' });
    const large = await caller.call({ 'x-call': 'large', 'x-large': LARGE });
    const last = await caller.call({ 'x-call': 'last' });
    expect([first, last].map(({ fields }) => fields['grpc-status'])).toEqual(['0', '0']);
    expect(large.fields['grpc-status']).toBe(String(status.RESOURCE_EXHAUSTED));
    expect(large.details.errorInfo?.reason).toBe('METADATA_TOO_LARGE');
    expect(seen).toEqual(['first', 'last']);
  });
});

describe('a response whose metadata is more than the caller takes is refused', () => {
  test.each(['head', 'trailers'])('in its %s', async (wanted) => {
    await withCaller(8_000, async (caller) => {
      const { fields, details, resetCode } = await caller.call({ 'x-wanted': wanted });
      expect(resetCode).toBe(0);
      expect(fields['grpc-status']).toBe(String(status.RESOURCE_EXHAUSTED));
      expect(details.errorInfo?.reason).toBe('METADATA_TOO_LARGE');
      expect(fields['x-large']).toBeUndefined();
    });
  });

  test.each(['head', 'trailers'])(
    'in its %s, without details where these are too much as well',
    async (wanted) => {
      await withCaller(400, async (caller) => {
        const { fields, details } = await caller.call({ 'x-wanted': wanted });
        expect(fields['grpc-status']).toBe(String(status.RESOURCE_EXHAUSTED));
        expect(fields['grpc-message']).toContain('metadata is larger');
        expect(details).toEqual({});
      });
    },
  );

  test('and passed on where the caller takes as much', async () => {
    await withCaller(20_000, async (caller) => {
      const { fields } = await caller.call({ 'x-wanted': 'trailers' });
      expect(fields['grpc-status']).toBe('0');
      expect(fields['x-large']).toHaveLength(10_000);
    });
  });
});
