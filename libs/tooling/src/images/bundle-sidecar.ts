import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rolldown } from 'rolldown';

/** What the bundle finds by package name at run time, by the name it has there. */
const CONTRACT_FILES = {
  'descriptors.binpb': 'libs/contracts/src/gen/descriptors.binpb',
  'standard-services.binpb': 'libs/contracts/src/gen/standard-services.binpb',
  'overlays/standard.yaml': 'libs/contracts/overlays/standard.yaml',
} as const;

/**
 * Writes all that the sidecar's image is built from: the Dockerfile, and the sidecar as JavaScript without a
 * node_modules of others. What is imported late stays in files of its own, so that it costs no memory before.
 * @param root of the repository, with its code generated
 * @param out the folder to fill, which is the context of the build
 */
export async function bundleSidecar(root: string, out: string): Promise<void> {
  const app = join(out, 'app');
  const bundle = await rolldown({
    input: { main: join(root, 'sidecar/src/main.ts') },
    cwd: join(root, 'sidecar'),
    platform: 'node',
  });
  try {
    await bundle.write({ dir: app, format: 'esm', chunkFileNames: 'chunks/[name]-[hash].js', minify: true });
  } finally {
    await bundle.close();
  }
  const contracts = join(app, 'node_modules/@gatehouse/contracts');
  await mkdir(join(contracts, 'overlays'), { recursive: true });
  for (const [name, file] of Object.entries(CONTRACT_FILES))
    await copyFile(join(root, file), join(contracts, name));
  const exported = Object.fromEntries(Object.keys(CONTRACT_FILES).map((name) => [`./${name}`, `./${name}`]));
  await writeFile(join(contracts, 'package.json'), JSON.stringify({ type: 'module', exports: exported }));
  await writeFile(join(app, 'package.json'), JSON.stringify({ type: 'module' }));
  await copyFile(join(root, 'sidecar/Dockerfile'), join(out, 'Dockerfile'));
  await copyFile(join(root, 'LICENSE'), join(app, 'LICENSE'));
}
