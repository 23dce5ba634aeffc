import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createAuthority } from '@gatehouse/identity';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fetchKeySet } from './fetch-key-set.ts';

let server: Server;
let ca: string;
let base: string;

beforeAll(async () => {
  const authority = await createAuthority({
    trustDomain: 'issuer.test',
    clock: Date.now,
    validForMs: 600_000,
  });
  const credentials = await authority.issue({
    spiffeId: 'spiffe://issuer.test/jwks',
    validForMs: 600_000,
    dnsNames: ['localhost'],
  });
  ca = authority.bundlePem;
  server = createServer(
    { cert: credentials.certificatePem, key: credentials.keyPem },
    (request, response) => {
      if (request.url === '/silent') return;
      if (request.url === '/large') response.end('x'.repeat(2000));
      else if (request.url === '/cut')
        response.writeHead(200, { 'content-length': 10 }).write('x', () => response.destroy());
      else response.end('keys');
    },
  );
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  base = `https://localhost:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
});

function fetch(path: string, signal = new AbortController().signal): Promise<string> {
  return fetchKeySet(`${base}${path}`, { signal, bytesMax: 1000, ca, timeoutMs: 200 });
}

test('gives the text of an answer within its limits', async () => {
  await expect(fetch('/good')).resolves.toBe('keys');
});

test.each([
  ['/silent', /did not answer within 200 ms/],
  ['/large', /more than 1000 bytes/],
  ['/cut', /aborted/],
])('rejects %s', async (path, expected) => {
  await expect(fetch(path)).rejects.toThrow(expected);
});

test('ends when it is told to', async () => {
  const stop = new AbortController();
  const fetched = fetch('/silent', stop.signal);
  stop.abort();
  await expect(fetched).rejects.toThrow(/abort/i);
});
