import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { generateSigningKey, readCheckpoint, readSigningKey, readVerifyingKey } from './checkpoint.ts';
import { Checkpointer, lastCheckpoint } from './checkpointer.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-sign-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const { privatePem, publicPem } = generateSigningKey();
const [key, publicKey] = [readSigningKey(privatePem), readVerifyingKey(publicPem)];
if (typeof key === 'string' || typeof publicKey === 'string') throw new Error('no key');
const point = (sequence: number) => ({ sequence, hash: Buffer.alloc(32, sequence) });

test('signs after so many entries, once for each end, and the last is found again', async () => {
  const signed: number[] = [];
  const checkpointer = new Checkpointer(
    {
      folder,
      key,
      workload: 'spiffe://a.b/c',
      everyEntries: 10,
      everyMs: 3_600_000,
      clock: () => 1_700_000_000_000,
      onCheckpoint: ({ sequence }) => signed.push(sequence),
      onFailure: (error) => {
        throw error;
      },
    },
    null,
  );
  expect(checkpointer.lastAtMs).toBe(null);
  for (let sequence = 1; sequence <= 9; sequence++) checkpointer.reached(point(sequence));
  expect(signed).toEqual([]);
  checkpointer.reached(point(10));
  await vi.waitFor(() => expect(signed).toEqual([10]));
  expect(checkpointer.lastAtMs).toBe(1_700_000_000_000);
  checkpointer.reached(point(12));
  await checkpointer.close();
  expect(signed).toEqual([10, 12]);
  expect(await lastCheckpoint(folder, key)).toEqual({
    ...point(12),
    workload: 'spiffe://a.b/c',
    timeMs: 1_700_000_000_000,
  });
  expect((await stat(join(folder, 'checkpoint.jws'))).mode & 0o777).toBe(0o600);
});

test('a checkpoint that was changed, or that another key has signed, is not believed', async () => {
  const jws = await readFile(join(folder, 'checkpoint.jws'), 'utf8');
  const [header = '', payload = '', signature = ''] = jws.trim().split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object;
  const forged = Buffer.from(JSON.stringify({ ...claims, sequence: 3 })).toString('base64url');
  expect(await readCheckpoint(`${header}.${forged}.${signature}`, publicKey)).toBe(
    'its signature is not of this key',
  );
  const none = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
  expect(await readCheckpoint(`${none}.${payload}.`, publicKey)).toMatch(/^expected a checkpoint/);
  expect(await readCheckpoint('nothing', publicKey)).toMatch(/^expected a checkpoint/);
  await writeFile(join(folder, 'checkpoint.jws'), `${header}.${forged}.${signature}`);
  expect(await lastCheckpoint(folder, key)).toBe(null);
});

test('a key of another kind is refused with what is expected', () => {
  expect(readSigningKey(publicPem)).toBe('expected an Ed25519 private key in PEM (PKCS#8)');
  expect(readVerifyingKey('nothing')).toBe('expected an Ed25519 public key in PEM (SPKI)');
});
