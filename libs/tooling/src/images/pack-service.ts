import { execFile } from 'node:child_process';
import { copyFile, readdir, readFile, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';

const DEPLOY_MS_MAX = 600_000;
/** A path to a file of ours: in an import, or where a worker or a child process is started from one. */
const OWN_FILE = /(['"])(\.{1,2}\/[^'"\n]+)\.ts\1/g;
/** Folders that nothing of a running service is in. */
const NOT_RUN = new Set(['test', 'bench']);
/** Files that are for editors, debuggers and builds: types, source maps, and llama.cpp's sources in one bundle of git. */
const NOT_RUN_FILE = /\.d\.[cm]?ts$|\.map$|^gitRelease\.bundle$/;
/** What pnpm notes about the machine and the moment of an installation. */
const INSTALLERS_NOTES = ['.modules.yaml', '.pnpm-workspace-state-v1.json', '.pnpm/lock.yaml', '.bin'];
/** Ours by the folder that they were copied from, which is different from machine to machine. */
const FROM_FOLDER = /(@gatehouse\+[a-z-]+)@file\+[^/]*/;

/**
 * Writes a service with the packages that it runs with, ours as JavaScript (Node strips no types below node_modules). A service
 * keeps its packages as they are, because tracing patches grpc-js where it finds it, and engines have native parts.
 * @param name as in services/NAME
 * @param app the folder to fill, which must not be there yet
 * @returns the packages in it, as `name@version`
 */
export async function packService(root: string, name: string, app: string): Promise<Set<string>> {
  const { packageManager } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    readonly packageManager: string;
  };
  const options = ['--legacy', '--prod', '--ignore-scripts', '--prefer-offline'];
  const args = ['--yes', packageManager, '--filter', `@gatehouse/${name}`, 'deploy', ...options, app];
  await promisify(execFile)('npx', args, { cwd: root, timeout: DEPLOY_MS_MAX });
  const store = join(app, 'node_modules/.pnpm');
  await removeForeignBinaries(store);
  await makeReproducible(app);
  const ours = (await readdir(store)).filter((each) => each.startsWith('@gatehouse+'));
  const folders = ours.map((each) =>
    join(store, each, 'node_modules/@gatehouse', each.slice('@gatehouse+'.length)),
  );
  await Promise.all([app, ...folders].map((folder) => toJavaScript(folder)));
  await copyFile(join(root, 'LICENSE'), join(app, 'LICENSE'));
  return packagesIn(app);
}

/** Takes out what is not run, and what names this machine: the same sources are the same files wherever they are packed. */
async function makeReproducible(app: string): Promise<void> {
  const modules = join(app, 'node_modules');
  for (const note of INSTALLERS_NOTES) await rm(join(modules, note), { recursive: true, force: true });
  await cleanFolder(modules);
  const store = join(modules, '.pnpm');
  for (const name of await readdir(store))
    if (FROM_FOLDER.test(name)) await rename(join(store, name), join(store, name.replace(FROM_FOLDER, '$1')));
}

async function cleanFolder(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await cleanFolder(path);
    else if (entry.isSymbolicLink()) {
      const target = await readlink(path);
      if (!FROM_FOLDER.test(target)) continue;
      await rm(path);
      await symlink(target.replace(FROM_FOLDER, '$1'), path);
    } else if (NOT_RUN_FILE.test(entry.name)) await rm(path);
  }
}

/** The packages of a folder that pnpm filled: each one is a real folder once, and a link everywhere else. */
async function packagesIn(app: string): Promise<Set<string>> {
  const store = join(app, 'node_modules/.pnpm');
  const manifests = [join(app, 'package.json')];
  for (const entry of await readdir(store)) {
    if (!entry.includes('@')) continue;
    const modules = join(store, entry, 'node_modules');
    for (const each of await readdir(modules, { withFileTypes: true })) {
      if (!each.isDirectory()) continue;
      const scoped = each.name.startsWith('@')
        ? await readdir(join(modules, each.name), { withFileTypes: true })
        : [each];
      for (const one of scoped)
        if (one.isDirectory()) manifests.push(join(one.parentPath, one.name, 'package.json'));
    }
  }
  const names = manifests.map(async (manifest) => {
    const { name, version } = JSON.parse(await readFile(manifest, 'utf8')) as Record<string, string>;
    return `${name}@${version}`;
  });
  return new Set(await Promise.all(names));
}

/** Engines come with native parts for every platform and GPU; an image runs on one processor of this machine's kind. */
async function removeForeignBinaries(store: string): Promise<void> {
  const here = `linux-${process.arch}`;
  for (const name of await readdir(store)) {
    if (name.startsWith('@node-llama-cpp+') && !name.startsWith(`@node-llama-cpp+${here}@`))
      await rm(join(store, name), { recursive: true });
    if (!name.startsWith('onnxruntime-node@')) continue;
    const binaries = join(store, name, 'node_modules/onnxruntime-node/bin');
    for (const entry of await readdir(binaries, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile() && !path.includes(`/linux/${process.arch}/`)) await rm(path);
    }
  }
}

/**
 * Replaces the TypeScript of one package by JavaScript, and takes out what is not run. Files are replaced, never written
 * into: pnpm links them to those of the repository.
 */
async function toJavaScript(folder: string): Promise<void> {
  const manifest = join(folder, 'package.json');
  const described = withJavaScript(await readFile(manifest, 'utf8'));
  await rm(manifest);
  await writeFile(manifest, described);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (NOT_RUN.has(entry.name)) await rm(join(folder, entry.name), { recursive: true });
  }
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (
      !entry.isFile() ||
      !entry.name.endsWith('.ts') ||
      entry.parentPath.includes('node_modules', folder.length)
    )
      continue;
    const file = join(entry.parentPath, entry.name);
    if (!entry.name.endsWith('.test.ts')) {
      const text = stripTypeScriptTypes(await readFile(file, 'utf8'));
      await writeFile(file.replace(/\.ts$/, '.js'), withJavaScript(text));
    }
    await rm(file);
  }
}

function withJavaScript(text: string): string {
  return text.replace(OWN_FILE, '$1$2.js$1');
}
