import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Authority } from './authority.ts';
import { createAuthority } from './authority.ts';
import type { IdentityProblem } from './identity.ts';
import type { IdentitySource } from './identity-source.ts';
import { watchIdentity } from './watch-identity.ts';

const HOUR_MS = 3_600_000;
const TRUST_DOMAIN = 'gatehouse.local';
const ID = 'spiffe://gatehouse.local/ns/local/sa/inference';
const clock = () => Date.now();

let authority: Authority;
let directory: string;
let source: IdentitySource | undefined;
let problems: IdentityProblem[];

beforeAll(async () => {
  authority = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS });
});

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'gh-id-'));
  problems = [];
});

afterEach(async () => {
  source?.close();
  source = undefined;
  await rm(directory, { recursive: true });
});

async function writeSet(into: string, from: Authority = authority, validForMs = HOUR_MS): Promise<void> {
  const { certificatePem, keyPem } = await from.issue({ spiffeId: ID, validForMs });
  await mkdir(into, { recursive: true });
  await writeFile(join(into, 'tls.crt'), certificatePem);
  await writeFile(join(into, 'tls.key'), keyPem);
  await writeFile(join(into, 'ca.crt'), from.bundlePem);
}

function watching(options: { pollMs?: number; settleMs?: number; in?: string } = {}) {
  const at = options.in ?? directory;
  return watchIdentity({
    certificateFile: join(at, 'tls.crt'),
    keyFile: join(at, 'tls.key'),
    bundleFile: join(at, 'ca.crt'),
    trustDomain: TRUST_DOMAIN,
    clock,
    settleMs: options.settleMs ?? 20,
    pollMs: options.pollMs ?? 60_000,
    onError: (problem) => problems.push(problem),
  });
}

async function started(options: Parameters<typeof watching>[0] = {}): Promise<IdentitySource> {
  const result = await watching(options);
  if ('problem' in result) {
    throw new Error(result.problem.detail);
  }
  source = result.source;
  return result.source;
}

const WAIT = { timeout: 5_000, interval: 5 };
const generation = () => source?.current().generation;

describe('watchIdentity', () => {
  it('reads the first set', async () => {
    await writeSet(directory);
    const identity = (await started()).current();
    expect(identity).toMatchObject({ spiffeId: ID, trustDomain: TRUST_DOMAIN, generation: 1 });
    expect(identity.notAfterMs).toBeGreaterThan(Date.now());
  });

  it('takes a set that is written over the old one, and tells its subscribers', async () => {
    await writeSet(directory);
    const watched = await started();
    const before = watched.current();
    const seen: number[] = [];
    const unsubscribe = watched.subscribe((identity) => seen.push(identity.generation));
    await writeSet(directory);
    await expect.poll(generation, WAIT).toBe(2);
    expect(watched.current().certificatePem).not.toBe(before.certificatePem);
    expect(watched.current().secureContext).not.toBe(before.secureContext);
    expect(seen).toEqual([2]);
    unsubscribe();
    await writeSet(directory);
    await expect.poll(generation, WAIT).toBe(3);
    expect(seen).toEqual([2]);
  });

  it('follows the ..data link of a Kubernetes volume', async () => {
    await writeSet(join(directory, '..1'));
    await symlink('..1', join(directory, '..data'));
    for (const name of ['tls.crt', 'tls.key', 'ca.crt']) {
      await symlink(join('..data', name), join(directory, name));
    }
    await started();
    await writeSet(join(directory, '..2'));
    await symlink('..2', join(directory, '..data_tmp'));
    await rename(join(directory, '..data_tmp'), join(directory, '..data'));
    await expect.poll(generation, WAIT).toBe(2);
    expect(problems).toEqual([]);
  });

  it('finds a change without a file event', async () => {
    await writeSet(join(directory, 'one'));
    await symlink('one', join(directory, 'link'));
    await started({ in: join(directory, 'link'), pollMs: 50 });
    await writeSet(join(directory, 'two'));
    await symlink('two', join(directory, 'next'));
    await rename(join(directory, 'next'), join(directory, 'link'));
    await expect.poll(generation, WAIT).toBe(2);
  });

  it('keeps the last good set while a pair is half written, then takes the whole one', async () => {
    await writeSet(directory);
    const watched = await started();
    const before = watched.current();
    const { certificatePem, keyPem } = await authority.issue({ spiffeId: ID, validForMs: HOUR_MS });
    await writeFile(join(directory, 'tls.crt'), certificatePem);
    await expect.poll(() => problems.at(-1)?.code, WAIT).toBe('KEY_MISMATCH');
    expect(watched.current()).toBe(before);
    await writeFile(join(directory, 'tls.key'), keyPem);
    await expect.poll(generation, WAIT).toBe(2);
    expect(watched.current().certificatePem).toBe(certificatePem);
  });

  it('reports a bad set once and recovers from it', async () => {
    await writeSet(directory);
    await started({ pollMs: 20 });
    await rm(join(directory, 'tls.key'));
    await expect.poll(() => problems.length, WAIT).toBe(1);
    expect(problems[0]?.code).toBe('FILE_UNREADABLE');
    await writeSet(directory);
    await expect.poll(generation, WAIT).toBe(2);
    expect(problems.filter(({ code }) => code === 'FILE_UNREADABLE')).toHaveLength(1);
  });

  it.each<[string, () => Promise<void>, string]>([
    ['a missing file', async () => rm(join(directory, 'ca.crt')), 'FILE_UNREADABLE'],
    ['an empty certificate', async () => writeFile(join(directory, 'tls.crt'), ''), 'CERTIFICATE_INVALID'],
    [
      'a certificate of garbage',
      async () => writeFile(join(directory, 'tls.crt'), garbage('CERTIFICATE')),
      'CERTIFICATE_INVALID',
    ],
    [
      'a key of garbage',
      async () => writeFile(join(directory, 'tls.key'), garbage('PRIVATE KEY')),
      'KEY_INVALID',
    ],
    ['an empty bundle', async () => writeFile(join(directory, 'ca.crt'), ''), 'BUNDLE_INVALID'],
    ['a leaf as bundle', async () => writeFile(join(directory, 'ca.crt'), await leafPem()), 'BUNDLE_INVALID'],
    [
      'a bundle of another CA of the same name',
      async () => writeFile(join(directory, 'ca.crt'), await otherBundle()),
      'NOT_IN_BUNDLE',
    ],
    ['an expired certificate', async () => writeSet(directory, authority, -1_000), 'EXPIRED'],
  ])('does not start with %s', async (_, spoil, code) => {
    await writeSet(directory);
    await spoil();
    expect(await watching()).toMatchObject({ problem: { code } });
  });

  it('never repeats the key in a problem', async () => {
    await writeSet(directory);
    const { keyPem } = await authority.issue({ spiffeId: ID, validForMs: HOUR_MS });
    await writeFile(join(directory, 'tls.key'), keyPem.replace('PRIVATE', 'PRIVAT'));
    expect(JSON.stringify(await watching())).not.toContain(keyPem.split('\n')[1]);
  });
});

const garbage = (label: string) => `-----BEGIN ${label}-----\nAAAA\n-----END ${label}-----\n`;
const leafPem = async () => (await authority.issue({ spiffeId: ID, validForMs: HOUR_MS })).certificatePem;
const otherBundle = async () => {
  const other = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS });
  return other.bundlePem;
};
