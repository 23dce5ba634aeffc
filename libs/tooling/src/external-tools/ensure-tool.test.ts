import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ensureTool, ToolUnavailable } from './ensure-tool.ts';
import { PINNED_TOOLS } from './pinned-tools.ts';
import { onceInFolder, toolsDir } from './tool-cache.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tools-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** An environment whose `go` is a script that this test writes. */
async function envWithGo(script: string): Promise<Record<string, string>> {
  const bin = join(folder, 'bin');
  await mkdir(bin);
  await writeFile(join(bin, 'go'), `#!/bin/sh\n${script}\n`);
  await chmod(join(bin, 'go'), 0o755);
  return { GATEHOUSE_TOOLS_DIR: join(folder, 'tools'), PATH: `${bin}:/usr/bin:/bin` };
}

test('toolsDir takes the given folder, then the XDG cache, then the home folder', () => {
  expect(toolsDir({ GATEHOUSE_TOOLS_DIR: '/given', XDG_CACHE_HOME: '/xdg', HOME: '/home/a' })).toBe('/given');
  expect(toolsDir({ XDG_CACHE_HOME: '/xdg', HOME: '/home/a' })).toBe('/xdg/gatehouse/tools');
  expect(toolsDir({ HOME: '/home/a' })).toBe('/home/a/.cache/gatehouse/tools');
});

describe('ensureTool', () => {
  test('builds each command of a Go tool once, and says so once', async () => {
    // "-o FILE" is where the build goes; the script counts its own runs.
    const env = await envWithGo(
      `echo run >> ${join(folder, 'runs')}; while [ "$1" != -o ]; do shift; done; echo built > "$2"`,
    );
    const lines: string[] = [];
    const options = { env, onProgress: (line: string) => lines.push(line) };
    const built = await ensureTool('grpc-interop', options);
    expect(await readdir(built)).toEqual(['client', 'server']);
    expect(await ensureTool('grpc-interop', options)).toBe(built);
    expect(await readFile(join(folder, 'runs'), 'utf8')).toBe('run\nrun\n');
    expect(lines).toEqual(['building grpc-interop with Go, once (two to four minutes)']);
  });

  test('builds an edited copy of a module, from a module cache that nobody may write', async () => {
    const original = join(folder, 'original');
    await mkdir(join(original, 'spec'), { recursive: true });
    await writeFile(
      join(original, 'spec', 'util.go'),
      'HeaderField(":method", "GET"),\nHeaderField(":authority", authority),',
    );
    await chmod(join(original, 'spec', 'util.go'), 0o444);
    // The result of this build is the source that it found.
    const env = await envWithGo(
      `case "$1" in list) echo ${original};; build) while [ "$1" != -o ]; do shift; done; cat edited/spec/util.go > "$2";; esac`,
    );
    const built = await ensureTool('h2spec-grpc', { env });
    expect(await readdir(built)).toEqual(['h2spec']);
    const source = await readFile(join(built, 'h2spec'), 'utf8');
    expect(source).toContain('HeaderField(":method", "POST"),');
    expect(source).toContain('"application/grpc"');
    expect(await readFile(join(original, 'spec', 'util.go'), 'utf8')).toContain('"GET"');
  });

  test('refuses to build where the text to be edited is not there', async () => {
    const original = join(folder, 'original');
    await mkdir(join(original, 'spec'), { recursive: true });
    await writeFile(join(original, 'spec', 'util.go'), 'other');
    const env = await envWithGo(`if [ "$1" = list ]; then echo ${original}; fi`);
    await expect(ensureTool('h2spec-grpc', { env })).rejects.toThrow(
      'h2spec-grpc cannot be built: spec/util.go lacks HeaderField(":method", "GET"),',
    );
  });

  test('builds a copy of a module with lines left out and files of ours laid over it', async () => {
    const original = join(folder, 'original');
    const catalogs = ['factory.go', '../../metricstore/factory.go'].map((file) =>
      join(original, 'internal/storage/v1/factory', file),
    );
    for (const catalog of catalogs) {
      await mkdir(dirname(catalog), { recursive: true });
      await writeFile(
        catalog,
        '\t"x/internal/storage/v1/kafka"\n\t"x/internal/storage/metricstore/prometheus"\nkept',
      );
    }
    const env = await envWithGo(
      `case "$1" in list) echo ${original};; build) while [ "$1" != -o ]; do shift; done; { cat internal/storage/*/factory.go internal/storage/*/*/factory.go; ls cmd; } > "$2";; esac`,
    );
    const built = await ensureTool('jaeger', { env });
    expect(await readdir(built)).toEqual(['all-in-one', 'collector']);
    expect((await readFile(join(built, 'collector'), 'utf8')).split('\n')).toEqual([
      '\t"x/internal/storage/v1/kafka"',
      'kept\t"x/internal/storage/metricstore/prometheus"',
      'keptgatehouse-collector',
      '',
    ]);
  });

  test('refuses to build where the lines to leave out are not there', async () => {
    const original = join(folder, 'original');
    await mkdir(join(original, 'internal/storage/v1/factory'), { recursive: true });
    await writeFile(join(original, 'internal/storage/v1/factory/factory.go'), 'other');
    const env = await envWithGo(`if [ "$1" = list ]; then echo ${original}; fi`);
    await expect(ensureTool('jaeger', { env })).rejects.toThrow(
      'jaeger cannot be built: internal/storage/v1/factory/factory.go has no line of /storage/v1/',
    );
  });

  test('says that Go is missing and where to get it', async () => {
    const env = { GATEHOUSE_TOOLS_DIR: folder, PATH: '/nonexistent' };
    await expect(ensureTool('h2spec', { env })).rejects.toThrow(
      new ToolUnavailable(
        'h2spec cannot be built: go is not on the PATH; install Go 1.26 or newer from go.dev/dl.',
      ),
    );
  });

  test('passes on what Go complained of, and leaves nothing behind', async () => {
    const env = await envWithGo(
      'echo "go: downloading x" >&2; echo "dial tcp: no route to host" >&2; exit 1',
    );
    await expect(ensureTool('h2spec', { env })).rejects.toThrow(
      'h2spec cannot be built (dial tcp: no route to host); the first build needs the Go module proxy.',
    );
    expect(await readdir(join(folder, 'tools'))).toEqual([]);
  });

  test('says that Python is missing', async () => {
    const env = { GATEHOUSE_TOOLS_DIR: folder, PATH: '/nonexistent' };
    await expect(ensureTool('python-hpack', { env })).rejects.toThrow('python3 is not on the PATH');
  });

  test('says which folder cannot be written', async () => {
    await writeFile(join(folder, 'file'), '');
    const env = { GATEHOUSE_TOOLS_DIR: join(folder, 'file'), PATH: '/nonexistent' };
    await expect(ensureTool('h2spec', { env })).rejects.toThrow(
      /cannot be kept in .*file.*GATEHOUSE_TOOLS_DIR/,
    );
  });

  test('names the tools there are when asked for another', async () => {
    await expect(ensureTool('h3spec', { env: {} })).rejects.toThrow(
      `there is no tool h3spec; expected one of ${PINNED_TOOLS.map(({ name }) => name).join(', ')}.`,
    );
  });
});

describe('onceInFolder', () => {
  test('lets one of many at the same time build, and the others wait for it', async () => {
    let builds = 0;
    const build = async (temporary: string): Promise<void> => {
      builds++;
      await writeFile(join(temporary, 'a'), 'whole');
    };
    const folders = await Promise.all([1, 2, 3, 4].map(() => onceInFolder(folder, 'tool', build)));
    expect(new Set(folders)).toEqual(new Set([join(folder, 'tool')]));
    expect(builds).toBe(1);
    expect(await readdir(folder)).toEqual(['tool']);
  });

  test('takes over from a process that died while building', async () => {
    // No process has a number above Linux's largest.
    await writeFile(join(folder, '.tool.lock'), '99999999');
    await onceInFolder(folder, 'tool', async () => {});
    expect(await readdir(folder)).toEqual(['tool']);
  });
});

test('every Go tool has a go.mod that pins all versions, and their hashes', async () => {
  for (const tool of PINNED_TOOLS) {
    if (tool.kind !== 'go') continue;
    const required = (await readFile(join(tool.module, 'go.mod'), 'utf8')).matchAll(/^\t(\S+) (v\S+)/gm);
    const sums = await readFile(join(tool.module, 'go.sum'), 'utf8');
    for (const [, name, version] of required) expect(sums).toContain(`${name} ${version} h1:`);
  }
});
