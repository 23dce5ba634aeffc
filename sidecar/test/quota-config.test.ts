import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority } from '@gatehouse/identity';
import { listenOn } from '@gatehouse/sockets';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { parseConfig } from '../src/config/parse.ts';
import { connectRedis } from '../src/quota/index.ts';
import { findRedisServer, startRedisServer } from './support/redis-server.ts';
import { clock } from './support/test-mesh.ts';

const CONFIG = {
  name: 'callee',
  identity: { certificateFile: 'a', keyFile: 'b', bundleFile: 'c', trustDomain: 'test.gatehouse' },
  inbound: { listen: '127.0.0.1:0', app: 'unix:/run/app.sock' },
  policyFile: 'policy.yaml',
  telemetry: { listen: '127.0.0.1:0' },
  admin: { listen: 'unix:/run/admin.sock' },
};

test('a store that cannot be meant is refused, each problem with its key', () => {
  const tls = { caFile: 'ca.pem', keyFile: 'key.pem' };
  const sharedLimits = { redis: { address: 'unix:/run/redis.sock', tls }, keyPrefix: 'a b', leaseMs: 5 };
  const parsed = parseConfig(stringify({ ...CONFIG, sharedLimits }), 'sidecar.yaml');
  const problems =
    'problems' in parsed ? parsed.problems.map(({ key, message }) => `${key}: ${message}`) : [];
  expect(problems).toEqual([
    expect.stringMatching(/^sharedLimits\.redis\.tls: .*expected none with a Unix socket$/),
    expect.stringMatching(/^sharedLimits\.redis\.tls: .*expected certificateFile and keyFile together$/),
    expect.stringContaining('sharedLimits.keyPrefix: got "a b", expected up to 64 letters'),
    'sharedLimits.leaseMs: got 5, expected a whole number from 1000 to 600000',
  ]);
});

const redis = await findRedisServer();
const missing = 'missing' in redis ? redis.missing : '';
if (missing !== '' && process.env['CI'] === 'true') throw new Error(missing);

test.skipIf(missing !== '')(
  'a store is reached over TLS with a certificate and a password, and not without',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'gh-redis-tls-'));
    const file = (name: string): string => join(folder, name);
    const authority = await createAuthority({ trustDomain: 'test.gatehouse', clock, validForMs: 3_600_000 });
    const issued = await authority.issue({
      spiffeId: 'spiffe://test.gatehouse/sa/redis',
      dnsNames: ['localhost'],
      validForMs: 3_000_000,
    });
    await writeFile(file('ca.pem'), authority.bundlePem);
    await writeFile(file('own.pem'), issued.certificatePem);
    await writeFile(file('own.key'), issued.keyPem);
    await writeFile(file('password'), 'open sesame\n');
    const probe = createServer();
    const address = (await listenOn(probe, '127.0.0.1:0')).replace('127.0.0.1', 'localhost');
    await new Promise((resolve) => probe.close(resolve));
    const files = ['--tls-cert-file', file('own.pem'), '--tls-key-file', file('own.key')];
    const port = ['--tls-port', address.slice(address.lastIndexOf(':') + 1)];
    const more = [...port, ...files, '--tls-ca-cert-file', file('ca.pem'), '--requirepass', 'open sesame'];
    const server = await startRedisServer((redis as { file: string }).file, more);
    const tls = { caFile: file('ca.pem'), certificateFile: file('own.pem'), keyFile: file('own.key') };
    const options = { answerMsMax: 2000, onChange: () => {} };
    const attempts = [
      { address, database: 0, tls, passwordFile: file('password') },
      { address, database: 0, tls },
      { address, database: 0, tls: { caFile: file('ca.pem') }, passwordFile: file('password') },
      { address, database: 0, tls: { ...tls, serverName: 'another' }, passwordFile: file('password') },
    ];
    const runners = await Promise.all(attempts.map((attempt) => connectRedis(attempt, options)));
    try {
      expect(runners.map(({ problem }) => problem === null)).toEqual([true, false, false, false]);
    } finally {
      for (const runner of runners) runner.close();
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    }
  },
);
