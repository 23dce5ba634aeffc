import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type FileWatch, watchFiles } from './index.ts';

let folder: string;
let watched: FileWatch | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatehouse-watch-'));
});

afterEach(async () => {
  watched?.close();
  await rm(folder, { recursive: true, force: true });
});

function follow(files: string[], known: string[], pollMs = 10_000) {
  const changes: (readonly string[])[] = [];
  const errors: Error[] = [];
  watched = watchFiles(files, known, {
    settleMs: 20,
    pollMs,
    onChange: (contents) => changes.push(contents),
    onError: (error) => errors.push(error),
  });
  return { changes, errors };
}

test('gives the new contents of a file written in place, once', async () => {
  const file = join(folder, 'a');
  await writeFile(file, 'one');
  const { changes } = follow([file], ['one']);
  await writeFile(file, 'two');
  await vi.waitFor(() => expect(changes).toEqual([['two']]));
});

test('gives a set whole when one of its files was renamed over', async () => {
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  await writeFile(a, 'a1');
  await writeFile(b, 'b1');
  const { changes } = follow([a, b], ['a1', 'b1']);
  await writeFile(join(folder, 'new'), 'b2');
  await rename(join(folder, 'new'), b);
  await vi.waitFor(() => expect(changes).toEqual([['a1', 'b2']]));
});

test('follows the ..data link of a Kubernetes volume', async () => {
  await mkdir(join(folder, 'v1'));
  await mkdir(join(folder, 'v2'));
  await writeFile(join(folder, 'v1', 'a'), 'one');
  await writeFile(join(folder, 'v2', 'a'), 'two');
  await symlink('v1', join(folder, '..data'));
  await symlink('..data/a', join(folder, 'a'));
  const { changes } = follow([join(folder, 'a')], ['one']);
  await symlink('v2', join(folder, '..next'));
  await rename(join(folder, '..next'), join(folder, '..data'));
  await vi.waitFor(() => expect(changes).toEqual([['two']]));
});

test('says once that a file is gone, and goes on when it is back', async () => {
  const file = join(folder, 'a');
  await writeFile(file, 'one');
  const { changes, errors } = follow([file], ['one'], 30);
  await rm(file);
  await vi.waitFor(() => expect(errors).toHaveLength(1));
  await writeFile(file, 'two');
  await vi.waitFor(() => expect(changes).toEqual([['two']]));
  expect(errors).toHaveLength(1);
});
