import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { onceInFolder } from '../../../tooling/src/external-tools/tool-cache.ts';
import { buildImage } from '../../../tooling/src/images/build-image.ts';
import { ROOT } from '../run-cli.ts';
import type { ContainerEngine } from './container-engine.ts';

/** An image that nobody has used for so long is removed. */
const UNUSED_MS_MAX = 86_400_000;
/** What every image depends on, from the root; and a base, which has no package of ours. */
const SHARED = ['libs/tooling/src/images', 'pnpm-lock.yaml', 'LICENSE', 'package.json'];
const OF_BASES = ['pack-base.ts', 'sbom.ts', 'Dockerfile.base'].map(
  (file) => `libs/tooling/src/images/${file}`,
);
const SERVICES = ['inference', 'embeddings', 'orchestration'];
/** The folder of an image's own package, and its Dockerfile. Bases need no more than what is shared. */
const SOURCES: Readonly<Record<string, readonly [folder: string, dockerfile: string]>> = {
  sidecar: ['sidecar', 'sidecar/Dockerfile'],
  cli: ['libs/cli', 'libs/cli/Dockerfile'],
  models: ['libs/tooling', 'libs/tooling/src/models/Dockerfile'],
  ...Object.fromEntries(SERVICES.map((name) => [name, [`services/${name}`, 'services/Dockerfile']])),
};

/**
 * The image of the sources as they are now, built where it has not been. One process builds, others wait.
 * @returns its reference
 */
export async function builtImage(engine: ContainerEngine, name: string): Promise<string> {
  const tag = await sourceHash(name);
  const reference = `localhost/gatehouse-${name}:${tag}`;
  const base = await baseOf(engine, name);
  const stamp = await onceInFolder(join(engine.folder, 'built'), `${name}_${tag}`, async () => {
    process.stderr.write(`  building the image ${name}\n`);
    await buildImage(ROOT, { name, reference, base, storage: engine.storage });
  });
  const nowS = (performance.timeOrigin + performance.now()) / 1000;
  await utimes(stamp, nowS, nowS);
  return reference;
}

/** The image that one begins from. */
export async function baseOf(engine: ContainerEngine, name: string): Promise<string | undefined> {
  if (name.endsWith('base')) return undefined;
  return builtImage(engine, name === 'models' ? 'python-base' : 'base');
}

/** Removes images of sources that are no more. Others may be testing other sources at the same time: theirs are newer. */
export async function removeUnusedImages(engine: ContainerEngine): Promise<void> {
  const oldest = performance.timeOrigin + performance.now() - UNUSED_MS_MAX;
  const stamps = join(engine.folder, 'built');
  for (const entry of await readdir(stamps)) {
    const [name, tag] = entry.split('_');
    const path = join(stamps, entry);
    if (tag === undefined || (await stat(path)).mtimeMs > oldest) continue;
    await engine.podman('rmi', '--ignore', `localhost/gatehouse-${name}:${tag}`);
    await rm(path, { recursive: true });
  }
  await engine.podman('image', 'prune', '--force');
}

/** Of everything that an image is made of: its package, ours that it depends on, and what makes images. */
async function sourceHash(name: string): Promise<string> {
  const hash = createHash('sha256').update(process.version).update(process.arch);
  const source = SOURCES[name];
  const paths = new Set(source === undefined ? OF_BASES : SHARED);
  if (source !== undefined) {
    paths.add(source[1]);
    await addPackage(source[0], paths);
    const base = name === 'models' ? 'python-base' : 'base';
    hash.update(await sourceHash(base));
  }
  for (const path of [...paths].sort()) {
    for (const file of await filesOf(join(ROOT, path)))
      hash.update(relative(ROOT, file)).update(await readFile(file));
  }
  return hash.digest('hex').slice(0, 16);
}

async function addPackage(folder: string, paths: Set<string>): Promise<void> {
  if (paths.has(`${folder}/src`)) return;
  for (const part of ['src', 'package.json']) paths.add(`${folder}/${part}`);
  for (const part of ['graphs', 'overlays', 'proto']) paths.add(`${folder}/${part}`);
  const text = await readFile(join(ROOT, folder, 'package.json'), 'utf8');
  const { dependencies = {} } = JSON.parse(text) as { dependencies?: Record<string, string> };
  for (const name of Object.keys(dependencies)) {
    if (!name.startsWith('@gatehouse/')) continue;
    const short = name.slice('@gatehouse/'.length);
    await addPackage(short === 'sidecar' ? short : `libs/${short}`, paths);
  }
}

/** A file itself, or the files below a folder but for tests; none where nothing is. */
async function filesOf(path: string): Promise<string[]> {
  const stats = await stat(path).catch(() => null);
  if (stats === null) return [];
  if (stats.isFile()) return path.endsWith('.test.ts') ? [] : [path];
  const files: string[] = [];
  for (const entry of (await readdir(path)).sort())
    if (entry !== 'node_modules' && entry !== '.stamp') files.push(...(await filesOf(join(path, entry))));
  return files;
}
