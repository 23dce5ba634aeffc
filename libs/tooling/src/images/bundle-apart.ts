import { join, relative } from 'node:path';
import { rolldown } from 'rolldown';

/** The package nearest to a module, of those in node_modules. */
const PACKAGE = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//;

/**
 * Writes the sidecar as JavaScript with a file for each package and for each folder of its own, so that what each costs in
 * memory can be measured. `sidecar.js` imports what a start imports.
 * @param root of the repository, with its code generated
 */
export async function bundleApart(root: string, out: string): Promise<void> {
  const input = { sidecar: join(root, 'sidecar/src/sidecar.ts') };
  const bundle = await rolldown({ input, cwd: join(root, 'sidecar'), platform: 'node' });
  const nameOf = (id: string): string => {
    const [, name] = PACKAGE.exec(id) ?? [];
    return (name ?? relative(root, id).split('/').slice(0, 3).join('-').replace('.ts', '')).replace('/', '-');
  };
  try {
    await bundle.write({
      dir: out,
      format: 'esm',
      minify: true,
      charset: 'ascii',
      entryFileNames: '[name].js',
      chunkFileNames: '[name].js',
      codeSplitting: { groups: [{ name: nameOf, debugName: 'package or folder', test: /\.[cm]?[jt]s$/ }] },
    });
  } finally {
    await bundle.close();
  }
}
