/**
 * Writes the build context of the sidecar's image: `node libs/tooling/src/images/main.ts [--out FOLDER]`. Then
 * `buildah bud --build-arg BASE=an-image-with-node FOLDER`. Prints the folder.
 */
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundleSidecar } from './bundle-sidecar.ts';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const { values } = parseArgs({
  options: { out: { type: 'string', default: resolve(root, '.gatehouse/images/sidecar') } },
});
const out = resolve(values.out);
await mkdir(out, { recursive: true });
await bundleSidecar(root, out);
process.stdout.write(`${out}\n`);
