import { execFile } from 'node:child_process';
import { copyFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';

const DEPLOY_MS_MAX = 600_000;
/** A path to a file of ours: in an import, or where a worker or a child process is started from one. */
const OWN_FILE = /(['"])(\.{1,2}\/[^'"\n]+)\.ts\1/g;
/** Folders that nothing of a running service is in. */
const NOT_RUN = new Set(['test', 'bench']);

/**
 * Writes all that a service's image is built from: the Dockerfile, and the service with the packages that it runs with, ours as
 * JavaScript (Node strips no types below node_modules). A service keeps its packages as they are, because tracing patches
 * grpc-js where it finds it, and engines have native parts.
 * @param name as in services/NAME
 * @param out the folder to fill, which must not be there yet
 */
export async function packService(root: string, name: string, out: string): Promise<void> {
  const { packageManager } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    readonly packageManager: string;
  };
  const app = join(out, 'app');
  const options = ['--legacy', '--prod', '--ignore-scripts', '--prefer-offline'];
  const args = ['--yes', packageManager, '--filter', `@gatehouse/${name}`, 'deploy', ...options, app];
  await promisify(execFile)('npx', args, { cwd: root, timeout: DEPLOY_MS_MAX });
  const store = join(app, 'node_modules/.pnpm');
  await removeForeignBinaries(store);
  const ours = (await readdir(store)).filter((each) => each.startsWith('@gatehouse+'));
  const folders = ours.map((each) => {
    const packageName = each.slice('@gatehouse+'.length).split('@')[0] ?? '';
    return join(store, each, 'node_modules/@gatehouse', packageName);
  });
  await Promise.all([app, ...folders].map((folder) => toJavaScript(folder)));
  await copyFile(join(root, 'services/Dockerfile'), join(out, 'Dockerfile'));
  await copyFile(join(root, 'LICENSE'), join(app, 'LICENSE'));
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
